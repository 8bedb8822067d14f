"""What a reward is, how objectives ask one, and what each symbol of an output adds to it."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.config import Config, Json
from structpred.foreign import is_foreign
from structpred.protocols import Checkable
from structpred.registry import rewards
from structpred.returned import checked, detached, not_negative, refuse
from structpred.sequences import Sequences
from structpred.tally import asked_rewards


@dataclass(frozen=True, kw_only=True)
class Reward(Config):
    """r(y, y*): one number per candidate, higher is better.

    A class of your own needs `score` and a name
    (``@rewards.register("mine")``).

    Attributes:
        decomposes: True where r is a sum over positions; then ``costs`` gives the shortfall of every label at each.
            This and the next are constants of a class, except of one that is made of other rewards.
        same_length: True where outputs must be as long as their references.
        pools_references: True where several references count together, as in BLEU, and not the best one of them.
    """

    family = rewards
    decomposes: ClassVar[bool] = False
    same_length: ClassVar[bool] = False
    pools_references: ClassVar[bool] = False

    @classmethod
    def accept(cls, value: object) -> object:
        """A function becomes the reward that calls it, `structpred.rewards.FunctionReward`.

        Raises:
            ConfigError: it cannot be imported by its name, as a lambda cannot.
        """
        if not callable(value) or isinstance(value, type):
            return value
        made: object = rewards["function"](function=value)
        return made

    @classmethod
    def named(cls, text: str) -> Json:
        """A name with a colon is that of a function: ``"my_rewards:overlap"``."""
        return {"type": "function", "function": text} if ":" in text else super().named(text)

    @abstractmethod
    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """The reward of each candidate.

        Args:
            outputs: ``[batch, candidates, time]``.
            references: ``[batch, time]``, or ``[batch, references, time]`` of which the best counts, unless the class
                says that it `pools_references`.

        Returns:
            Scores in any floating-point type; float64 is kept up to the division by a temperature.
        """

    @property
    def asks_for_examples(self) -> bool:
        """True where the references it is given must say which examples they are of (`Sequences.examples`)."""
        return False


@runtime_checkable
class Decomposable(Checkable, Protocol):
    """A reward that is a sum over positions of outputs as long as the reference."""

    def costs(self, references: Sequences, labels: int) -> Float[Tensor, "batch time labels"]:
        """The shortfall at each position, never negative: r(y*, y*) − r(y, y*) = Σ_t costs[t, y_t]."""


@runtime_checkable
class Incremental(Checkable, Protocol):
    """A reward whose value can be credited to single symbols as an output grows."""

    def increments(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates steps"]:
        """What each symbol, and last the end, adds to the reward: time + 1 steps whose sum is ``score``.

        What a step adds may depend on the symbols before it, never on those after it.
        """


def scores_of(
    reward: Reward, outputs: Sequences, references: Sequences, *, part: bool = False
) -> Float[Tensor, "batch candidates"]:
    """`Reward.score`, checked, and counted in training (`structpred.tally`).

    Args:
        reward: the reward.
        outputs: ``[batch, candidates, time]``.
        references: as of `Reward.score`.
        part: True if a reward asks another that it is made of, which does not count.

    Raises:
        ConfigError: it is not one finite number for each candidate.
    """
    if not part:
        asked_rewards(outputs.lengths.numel())
    found = reward.score(_lent(outputs, reward), _lent(references, reward))
    return _checked(reward, "score", found, tuple(outputs.lengths.shape), "[batch, candidates]", outputs)


def costs_of(
    reward: Reward | Decomposable, references: Sequences, labels: int, *, part: bool = False
) -> Float[Tensor, "batch time labels"]:
    """`Decomposable.costs`, checked, and counted in training as one output an example; ``part`` as of `scores_of`.

    Raises:
        ConfigError: there is no such method, or it is not one finite number, 0 or more, for each label at each
            position.
    """
    if not isinstance(reward, Decomposable):
        name, expected = type(reward).__name__, "the terms of its sum by a method costs(references, labels)"
        refuse(f"{name}, which says decomposes = True,", expected, "nothing", "write it, or leave decomposes out")
    if not part:
        asked_rewards(len(references))
    shape = (*references.labels.shape, labels)
    found = _checked(
        reward, "costs", reward.costs(_lent(references, reward), labels), shape, "[batch, time, labels]", references
    )
    advice = "a cost is what a label falls short by, so the reference's own must be the highest reward"
    return not_negative(found, references.mask().unsqueeze(-1), f"{type(reward).__name__}.costs", advice)


def increments_of(
    reward: Incremental, outputs: Sequences, references: Sequences, *, part: bool = False
) -> Float[Tensor, "batch candidates steps"]:
    """`Incremental.increments`, checked, and counted in training; ``part`` as of `scores_of`.

    Raises:
        ConfigError: it is not one finite number for each symbol of each candidate and its end.
    """
    if not part:
        asked_rewards(outputs.lengths.numel())
    found = reward.increments(_lent(outputs, reward), _lent(references, reward))
    shape = (*outputs.lengths.shape, outputs.labels.shape[-1] + 1)
    return _checked(reward, "increments", found, shape, "[batch, candidates, time + 1]", outputs)


def _lent(sequences: Sequences, reward: object) -> Sequences:
    """The sequences, and for a reward from outside the package a copy: it may write into that, and changes nothing."""
    if not is_foreign(type(reward)):
        return sequences
    return replace(sequences, labels=sequences.labels.clone(), lengths=sequences.lengths.clone())


def _checked(reward: object, method: str, found: object, shape: tuple[int, ...], axes: str, given: Sequences) -> Tensor:
    what = f"{type(reward).__name__}.{method}"
    return detached(checked(found, shape, what=what, axes=axes, like=given.device), what)


def added_by_each(
    potentials: Float[Tensor, "batch candidates prefixes"],
    scores: Float[Tensor, "batch candidates"],
    outputs: Sequences,
) -> Float[Tensor, "batch candidates prefixes"]:
    """Φ_t − Φ_t−1 for each label, then score − Φ_length for the end, then 0; they sum to score − Φ_0.

    Args:
        potentials: Φ_t of the prefix y_1..t, for t = 0..time; beyond an output's length they mean nothing.
        scores: the reward of the whole output.
        outputs: ``[batch, candidates, time]``.
    """
    time = torch.arange(potentials.shape[-1], device=outputs.device)
    known = torch.where(time <= outputs.lengths.unsqueeze(-1), potentials, scores.unsqueeze(-1))
    return torch.cat([known, scores.unsqueeze(-1)], -1).diff(dim=-1)
