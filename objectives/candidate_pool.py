"""A base measure over candidates found by a finished run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structpred.config import digest
from structpred.distributions.protocols import LogProb, NBest, Sample
from structpred.errors import ConfigError, RunError
from structpred.objectives.candidates import join, repeated
from structpred.payoffs.base_measures import BaseMeasure, Proposals
from structpred.registry import base_measures
from structpred.runs import Run
from structpred.seeds import generator as seeded
from structpred.sequences import FlatSequences, Sequences
from structpred.task import Sizes, loaded
from structpred.training.data import TrainingData
from structpred.values import Count

ROWS = 64
"""Maximum number of examples whose candidates are generated together."""

CELLS = 2**22
"""Maximum of examples times candidates times labels, which bounds memory."""

Labels = tuple[int, ...]


@base_measures.register("candidate-pool")
@dataclass(frozen=True, kw_only=True)
class CandidatePool(BaseMeasure):
    """μ is supported on a finished run's outputs for the training examples, in proportion to its p(y|x).

    They are generated once, when training begins, on the CPU, in a few seconds per thousand examples; all seeds of an
    arm share them. Each distinct output of an example counts once. Training examples with the same reference share
    their candidates, each example with the same total mass, so that μ(y|y*) depends only on the reference.

    Attributes:
        run: the folder of the run, or a prefix of its name. It must be trained on the same task, with the same labels,
            but may read its inputs in another way. It becomes part of a run's identity as written.
        size: outputs requested from the run per example, before duplicates are merged.
        search: ``"samples"`` draws them, ``"n-best"`` takes the most probable ones that its search finds.
        reference: ``"added"`` adds the reference to the pool, with the probability that the run gives it;
            ``"left out"`` adds nothing, though the run may still find it.
    """

    _kept: ClassVar["Pool | None"] = None  # set on the instance by `prepare`

    run: str
    size: Count = 16
    search: Literal["samples", "n-best"] = "samples"
    reference: Literal["added", "left out"] = "added"

    def fingerprint(self) -> tuple[str, ...]:
        """The identity of the run."""
        return (Run.load(self.run).result.identity,)

    @property
    def keeps_length(self) -> bool:
        """True if the run's inputs determine the length of its outputs, or if the run cannot be loaded.

        So a finished run that was trained on a pool can be loaded even if the pool's own run is missing; `prepare`
        reports that before anything is trained.
        """
        try:
            return bool(Run.load(self.run).experiment.model.distribution.fixed_length)
        except (RunError, ConfigError):
            return True

    def prepare(self, sizes: Sizes) -> None:
        """Generate the candidates.

        Raises:
            RunError: the folder holds no finished run.
            ConfigError: the run was trained on other labels, or its model lacks a verb.
        """
        run = Run.load(self.run)
        if digest(list(run.codec.vocabularies.labels.symbols)) != sizes.label_symbols:
            raise ConfigError(
                f"the run {self.run} of a CandidatePool was trained on other labels than those of this task, or their "
                "order differs; train it on the same training examples"
            )
        object.__setattr__(self, "_kept", self._pool())  # changes to the run's folder after this point do not matter

    def propose(self, references: Sequences, num_labels: int, k: int, generator: torch.Generator | None) -> Proposals:
        """Samples from μ itself, with replacement.

        Raises:
            ConfigError: a reference is not among the run's training examples.
        """
        del num_labels
        pool = self._pool()
        rows = pool.draw(self._segments(pool, references), k, generator).flatten()
        drawn = pool.outputs.gather(rows)
        shape = (len(references), k)
        outputs = Sequences(drawn.labels.view(*shape, -1), drawn.lengths.view(shape)).to(references.device)
        return Proposals(outputs, torch.zeros(shape, dtype=torch.float64, device=references.device))

    def _segments(self, pool: "Pool", references: Sequences) -> Int[Tensor, " batch"]:
        keys = [tuple(row) for row in references.tolist()]
        strange = next((key for key in keys if key not in pool.segments), None)
        if strange is not None:
            raise ConfigError(
                f"CandidatePool has no candidates for the reference {self._spelt(strange)}, because it is not "
                f"among the training examples of {self.run}; use a run of the same task"
            )
        return torch.tensor([pool.segments[key] for key in keys], dtype=torch.long)

    def _spelt(self, reference: Labels) -> str:
        """The labels as symbols if the run knows them all."""
        labels = Run.load(self.run).codec.vocabularies.labels
        known = all(label < len(labels) for label in reference)
        return repr(" ".join(labels.decode(reference)) if known else list(reference)[:20])

    def _pool(self) -> "Pool":
        if self._kept is not None:
            return self._kept
        run = Run.load(self.run)
        return _found(run.result.identity, str(run.folder.path), self)


@dataclass(frozen=True)
class Pool:
    """The candidates of all references, concatenated, with one segment per reference.

    Attributes:
        outputs: the candidates.
        cumulative: for each candidate, the number of its segment plus the fraction of the segment's mass up to and
            including it.
        starts: where each segment starts.
        sizes: the number of candidates in each segment.
        segments: the number of each reference's segment.
    """

    outputs: FlatSequences
    cumulative: Float[Tensor, " candidates"]
    starts: Int[Tensor, " references"]
    sizes: Int[Tensor, " references"]
    segments: dict[Labels, int]

    @classmethod
    def of(cls, found: Mapping[Labels, Sequence[tuple[Labels, float]]]) -> "Pool":
        """A pool of the candidates of each reference with their mass."""
        outputs = FlatSequences.of([output for candidates in found.values() for output, _ in candidates])
        cumulative = []
        for number, candidates in enumerate(found.values()):
            mass = torch.tensor([share for _, share in candidates], dtype=torch.float64).cumsum(0)
            cumulative.append(number + mass / mass[-1])
        sizes = torch.tensor([len(candidates) for candidates in found.values()])
        segments = {reference: number for number, reference in enumerate(found)}
        return cls(outputs, torch.cat(cumulative), sizes.cumsum(0) - sizes, sizes, segments)

    def draw(
        self, segments: Int[Tensor, " batch"], k: int, generator: torch.Generator | None
    ) -> Int[Tensor, "batch k"]:
        """``k`` candidates from each of the given segments, in proportion to their mass."""
        uniform = torch.rand(len(segments), k, generator=generator, dtype=torch.float64)
        rows = torch.searchsorted(self.cumulative, segments.unsqueeze(1) + uniform, right=True)
        last = (self.starts + self.sizes - 1)[segments].unsqueeze(1)  # rounding may reach the next segment
        return rows.clamp(min=self.starts[segments].unsqueeze(1)).minimum(last)


@lru_cache(maxsize=4)
def _found(identity: str, path: str, search: CandidatePool) -> Pool:
    """The pool of a finished run, cached: a finished run never changes, and its identity determines the pool."""
    run = Run.load(path)
    law, model = run.experiment.model.distribution, type(run.experiment.model).__name__
    verb: type = {"samples": Sample, "n-best": NBest}[search.search]
    if not issubclass(law, verb) or not issubclass(law, LogProb):
        raise ConfigError(
            f"CandidatePool(search={search.search!r}) asks the run {path} for {verb.__name__} and log_prob, which "
            f"{model} does not offer; use another search or another run"
        )
    splits = loaded(run.experiment.task)
    if splits.digest != run.data:
        raise ConfigError(
            f"CandidatePool needs the data that {path} was trained on, but its task now reads others; put the files "
            "back, or train that run again"
        )
    data = TrainingData.of(splits.train, run.codec)
    source = seeded(run.experiment.seed, f"candidate pool of {identity}", 0)
    found: dict[Labels, list[tuple[Labels, float]]] = {}
    for reference, candidates in _of_each(run, data, search, source):
        found.setdefault(reference, []).extend(candidates)
    if empty := [reference for reference, candidates in found.items() if not candidates]:
        raise ConfigError(
            f"CandidatePool found nothing for {len(empty)} of {len(found)} references, because every draw of {path} "
            "was cut at its longest length; use reference='added', or search='n-best'"
        )
    return Pool.of(found)


@torch.no_grad()
def _of_each(
    run: Run, data: TrainingData, search: "CandidatePool", source: torch.Generator
) -> Iterator[tuple[Labels, list[tuple[Labels, float]]]]:
    """Each reference with the candidates of one of its examples and their probabilities, which sum to one."""
    owners = torch.repeat_interleave(torch.arange(len(data)), data.variants)
    once: dict[tuple[int, Labels], int] = {}  # an example may have the same reference twice
    for row, reference in enumerate(data.references.gather(torch.arange(len(owners))).tolist()):
        once.setdefault((int(owners[row]), tuple(reference)), row)
    single = torch.tensor(list(once.values()), dtype=torch.long)
    order = single[data.inputs.lengths[owners[single]].argsort(stable=True)]
    for rows in torch.split(order, max(1, min(ROWS, CELLS // (search.size * data.sizes.num_labels)))):
        targets = data.references.gather(rows)
        p = run.model(data.inputs.gather(owners[rows]))
        outputs, mask = _candidates(p, targets, search, source)
        # outputs that do not count are emptied, so that nothing of them is scored
        scored = Sequences(outputs.labels, torch.where(mask, outputs.lengths, 0))
        shares = p.log_prob(outputs if p.fixed_length else scored).double().masked_fill(~mask, -torch.inf).softmax(1)
        lists, k = outputs.flatten().tolist(), outputs.lengths.shape[1]
        for row, target in enumerate(targets.tolist()):
            every = zip(lists[row * k : row * k + k], shares[row].tolist(), mask[row].tolist(), strict=True)
            yield tuple(target), [(tuple(output), share) for output, share, kept in every if kept and share > 0]


def _candidates(
    p: Any, targets: Sequences, search: "CandidatePool", source: torch.Generator
) -> tuple[Sequences, Bool[Tensor, "batch candidates"]]:
    """The outputs found, the reference first if it is added, and a mask of distinct outputs that are complete."""
    if search.search == "samples":
        found = p.sample(search.size, source)
        mask = torch.ones_like(found.lengths, dtype=torch.bool) if found.ended is None else found.ended
        found = Sequences(found.labels, found.lengths)
    else:
        ranked = p.n_best(search.size)
        found, mask = ranked.outputs, ranked.log_probs > -torch.inf
    if search.reference == "added":
        found, mask = join(targets.candidates(), found), torch.nn.functional.pad(mask, (1, 0), value=True)
    return found, mask & ~repeated(found, mask)
