"""The order of the tests, which of them `make quick` runs, where shapes are checked, and what no test may leave on."""

import gc
import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

from structpred.registry import FAMILIES
from tests.support.shapes import check_shapes
from tests.support.tiers import SHAPES, quick, unrendered

BY_OTHERS = ("KMP", "PYGAME", "PYTEST", "PYTORCH", "TORCH")
"""How variables of the environment begin that pytest sets for each test, and libraries once they are imported."""

A_FEW = 3
"""Seconds that a test marked slow is taken to need if its mark says nothing else."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick``."""
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out slow tests, and all but the first case of each sweep",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check shapes, but for ``--quick``."""
    if not config.getoption("quick"):
        check_shapes()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files that take longest first, so that processes which share the files end at about the same time."""
    if config.getoption("quick"):
        kept = set(quick(items))
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]
    seconds: Counter[Path] = Counter()
    for item in items:
        slow = item.get_closest_marker("slow")
        seconds[item.path] += slow.kwargs.get("seconds", A_FEW) if slow else 0
    items.sort(key=lambda item: -seconds[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Check shapes in the tests of the quick tier, and render figures for tests that look at them.

    The others repeat the same calls with other values. Fixtures of any scope count to the test that asks first.
    """
    jaxtyping.config.update("jaxtyping_disable", item not in item.config.stash[SHAPES])
    if item.get_closest_marker("figures"):
        return (yield)
    with unrendered():
        return (yield)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Choose where shapes are checked, and exempt all that was imported from garbage collection."""
    session.config.stash[SHAPES] = frozenset(quick(session.items))
    gc.collect()
    gc.freeze()  # it would be walked again and again


def state_of_the_process() -> dict[str, object]:
    """What a test can leave changed behind it, so that another one fails an hour later."""
    return {
        "the treatment of subnormal numbers": sys.float_info.min / 2 == 0,
        "the number of threads": torch.get_num_threads(),
        "the default type of tensors": torch.get_default_dtype(),
        "whether gradients are computed": torch.is_grad_enabled(),
        "whether algorithms are deterministic": torch.are_deterministic_algorithms_enabled(),
        "the working directory": Path.cwd(),
        **{name: value for name, value in os.environ.items() if not name.startswith(BY_OTHERS)},
        **{f"the names of {registry.group}": set(registry) for registry in FAMILIES},
    }


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test registers is forgotten after it."""
    for registry in FAMILIES:
        assert list(registry), "all members are there, and stay"
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))


@pytest.fixture(autouse=True)
def _lexicon_read_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Except by tests of the reading itself."""
    from structpred.tasks.lexicon import LexiconTask  # not before shapes are checked
    from tests.support.lexicon import load_once

    with pytest.MonkeyPatch.context() as patched:
        if {"tasks", "test_mutated_files.py"}.isdisjoint(request.path.parts):
            patched.setattr(LexiconTask, "load", load_once)
        yield


@pytest.fixture(autouse=True)
def _nothing_left_changed() -> Iterator[None]:
    before = state_of_the_process()
    yield
    after = state_of_the_process()
    torch.set_flush_denormal(before["the treatment of subnormal numbers"] is True)
    left = {name for name in before | after if before.get(name) != after.get(name)}
    assert not left, "changed by this test and not restored"
