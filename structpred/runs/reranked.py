"""A run whose best outputs another run puts in order."""

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from structpred.distributions.decoding import BOUNDS, bounds_in_words
from structpred.distributions.protocols import Decoding, Ranked, WithinLengths
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.runs.predictor import Predictor, check_alike
from structpred.sequences import Sequences
from structpred.training.data import Tokenizer
from structpred.values import Count, coerce, refuse


@dataclass(frozen=True)
class RerankedDistribution:
    """An n-best list of p in the order of log q.

    Attributes:
        p: finds the outputs.
        q: scores them.
        candidates: length of the list.
    """

    p: Any
    q: Any
    candidates: int

    @torch.no_grad()
    def n_best(self, k: int) -> Ranked:
        """The first ``k`` of the list in its new order, with their log q; −inf where p has fewer outputs.

        Raises:
            ConfigError: the list is shorter.
        """
        if k > self.candidates:
            raise ConfigError(
                f"k must be at most {self.candidates}, the length of the list that is put in order, but got {k}; "
                "raise Reranked.candidates"
            )
        found = self.p.n_best(self.candidates)
        outputs = Sequences(found.outputs.labels, found.outputs.lengths)
        scores = torch.where(found.log_probs.isneginf(), -torch.inf, self.q.log_prob(outputs))
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
        rows = torch.arange(len(order), device=order.device).unsqueeze(1)
        ranked = Sequences(outputs.labels[rows, order], outputs.lengths[rows, order])
        return Ranked(ranked, scores.gather(1, order))

    def decode(self, decoding: Decoding) -> Sequences:
        """The output of the list that is most probable under q."""
        del decoding
        best = self.n_best(1).outputs
        return Sequences(best.labels[:, 0], best.lengths[:, 0])

    def within(
        self, shortest: Int[Tensor, " batch"] | None, longest: Int[Tensor, " batch"] | None
    ) -> "RerankedDistribution":
        """A list of outputs of these lengths.

        Raises:
            ConfigError: p cannot bound lengths.
        """
        if not isinstance(self.p, WithinLengths):
            raise ConfigError(
                f"length ratios need `within`, which {type(self.p).__name__} does not offer; leave them out"
            )
        return RerankedDistribution(self.p.within(shortest, longest), self.q, self.candidates)


class RerankedModule(nn.Module):
    """Two networks; called on inputs, they return the outputs of one in the order of the other.

    Args:
        first: finds outputs.
        by: scores them.
        candidates: length of the list.
    """

    def __init__(self, first: nn.Module, by: nn.Module, candidates: int) -> None:
        super().__init__()
        self.first, self.by, self.candidates = first, by, candidates

    def forward(self, inputs: Sequences) -> RerankedDistribution:
        """The list of the first network's outputs."""
        return RerankedDistribution(self.first(inputs), self.by(inputs), self.candidates)


@dataclass(frozen=True)
class Reranked(Predictor):
    """A run or an ensemble whose n-best list is put in the order of log q(y|x), q another run's distribution.

    Reranking by a model that would be too slow to search, or that was trained by another objective; no reward and no
    reference is involved (Collins and Koo 2005, J05-1003, rerank by many such scores). Ties keep the order of the list.
    Of the decoding of ``run`` only its length ratios matter.
    Use it like a run: ``Reranked(run, by=other).predict(texts)``.

    Attributes:
        run: finds the outputs.
        by: scores them; of the same task and symbols, and lengths are decided by the input in both or in neither.
        candidates: length of the list.

    Raises:
        ConfigError: the two do not fit, or there is no candidate.
    """

    run: Predictor
    by: Predictor
    candidates: int = 32
    experiment: Experiment = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", coerce(self.candidates, Count, "Reranked.candidates"))
        for name, given in (("run", self.run), ("by", self.by)):
            if not isinstance(given, Predictor):
                refuse(f"Reranked.{name}", "a finished run, as Run.load reads it, or an Ensemble", given)
        if isinstance(self.by, Reranked):
            raise ConfigError("Reranked.by must be a run or an Ensemble, but is reranked itself; its order is no score")
        check_alike(self.run, self.by, purpose="a run and the one that reranks it", kind=_length)
        own = self.run.experiment.decoding
        bounds = Decoding(**{name: getattr(own, name) for name in BOUNDS})
        object.__setattr__(self, "experiment", replace(self.run.experiment, decoding=bounds))

    @property
    def name(self) -> str:
        """The folders, for messages."""
        return f"{self.run.name}, reranked by {self.by.name}"

    def kept(self, name: str) -> bytes:
        """The content of a file that the task keeps; see `Task.with_kept`."""
        return self.run.kept(name)

    @property
    def codec(self) -> Tokenizer:
        """Maps symbols to tensors and back; equal for both."""
        return self.run.codec

    @cached_property
    def model(self) -> nn.Module:
        """Both networks; called on `Sequences` they return an n-best list in its new order."""
        return RerankedModule(self.run.model, self.by.model, self.candidates).eval()

    def check_decoding(self, decoding: Decoding) -> None:
        """Refuse a choice by a reward beside that by a run, and what changes nothing of the list.

        Raises:
            ConfigError: there is a reward or another setting without effect, or the model cannot serve the settings.
        """
        super().check_decoding(decoding)
        if decoding.reward is not None:
            raise ConfigError("an output is chosen by Decoding.reward or by reranking, not by both; leave one out")
        for name in (each.name for each in fields(decoding) if each.name not in BOUNDS):
            accepted = (getattr(each.experiment.decoding, name) for each in (self, self.run))
            if getattr(decoding, name) not in accepted:
                raise ConfigError(
                    f"Decoding.{name} has no effect on reranking, which orders the most probable outputs; only "
                    f"{' and '.join(BOUNDS)} have one, so leave it out"
                )

    def search(self, decoding: Decoding) -> str:
        """How outputs are chosen, as a message."""
        return f"the first of {self.candidates} outputs in the order of another run{bounds_in_words(decoding)}"


def _length(each: Predictor) -> str:
    fixed = each.experiment.model.distribution.fixed_length
    return "its input decides the length" if fixed else "it decides the length itself"
