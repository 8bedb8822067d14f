"""Candidate sets of an expectation, and what to watch when a model learns from its own outputs."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from structpred.distributions import protocols
from structpred.distributions.protocols import Ranked, Sample
from structpred.errors import ConfigError
from structpred.foreign import is_foreign
from structpred.objective import ObjectivePart
from structpred.protocols import Checkable
from structpred.registry import candidate_sets
from structpred.returned import check_lengths, described, refuse
from structpred.sequences import Sequences
from structpred.values import Count, Interval


@dataclass(frozen=True)
class Candidates:
    """A set of outputs for each example.

    Attributes:
        outputs: ``[batch, candidates, time]``.
        mask: True at outputs that belong to the set, ``[batch, candidates]``; at least one per example.
    """

    outputs: Sequences
    mask: Bool[Tensor, "batch candidates"]


@dataclass(frozen=True, kw_only=True)
class CandidateSet(ObjectivePart):
    """A way to choose candidates under p, without gradient.

    Attributes:
        k: outputs asked of p, before any are merged or added.
        duplicates: ``"merged"`` takes an output into the set once, no matter how often it was found, as a set should;
            ``"kept"`` weighs it by how often it was.
        reference: ``"added"`` puts the reference first, as Shen et al. 2016 do; ``"left out"`` adds nothing, though
            it may still be found.
    """

    family = candidate_sets

    k: Count = 8
    duplicates: Literal["merged", "kept"] = "merged"
    reference: Literal["added", "left out"] = "added"

    @abstractmethod
    def find(self, p: Any, generator: torch.Generator | None) -> Candidates:
        """``k`` outputs under p."""

    @torch.no_grad()
    def draw(self, p: Any, targets: Sequences, generator: torch.Generator | None) -> Candidates:
        """The candidates of each example.

        Args:
            p: offers the verbs that the set requires.
            targets: the references, ``[batch, time]``.
            generator: source of randomness.

        Raises:
            ConfigError: a class of your own finds something else than candidates of these examples, or none.
        """
        found = self.find(p, generator)
        if is_foreign(type(self)):
            _check(found, f"{type(self).__name__}.find", targets, p.num_labels, empty=self.reference == "added")
        outputs, mask = found.outputs, found.mask
        if self.reference == "added":
            outputs, mask = join(targets.candidates(), outputs), pad(mask, (1, 0), value=True)
        if self.duplicates == "merged":
            mask = mask & ~repeated(outputs, mask)
        return Candidates(outputs, mask)


def refuse_one_alone(owner: str, candidates: CandidateSet) -> None:
    """Refuse a set of one candidate for an objective that compares the candidates of an example with each other.

    Args:
        owner: the class of the objective.
        candidates: its set.

    Raises:
        ConfigError: the set has only one.
    """
    if candidates.k == 1 and candidates.reference == "left out":
        chosen = type(candidates).__name__
        raise ConfigError(
            f"{owner} compares the candidates of an example with each other, but {chosen}(k=1, reference='left out') "
            "finds only one, from which nothing is learnt; set k to at least 2, or reference='added'"
        )


def _check(found: object, what: str, targets: Sequences, num_labels: int, *, empty: bool) -> None:
    """Refuse what is no candidates of some examples; numbers are looked at in main memory only.

    Args:
        found: the returned value.
        what: the class and its method, for messages.
        targets: the references, ``[batch, time]``.
        num_labels: V.
        empty: whether an example may have no candidate.
    """
    if not isinstance(found, Candidates):
        refuse(what, "Candidates", described(found), "return Candidates(outputs, mask)")
    outputs, mask = found.outputs, found.mask
    if not isinstance(outputs, Sequences) or outputs.labels.ndim != 3 or outputs.labels.is_floating_point():
        given = f"one of shape {tuple(outputs.labels.shape)}" if isinstance(outputs, Sequences) else described(outputs)
        refuse(f"{what}, outputs,", "Sequences of whole numbers [batch, candidates, time]", given, "make it these")
    wanted = (len(targets), outputs.labels.shape[1])
    for name, each in (("lengths", outputs.lengths), ("mask", mask)):
        if not isinstance(each, Tensor) or tuple(each.shape) != wanted:
            shape = tuple(each.shape) if isinstance(each, Tensor) else described(each)
            advice = "nothing is broadcast, so return one for each candidate of each example"
            refuse(f"{what}, {name},", f"a tensor [batch, candidates] of shape {wanted}", f"{shape}", advice)
    if mask.dtype != torch.bool:
        refuse(f"{what}, mask,", "True and False", f"numbers of {mask.dtype}", "convert it by .bool()")
    if outputs.device.type != "cpu":  # a device would have to synchronise
        return
    check_lengths(outputs.lengths, outputs.labels.shape[2], what)
    real = outputs.labels[outputs.mask()]
    if len(real) and not 0 <= int(real.min()) <= int(real.max()) < num_labels:
        ends = f"{int(real.min())} to {int(real.max())}"
        refuse(f"{what}, outputs,", f"labels from 0 to {num_labels - 1}", ends, "find only these")
    if not empty and not bool(mask.any(1).all()):
        without = int((~mask.any(1)).nonzero()[0])
        advice = 'find at least one for each, or set reference="added"'
        refuse(what, "a candidate for every example", f"none for example {without} of the batch", advice)


@candidate_sets.register("samples")
@dataclass(frozen=True, kw_only=True)
class Samples(CandidateSet):
    """``k`` independent samples from p."""

    requires = (Sample,)
    instead = "candidates=NBest()"

    def find(self, p: Sample, generator: torch.Generator | None) -> Candidates:
        """``k`` samples."""
        outputs = p.sample(self.k, generator)
        return Candidates(outputs, torch.ones_like(outputs.lengths, dtype=torch.bool))


@candidate_sets.register("n-best")
@dataclass(frozen=True, kw_only=True)
class NBest(CandidateSet):
    """The ``k`` most probable outputs found by p's own search, which is exact for a tagger or a chain."""

    requires = (protocols.NBest,)
    instead = "candidates=Samples()"

    def find(self, p: protocols.NBest, generator: torch.Generator | None) -> Candidates:
        """The ``k`` best; fewer if there are fewer."""
        del generator
        return _ranked(p.n_best(self.k))


@runtime_checkable
class BeamSearch(Checkable, Protocol):
    """``beam``: the outputs found by a beam search."""

    def beam(self, width: int, *, length_penalty: float = 0.0) -> Ranked:
        """``width`` outputs, ranked by log p(y|x) / (length + 1)^penalty."""


@candidate_sets.register("beam")
@dataclass(frozen=True, kw_only=True)
class Beam(CandidateSet):
    """The ``k`` outputs found by a beam of ``k`` prefixes.

    Attributes:
        length_penalty: outputs are ranked by log p / (length + 1)^penalty; with 0 the set equals that of `NBest`.
    """

    requires = (BeamSearch,)
    instead = "candidates=Samples() or NBest()"

    length_penalty: Annotated[float, Interval(least=0)] = 0.0

    def find(self, p: BeamSearch, generator: torch.Generator | None) -> Candidates:
        """The ``k`` best that the beam finds; fewer if there are fewer."""
        del generator
        return _ranked(p.beam(self.k, length_penalty=self.length_penalty))


def repeated(
    outputs: Sequences, mask: Bool[Tensor, "batch candidates"] | None = None
) -> Bool[Tensor, "batch candidates"]:
    """True at outputs that equal an earlier one in the mask."""
    equal = equal_pairs(outputs)
    if mask is not None:
        equal = equal & mask.unsqueeze(1)
    return equal.tril(-1).any(-1)


def equal_pairs(outputs: Sequences) -> Bool[Tensor, "batch candidates candidates"]:
    """Which outputs of an example are equal; a cut output never equals a complete one."""
    labels = torch.where(outputs.mask(), outputs.labels, -1)  # which also distinguishes lengths
    if outputs.ended is not None:
        labels = torch.cat([labels, outputs.ended.long().unsqueeze(-1)], -1)
    return (labels.unsqueeze(2) == labels.unsqueeze(1)).all(-1)


def equal_to(outputs: Sequences, targets: Sequences) -> Bool[Tensor, "batch candidates"]:
    """Which outputs ``[batch, candidates, time]`` equal their target ``[batch, time]``."""
    time = min(outputs.labels.shape[-1], targets.labels.shape[-1])
    differ = outputs.labels[..., :time] != targets.labels[:, None, :time]
    differ &= targets.mask()[:, None, :time]
    return (outputs.lengths == targets.lengths.unsqueeze(1)) & ~differ.any(-1)


def join(first: Sequences, second: Sequences) -> Sequences:
    """The candidates of both, concatenated."""
    time = max(first.labels.shape[-1], second.labels.shape[-1])
    labels = [pad(each.labels, (0, time - each.labels.shape[-1])) for each in (first, second)]
    ended = None
    if first.ended is not None or second.ended is not None:
        ended = torch.cat([_ended(first), _ended(second)], 1)
    weights = None
    if first.weights is not None or second.weights is not None:
        weights = torch.cat([_weights(first), _weights(second)], 1)
    return Sequences(torch.cat(labels, 1), torch.cat([first.lengths, second.lengths], 1), ended, weights=weights)


def _weights(outputs: Sequences) -> Float[Tensor, "batch candidates"]:
    if outputs.weights is not None:
        return outputs.weights
    return torch.full(outputs.lengths.shape, 1 / max(outputs.lengths.shape[1], 1), device=outputs.device)


def _ended(outputs: Sequences) -> Bool[Tensor, "batch candidates"]:
    return torch.ones_like(outputs.lengths, dtype=torch.bool) if outputs.ended is None else outputs.ended


def _ranked(ranked: Ranked) -> Candidates:
    return Candidates(ranked.outputs, ranked.log_probs > -torch.inf)


@torch.no_grad()
def collapse_diagnostics(
    outputs: Sequences,
    rewards: Float[Tensor, "batch candidates"],
    targets: Sequences,
    mask: Bool[Tensor, "batch candidates"] | None = None,
) -> dict[str, Float[Tensor, " batch"]]:
    """Means over the outputs of each example.

    ``reward``; ``length_ratio``, of outputs to their reference, ends counted so that it is always defined; and where
    there are several outputs also ``distinct``, how many differ, as a share of those that were asked for (a search that
    finds fewer lowers it, too), and ``zero_variance``, 1 where all rewards tie, so that nothing can be learnt from
    comparing them.

    Args:
        outputs: ``[batch, candidates, time]``.
        rewards: of each output.
        targets: ``[batch, time]``.
        mask: True at outputs that count; all by default.
    """
    kept = torch.ones_like(outputs.lengths, dtype=torch.bool) if mask is None else mask
    ratios = (outputs.lengths + 1) / (targets.lengths + 1).unsqueeze(1)
    found = {"reward": _mean(rewards, kept), "length_ratio": _mean(ratios, kept)}
    if outputs.lengths.shape[1] == 1:
        return found
    distinct = (kept & ~repeated(outputs, kept)).float().mean(1)
    lowest = rewards.masked_fill(~kept, torch.inf).amin(1)
    ties = lowest == rewards.masked_fill(~kept, -torch.inf).amax(1)
    return found | {"distinct": distinct, "zero_variance": ties.float()}


def _mean(values: Float[Tensor, "batch candidates"], kept: Bool[Tensor, "batch candidates"]) -> Float[Tensor, " batch"]:
    return torch.where(kept, values, 0).sum(1) / kept.sum(1)
