"""Rewards that read what ids stand for: symbols, or the text that a task makes of them."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.blame import blaming
from structpred.errors import ConfigError
from structpred.returned import number
from structpred.rewards.base import Reward
from structpred.rewards.context import Context
from structpred.rewards.memory import Memory
from structpred.sequences import Sequences

REMEMBERED = 2**16
"""How many values a reward of texts remembers: outputs recur from step to step, the likelier they are the more."""


@dataclass(frozen=True, kw_only=True)
class Reading(Reward):
    """A reward that has to be bound to the data before it can score; see `structpred.rewards.bind`."""

    _context: ClassVar[Context | None] = None  # an attribute of the instance once it is bound

    def attach(self, context: Context) -> None:
        """Let it read the data; `structpred.rewards.bind` calls this on a reward that it has just made."""
        object.__setattr__(self, "_context", context)

    @property
    def context(self) -> Context:
        """The data.

        Raises:
            ConfigError: it is not bound to any.
        """
        if self._context is None:
            raise ConfigError(
                f"{type(self).__name__} reads what label ids stand for, but nothing says which data they come from; "
                "training and environments bind it to theirs; elsewhere, call structpred.rewards.bind(reward, "
                "Context.of(task))"
            )
        return self._context


@dataclass(frozen=True, kw_only=True)
class TextReward(Reading):
    """A reward of an output's text, as the task renders it. A class of your own needs `value` and a name.

    Values are computed once and remembered, the latest 65,536 of them. References that are rendered alike are one.
    """

    @abstractmethod
    def value(self, output: str, references: tuple[str, ...]) -> float:
        """The reward of one output; it must depend on nothing else."""

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """The reward of each candidate.

        Raises:
            ConfigError: it is not bound to data, or to others than these.
        """
        text = self.context.text
        values = []
        with blaming(self.context.modules):
            for candidates, targets in rows_of(outputs, references):
                wanted = tuple(dict.fromkeys(map(text, targets)))
                values += [self._remembered(text(each), wanted) for each in candidates]
        return (
            torch.tensor(values, dtype=torch.float32)
            .reshape(outputs.lengths.shape)
            .to(outputs.device, non_blocking=True)
        )

    def _remembered(self, output: str, references: tuple[str, ...]) -> float:
        def compute() -> float:
            return number(self.value(output, references), f"{type(self).__name__}.value")

        return self._memory.value((output, references), compute)

    @cached_property
    def _memory(self) -> Memory:
        return Memory(REMEMBERED)


def rows_of(outputs: Sequences, references: Sequences) -> Iterator[tuple[list[list[int]], list[list[int]]]]:
    """The ids of each example's candidates and of its references.

    Args:
        outputs: ``[batch, candidates, time]``.
        references: ``[batch, time]``, or ``[batch, references, time]``.
    """
    several = references if references.lengths.ndim == 2 else references.candidates()
    candidates, targets = outputs.flatten().tolist(), several.flatten().tolist()
    each, count = outputs.lengths.shape[1], several.lengths.shape[1]
    for i in range(len(outputs)):
        yield candidates[i * each : (i + 1) * each], targets[i * count : (i + 1) * count]
