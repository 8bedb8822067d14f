"""What stands for another object counts as it, on every Python."""

import importlib
import inspect
import pkgutil
from typing import Any, Protocol, runtime_checkable

import pytest
from typing_extensions import get_protocol_members, is_protocol

import structpred
from structpred import objectives
from structpred.distributions.protocols import Argmax, Distribution, LogProb, LossAugmented, Sample
from structpred.distributions.search import Decoder
from structpred.protocols import Checkable
from structpred.sequences import Sequences
from structpred.training.monitoring import Ends, Logger
from tests.support.tiny import tiny_seq2seq


class Standing:
    """Another object, as a user writes it: every name is passed on."""

    def __init__(self, whole: Any) -> None:
        self.whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)


@runtime_checkable
class Both(Distribution, LogProb, Protocol):
    """What an objective asks for."""


class Talkative:
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None: ...

    def finalize(self, status: str) -> None: ...


def test_a_stand_in_offers_what_it_stands_for() -> None:
    p = tiny_seq2seq()(Sequences.of([[0, 1]]))
    for protocol in (Distribution, LogProb, Sample, Both):
        assert isinstance(p, protocol)
        assert isinstance(Standing(p), protocol)
        assert isinstance(Standing(Standing(p)), protocol)
    assert isinstance(Standing(p.decoder), Decoder)
    assert isinstance(Standing(Talkative()), Logger)
    assert isinstance(Standing(Talkative()), Ends)


def test_a_stand_in_offers_nothing_else() -> None:
    p = tiny_seq2seq()(Sequences.of([[0, 1]]))
    for protocol in (Argmax, LossAugmented, Logger):
        assert not isinstance(p, protocol)
        assert not isinstance(Standing(p), protocol)
    assert not isinstance(Standing(3), LogProb)


def test_a_class_that_implements_a_protocol_is_told_apart_by_its_class() -> None:
    class Own(LogProb):
        def log_prob(self, outputs: Sequences) -> Any: ...

    assert isinstance(Own(), LogProb)
    assert not isinstance(Standing(Own()), Own)


def checked_at_run_time() -> list[type]:
    found = set()
    for package in (structpred, objectives):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith(("__main__", "chain_kernels")):  # which runs, and which needs Triton
                continue
            for member in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(member) and is_protocol(member) and member.__module__.startswith("structpred"):
                    found.add(member)
    return sorted(found - {Checkable}, key=lambda each: each.__qualname__)


@pytest.mark.parametrize("protocol", checked_at_run_time(), ids=lambda each: each.__qualname__)
def test_every_protocol_sees_stand_ins(protocol: type) -> None:
    class Anything:
        def __getattr__(self, name: str) -> Any:
            return lambda: None

    assert get_protocol_members(protocol)
    assert isinstance(Anything(), protocol), f"{protocol.__qualname__}: derive it from Checkable"
