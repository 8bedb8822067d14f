"""Episodes side by side: the one implementation behind the single environment and the vector of many."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.random import Generator

from structpred.environments.rules import Rules
from structpred.environments.running_scores import NO_LABEL, Rescored

Rows = Int[np.ndarray, " rows"]
Observation = dict[str, np.ndarray]


class Episodes:
    """n outputs that are being written, each for an example of its own. Nothing handed out is written to again.

    Args:
        rules: what they have in common.
        n: how many.

    Attributes:
        prefix: the labels so far, padded by V, ``[n, limit]``.
        length: how many there are, ``[n]``.
        example: the index of each one's example in the split, ``[n]``.
        over: True where an episode has ended, or none has begun, ``[n]``.
        begun: True where there was an episode, ``[n]``.
        score: R of each output as it is; while episodes run only if that is paid, ``[n]``.
    """

    def __init__(self, rules: Rules, n: int) -> None:
        self.rules, self.n = rules, n
        self.references_width = max(1, int(rules.split.references.lengths.max()))
        self.variants = int(rules.split.variants.max())
        self.running = rules.running_score(n)
        self.width = max(1, rules.encoded.longest_source)
        self.source = np.full((n, self.width), rules.unknown + 1)
        self.source_mask = np.zeros((n, self.width), np.int8)
        self.source_length = np.zeros(n, np.int64)
        self.prefix = np.full((n, rules.limit), rules.labels)
        self.prefix_mask = np.zeros((n, rules.limit), np.int8)
        self.length = np.zeros(n, np.int64)
        self.example = np.zeros(n, np.int64)
        self.over = np.ones(n, bool)
        self.begun = np.zeros(n, bool)
        self.score = np.zeros(n)

    def begin(self, rows: Rows, examples: Rows) -> None:
        """Start some episodes, about the given examples."""
        rules, split = self.rules, self.rules.split
        self.example[rows] = examples
        self.source[rows] = split.sources.gather(examples, self.width, rules.unknown + 1)
        self.source_length[rows] = lengths = split.sources.lengths[examples]
        self.source_mask[rows] = np.arange(self.width) < lengths[:, None]
        self.prefix[rows] = rules.labels
        self.prefix_mask[rows] = 0
        self.length[rows] = 0
        self.over[rows] = False
        self.begun[rows] = True
        self.score[rows] = 0.0  # so that the first increment pays for the empty prefix too
        references = split.references_of(examples, self.variants)
        ids = split.references.gather(references, self.references_width, NO_LABEL)
        self.running.begin(rows, ids, split.references.lengths[references], split.variants[examples])

    def step(
        self, actions: Int[np.ndarray, " n"], active: Bool[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """One action in every active episode.

        Returns:
            Rewards, which are terminated, and which are truncated; 0 and False where not active.
        """
        ends = active & (actions == self.rules.labels)  # never where length is fixed: no action has this number
        grows = active ^ ends
        rows = grows.nonzero()[0]
        positions = self.length[rows]
        self.prefix[rows, positions] = actions[rows]
        self.prefix_mask[rows, positions] = 1
        self.length += grows
        self.running.grow(actions, grows)
        if self.rules.fixed_length:
            terminated, truncated = grows & (self.length == self.source_length), np.zeros(self.n, bool)
        else:
            terminated, truncated = ends, grows & (self.length == self.rules.limit)
        over = terminated | truncated
        self.over |= over
        return self._pay(active, over), terminated, truncated

    def _pay(self, active: Bool[np.ndarray, " n"], over: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        paid = active if self.rules.paid == "increments" else over
        worth = self.running.worth(paid, self)
        rewards = np.where(paid, worth - self.score, 0.0)
        np.copyto(self.score, worth, where=paid)
        return rewards

    def observations(self) -> Observation:
        """What agents see: fresh arrays ``[n, ...]``."""
        return {
            "source": self.source.copy(),
            "source_length": self.source_length[:, None].copy(),
            "source_mask": self.source_mask.copy(),
            "prefix": self.prefix.copy(),
            "prefix_length": self.length[:, None].copy(),
            "prefix_mask": self.prefix_mask.copy(),
        }

    def masks(self) -> Int[np.ndarray, "n actions"]:
        """1 at the actions after which an output can still be complete.

        That is every action, but where length is free the last step within the limit is for the end alone: a label
        there truncates the episode.
        """
        masks = np.ones((self.n, self.rules.actions), np.int8)
        if not self.rules.fixed_length:
            masks[(self.length == self.rules.limit - 1).nonzero()[0], :-1] = 0
        return masks

    def worth(self) -> Float[np.ndarray, " n"]:
        """R of every output as it is; where a reward says nothing of prefixes, what was paid so far."""
        if self.rules.reward.same_length and isinstance(self.running, Rescored):
            return self.score
        return self.running.worth(np.ones(self.n, bool), self)

    def text(self) -> tuple[str, ...]:
        """Every episode as text."""
        worth = self.worth()
        return tuple(
            self.rules.render(
                int(self.example[i]), self.prefix[i, : self.length[i]].tolist(), worth[i], over=bool(self.over[i])
            )
            for i in range(self.n)
        )


def drawn(generator: Generator, examples: int) -> int:
    """The index of an example; several times faster than ``Generator.integers``, and uniform up to 2⁻⁵³ · examples."""
    return int(generator.random() * examples)
