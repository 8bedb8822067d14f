"""A reward against all references of an example, where training draws one of them each epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.registry import rewards
from structpred.rewards.base import Incremental, Reward, increments_of, scores_of
from structpred.rewards.edit_distance import EditDistance
from structpred.rewards.reading import Reading
from structpred.sequences import Sequences

Asked = Callable[[Sequences, Sequences], Tensor]
"""From outputs and references to what a reward says of them."""


@rewards.register("every-reference")
@dataclass(frozen=True, kw_only=True)
class EveryReference(Reading):
    """r against all references of an example, not only the one that training drew this epoch.

    Self-critical training of image captions counts all references of an image so (Rennie et al. 2017, arXiv
    1612.00563). The references are those that are given and all others of the same example, each once. The reward says
    what each symbol adds where r does, and needs outputs as long as their references where r does.

    Attributes:
        reward: r.
        over: ``"reward"`` lets r count several references, so that the best one counts or, for BLEU, all together;
            ``"mean"`` is the mean of r over them.
    """

    reward: Reward = EditDistance()
    over: Literal["reward", "mean"] = "reward"

    def check(self) -> None:
        """Take over the constants of the reward."""
        object.__setattr__(self, "same_length", self.reward.same_length)
        object.__setattr__(self, "pools_references", self.over == "mean" or self.reward.pools_references)

    @property
    def asks_for_examples(self) -> bool:
        """True."""
        return True

    def score(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates"]:
        """The reward of each candidate.

        Raises:
            ConfigError: nothing says which data the references come from, or which example each is of.
        """
        return self._asked(lambda *each: scores_of(self.reward, *each, part=True), outputs, references)

    def __getattr__(self, name: str) -> Any:
        """``increments``, where the reward has them (`structpred.protocols`)."""
        if name == "increments" and isinstance(self.reward, Incremental):
            return self._increments
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _increments(self, outputs: Sequences, references: Sequences) -> Float[Tensor, "batch candidates steps"]:
        reward = self.reward
        assert isinstance(reward, Incremental)
        return self._asked(lambda *each: increments_of(reward, *each, part=True), outputs, references)

    def _asked(self, ask: Asked, outputs: Sequences, references: Sequences) -> Tensor:
        """The answers, with examples that have equally many references asked together: none may be given twice."""
        every = self._every(references)
        order, answers = [], []
        for count in sorted(set(map(len, every))):
            rows = [row for row, several in enumerate(every) if len(several) == count]
            flat = Sequences.of([reference for row in rows for reference in every[row]])
            index = torch.tensor(rows)
            examples = None if references.examples is None else references.examples[index]
            labels, lengths = (
                each.view(len(rows), count, *each.shape[1:]).to(outputs.device) for each in (flat.labels, flat.lengths)
            )
            ours = outputs.select(index.to(outputs.device))
            answers.append(self._combined(ask, ours, Sequences(labels, lengths, examples=examples)))
            order += rows
        return torch.cat(answers)[torch.tensor(order).argsort().to(outputs.device)]

    def _combined(self, ask: Asked, outputs: Sequences, several: Sequences) -> Tensor:
        if self.over == "reward":
            return ask(outputs, several)
        single = zip(several.labels.unbind(1), several.lengths.unbind(1), strict=True)
        answers = [ask(outputs, Sequences(*each, examples=several.examples)) for each in single]
        return torch.stack(answers).double().mean(0)

    def _every(self, references: Sequences) -> list[list[tuple[int, ...]]]:
        """The distinct references of each row: the given ones first, then the others of its example."""
        indices = self.indices(references, type(self).__name__, "the other references")
        several = references if references.lengths.ndim == 2 else references.candidates()
        given, count = several.flatten().tolist(), several.lengths.shape[1]
        ours = [given[row * count : (row + 1) * count] for row in range(len(indices))]
        return [
            list(dict.fromkeys([*map(tuple, some), *self._known(index)]))
            for some, index in zip(ours, indices, strict=True)
        ]

    def _known(self, index: int) -> list[tuple[int, ...]]:
        """The references of an example as ids, encoded once."""
        if index not in self._encoded:
            labels = self.context.labels
            self._encoded[index] = [
                tuple(labels.encode(each, unknown=len(labels))) for each in self.context.examples[index].references
            ]
        return self._encoded[index]

    @cached_property
    def _encoded(self) -> dict[int, list[tuple[int, ...]]]:
        return {}
