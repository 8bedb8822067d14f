"""How objectives ask a reward: by these functions, which check what it returns."""

from jaxtyping import Float
from torch import Tensor

from structpred.returned import checked, detached
from structpred.rewards.base import Decomposable, Incremental, Reward
from structpred.sequences import Sequences


def scores_of(reward: Reward, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
    """`Reward.score`, checked.

    Raises:
        ConfigError: it is not one finite number for each candidate.
    """
    found = reward.score(outputs, references)
    return _checked(reward, "score", found, tuple(outputs.lengths.shape), "[batch, candidates]", outputs)


def costs_of(reward: Decomposable, references: Sequences, labels: int) -> Float[Tensor, "batch time labels"]:
    """`Decomposable.costs`, checked.

    Raises:
        ConfigError: it is not one finite number for each label at each position.
    """
    shape = (*references.labels.shape, labels)
    return _checked(reward, "costs", reward.costs(references, labels), shape, "[batch, time, labels]", references)


def increments_of(
    reward: Incremental, outputs: Sequences, references: Sequences
) -> Float[Tensor, "batch candidates steps"]:
    """`Incremental.increments`, checked.

    Raises:
        ConfigError: it is not one finite number for each symbol of each candidate and its end.
    """
    found = reward.increments(outputs, references)
    shape = (*outputs.lengths.shape, outputs.labels.shape[-1] + 1)
    return _checked(reward, "increments", found, shape, "[batch, candidates, time + 1]", outputs)


def _checked(reward: object, method: str, found: object, shape: tuple[int, ...], axes: str, given: Sequences) -> Tensor:
    what = f"{type(reward).__name__}.{method}"
    return detached(checked(found, shape, what=what, axes=axes, like=given.device), what)
