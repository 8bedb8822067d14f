"""The reward of every prefix of many outputs at once, while they grow."""

from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from structpred.blame import blaming
from structpred.config import components
from structpred.foreign import modules_of
from structpred.protocols import Checkable
from structpred.rewards import EditDistance, Hamming, Reward
from structpred.rewards.base import Incremental, increments_of, scores_of
from structpred.rewards.reading import asks_for_examples
from structpred.sequences import Sequences

Rows = Int[np.ndarray, " rows"]


@runtime_checkable
class RunningScore(Checkable, Protocol):
    """R(y_≤t) for each of n outputs. References are ids, padded by ``NO_LABEL``, and at least one for each output."""

    def begin(
        self,
        rows: Rows,
        references: Int[np.ndarray, "rows references time"],
        lengths: Int[np.ndarray, "rows references"],
        counts: Rows,
    ) -> None:
        """Start some outputs anew, empty; of the references of each, the first ``counts`` are its own."""

    def grow(self, labels: Int[np.ndarray, " n"], grows: Bool[np.ndarray, " n"]) -> None:
        """Add a label to the outputs where ``grows``."""

    def worth(self, wanted: Bool[np.ndarray, " n"], outputs: "Outputs") -> Float[np.ndarray, " n"]:
        """R of the outputs as they are, as if they ended here; it means nothing where not ``wanted``."""


@runtime_checkable
class Outputs(Checkable, Protocol):
    """The outputs so far.

    Attributes:
        prefix: ``[n, time]``.
        length: ``[n]``.
        example: the index of each one's example in the split, ``[n]``.
    """

    prefix: Int[np.ndarray, "n time"]
    length: Int[np.ndarray, " n"]
    example: Int[np.ndarray, " n"]


NO_LABEL = -1


class RunningEditDistance:
    """−min_k D(y_≤t, y*_k), by one new row of each table a symbol.

    With E[j] = D(y_≤t, y*_≤j) − j the next row is a running minimum:
    E'[j] = min over i ≤ j of min(E[i] + 1, E[i−1] − [y_t+1 = y*_i]); deletions cost nothing in E.
    Tables lie ``[reference time, references, n]``, so that every operation runs over whole batches.

    Args:
        n: outputs.
        references: of each.
        time: labels of the longest reference.
    """

    def __init__(self, n: int, references: int, time: int) -> None:
        self.references = np.full((time, references, n), NO_LABEL, np.int32)
        self.row = np.zeros((time + 1, references, n), np.int32)
        self.next = np.empty_like(self.row)
        self.diagonal = np.empty((time, references, n), np.int32)
        self.equal = np.empty((time, references, n), bool)
        self.lengths = np.zeros((references, n), np.int64)
        self.ends = np.zeros((references, n), np.int64)
        self.score = np.zeros(n)

    def begin(
        self,
        rows: Rows,
        references: Int[np.ndarray, "rows references time"],
        lengths: Int[np.ndarray, "rows references"],
        counts: Rows,
    ) -> None:
        """The row of the empty output: D = j, so E = 0."""
        del counts  # another of the same reference is no nearer
        self.references[:, :, rows] = references.transpose(2, 1, 0)
        self.row[:, :, rows] = 0
        self.lengths[:, rows] = lengths.T
        _, count, n = self.row.shape
        self.ends = (self.lengths * count + np.arange(count)[:, None]) * n + np.arange(n)  # cells of the last column
        self.score[rows] = -lengths.min(1)

    def grow(self, labels: Int[np.ndarray, " n"], grows: Bool[np.ndarray, " n"]) -> None:
        """The next row of every table; where nothing grows its score stays, and its output has ended."""
        np.equal(self.references, labels.astype(np.int32), out=self.equal)
        np.add(self.row, 1, out=self.next)
        np.subtract(self.row[:-1], self.equal, out=self.diagonal)
        np.minimum(self.next[1:], self.diagonal, out=self.next[1:])
        for j in range(1, len(self.next)):  # several times faster than minimum.accumulate along the first axis
            np.minimum(self.next[j], self.next[j - 1], out=self.next[j])
        self.row, self.next = self.next, self.row
        distances = self.row.ravel()[self.ends] + self.lengths
        np.copyto(self.score, -distances.min(0), where=grows)

    def worth(self, wanted: Bool[np.ndarray, " n"], outputs: Outputs) -> Float[np.ndarray, " n"]:
        """Minus the distance to the nearest reference."""
        del wanted, outputs
        return self.score


class RunningHamming:
    """−min_k Σ_s≤t [y_s ≠ y*_k,s].

    Args:
        n: outputs.
        references: of each.
        time: labels of the longest reference.
    """

    def __init__(self, n: int, references: int, time: int) -> None:
        self.references = np.full((n, references, time), NO_LABEL, np.int64)
        self.wrong = np.zeros((n, references), np.int64)
        self.length = np.zeros(n, np.int64)
        self.rows = np.arange(n)

    def begin(
        self,
        rows: Rows,
        references: Int[np.ndarray, "rows references time"],
        lengths: Int[np.ndarray, "rows references"],
        counts: Rows,
    ) -> None:
        """No errors yet."""
        del lengths
        del counts  # another of the same reference is no nearer
        self.references[rows] = references
        self.wrong[rows] = 0
        self.length[rows] = 0

    def grow(self, labels: Int[np.ndarray, " n"], grows: Bool[np.ndarray, " n"]) -> None:
        """One more position."""
        position = np.minimum(self.length, self.references.shape[2] - 1)
        wrong = self.references[self.rows, :, position] != labels[:, None]
        self.wrong += wrong & grows[:, None]
        self.length += grows

    def worth(self, wanted: Bool[np.ndarray, " n"], outputs: Outputs) -> Float[np.ndarray, " n"]:
        """Minus the errors so far against the best reference so far."""
        del wanted, outputs
        score: Float[np.ndarray, " n"] = (-self.wrong.min(1)).astype(float)
        return score


class Rescored:
    """Any reward, by its own `score` on the outputs asked for.

    Args:
        reward: what scores.
        n: outputs.
        references: of each.
        time: labels of the longest reference.
    """

    def __init__(self, reward: Reward, n: int, references: int, time: int) -> None:
        self.reward, self.modules = reward, modules_of(map(type, components(reward)))
        self.told = asks_for_examples(reward)  # which refuses a function that cannot be called
        self.references = np.full((n, references, time), NO_LABEL, np.int64)
        self.lengths = np.zeros((n, references), np.int64)
        self.counts = np.ones(n, np.int64)
        self.score = np.zeros(n)

    def begin(
        self,
        rows: Rows,
        references: Int[np.ndarray, "rows references time"],
        lengths: Int[np.ndarray, "rows references"],
        counts: Rows,
    ) -> None:
        """Take the references."""
        self.references[rows] = references
        self.lengths[rows] = lengths
        self.counts[rows] = counts

    def grow(self, labels: Int[np.ndarray, " n"], grows: Bool[np.ndarray, " n"]) -> None:
        """Nothing to update: the reward scores whole outputs."""

    def worth(self, wanted: Bool[np.ndarray, " n"], outputs: Outputs) -> Float[np.ndarray, " n"]:
        """The reward's own score, as float64.

        Raises:
            ConfigError: it is not one finite number for each output.
            CodeError: the reward is not the package's own and raised an exception.
        """
        for count in np.unique(self.counts[wanted]):  # a reward that pools references must see none twice
            rows = (wanted & (self.counts == count)).nonzero()[0]
            prefixes = _sequences(outputs.prefix[rows], outputs.length[rows])
            targets = _sequences(self.references[rows, :count], self.lengths[rows, :count])
            if self.told:
                targets = replace(targets, examples=torch.from_numpy(outputs.example[rows]))
            with blaming(self.modules):
                self.score[rows] = self._scores(prefixes, targets).double().numpy()
        return self.score

    def _scores(self, prefixes: Sequences, targets: Sequences) -> Float[Tensor, " rows"]:
        """R of every prefix. Where it must be as long as its references, a shorter one is worth what its symbols add.

        What a symbol adds does not depend on those after it, so a reference's will do for them.
        """
        if not (self.reward.same_length and isinstance(self.reward, Incremental)):
            return scores_of(self.reward, prefixes.candidates(), targets)[:, 0]
        lengths, width = targets.lengths[:, 0], targets.labels.shape[-1]
        own = torch.arange(width) < prefixes.lengths.unsqueeze(1)
        labels = torch.where(own, pad(prefixes.labels, (0, width - prefixes.labels.shape[1])), targets.labels[:, 0])
        filled = Sequences(labels, lengths).candidates()
        added = increments_of(self.reward, filled, targets)[:, 0].double()
        so_far = torch.where(torch.arange(added.shape[1]) < prefixes.lengths.unsqueeze(1), added, 0.0).sum(1)
        return torch.where(prefixes.lengths == lengths, scores_of(self.reward, filled, targets)[:, 0].double(), so_far)


def _sequences(ids: Int[np.ndarray, "*rows time"], lengths: Int[np.ndarray, "*rows"]) -> Sequences:
    """As tensors, no wider than the longest, with 0 at and beyond each length."""
    width = int(lengths.max())
    padded = Sequences(torch.from_numpy(ids[..., :width]), torch.from_numpy(lengths))
    return Sequences(torch.where(padded.mask(), padded.labels, 0), padded.lengths)


def running_score(reward: Reward, n: int, references: int, time: int) -> RunningScore:
    """The fastest way to follow a reward; a subclass of ours may score otherwise, so the class must be the very one."""
    time = max(1, time)
    if type(reward) is EditDistance:
        return RunningEditDistance(n, references, time)
    if type(reward) is Hamming:
        return RunningHamming(n, references, time)
    return Rescored(reward, n, references, time)
