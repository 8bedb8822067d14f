"""Counts of what training asks for: rewards of outputs, and passes of decoders along outputs.

Counts follow from the shapes of tensors, so nothing waits for a device. Code that `torch.compile` has traced counts
nothing, and runs with `Trainer.compile` do not say what they asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass

import torch


@dataclass
class Tally:
    """What has been asked for.

    Attributes:
        reward_calls: outputs whose reward was asked for. A reward made of other rewards is asked once, whatever it asks
            in turn; a table of costs, as for an exact expected reward, counts as one output an example.
        decoder_passes: outputs along which a step-wise decoder went: those it scored, those it drew, and the prefixes
            that a search kept, so that a beam of width 5 counts 5 an example. Equal outputs count each.
    """

    reward_calls: int = 0
    decoder_passes: int = 0

    @classmethod
    def of(cls, parts: Sequence[Mapping[str, int]]) -> "Tally":
        """The sum over several processes, each given as `state`."""
        return cls(**{name: sum(part[name] for part in parts) for name in asdict(cls())})

    def state(self) -> dict[str, int]:
        """Both counts by name."""
        return asdict(self)


_TALLY: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextmanager
def counting(tally: Tally | None) -> Iterator[None]:
    """Count into a tally what is asked for within the block; with None, nothing is counted there."""
    token = _TALLY.set(tally)
    try:
        yield
    finally:
        _TALLY.reset(token)


def asked_rewards(outputs: int) -> None:
    """Count outputs whose reward is asked for."""
    if not torch.compiler.is_compiling() and (tally := _TALLY.get()) is not None:
        tally.reward_calls += outputs


def passed_decoder(outputs: int) -> None:
    """Count outputs along which a decoder goes."""
    if not torch.compiler.is_compiling() and (tally := _TALLY.get()) is not None:
        tally.decoder_passes += outputs
