"""Candidate sets: what is in them, once or as often as found, with or without the reference."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from structpred.distributions import LinearChain
from structpred.distributions.protocols import LogProb
from structpred.errors import ConfigError
from structpred.objectives import CPO, DPO, CandidateHinge, MinimumRisk
from structpred.objectives.candidates import Beam, Candidates, CandidateSet, NBest, Samples, join, repeated
from structpred.sequences import Sequences
from tests.support.tiny import as_candidates, tiny_p

TARGETS = Sequences.of([[0, 1], []])


def members(candidates: Candidates, example: int) -> list[list[int]]:
    outputs = Sequences(candidates.outputs.labels[example], candidates.outputs.lengths[example]).tolist()
    return [output for output, inside in zip(outputs, candidates.mask[example].tolist(), strict=True) if inside]


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_repeats_are_found_whatever_stands_in_the_padding() -> None:
    outputs = as_candidates([[0, 1], [0], [], [0, 1], [0], [0, 0]])
    noisy = Sequences(torch.where(outputs.mask(), outputs.labels, torch.arange(6).view(1, 6, 1)), outputs.lengths)
    for each in (outputs, noisy):
        assert repeated(each).tolist() == [[False, False, False, True, True, False]]


ALONE = Samples(k=1, reference="left out")


@pytest.mark.parametrize(
    "made",
    [
        lambda: MinimumRisk(candidates=ALONE),
        lambda: DPO(run="runs/start", candidates=ALONE),
        lambda: CPO(candidates=ALONE),
        lambda: CandidateHinge(candidates=NBest(k=1, reference="left out"), against="best"),
    ],
)
def test_a_candidate_alone_is_refused_where_candidates_are_compared(made: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match=r"k=1, reference='left out'\) finds only one.*; set k to at least 2"):
        made()
    MinimumRisk(candidates=Samples(k=1))  # the reference is the other


def test_a_cut_output_is_another_than_the_ended_one() -> None:
    outputs = as_candidates([[0, 1], [0, 1], [0, 1]])
    cut = Sequences(outputs.labels, outputs.lengths, torch.tensor([[True, False, True]]))
    assert repeated(cut).tolist() == [[False, False, True]]


def test_what_is_outside_the_set_repeats_nothing() -> None:
    outputs = as_candidates([[0], [0], [0]])
    mask = torch.tensor([[False, True, True]])
    assert (mask & ~repeated(outputs, mask)).tolist() == [[False, True, False]]


def test_joined_candidates_keep_order_length_and_cuts() -> None:
    short = Sequences(torch.tensor([[[1]]]), torch.tensor([[1]]))
    long = Sequences(torch.tensor([[[0, 1, 1]]]), torch.tensor([[3]]), torch.tensor([[False]]))
    both = join(short, long)
    assert both.labels.tolist() == [[[1, 0, 0], [0, 1, 1]]]
    assert both.lengths.tolist() == [[1, 3]]
    assert both.ended is not None
    assert both.ended.tolist() == [[True, False]]
    assert join(short, short).ended is None


@pytest.mark.parametrize("candidates", [Samples(k=12), NBest(k=4), Beam(k=4)], ids=lambda each: type(each).__name__)
def test_a_merged_set_with_the_reference_holds_each_output_once(candidates: CandidateSet) -> None:
    drawn = candidates.draw(tiny_p(2), TARGETS, source())
    for example, target in enumerate(TARGETS.tolist()):
        found = members(drawn, example)
        assert found[0] == target
        assert len(set(map(tuple, found))) == len(found)


def test_kept_duplicates_weigh_as_often_as_they_were_drawn() -> None:
    settings = Samples(k=12, duplicates="kept", reference="left out")
    p = tiny_p(2)
    drawn = settings.draw(p, TARGETS, source(3))
    torch.testing.assert_close(drawn.outputs.labels, p.sample(12, source(3)).labels)
    assert drawn.mask.all()
    merged = Samples(k=12, reference="left out").draw(p, TARGETS, source(3))
    for example in range(2):
        assert len(members(merged, example)) == len(set(map(tuple, members(drawn, example)))) < 12


def test_fewer_outputs_than_asked_for_are_masked_out() -> None:
    unary = torch.zeros(2, 2, 2, dtype=torch.float64)
    chain = LinearChain(unary, torch.zeros(2, 2, dtype=torch.float64), torch.tensor([2, 1]))
    drawn = NBest(k=9, reference="left out").draw(chain, Sequences.of([[0, 1], [1]]), source())
    assert sorted(members(drawn, 0)) == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert sorted(members(drawn, 1)) == [[0], [1]]


def test_a_beam_may_rank_by_length_and_is_otherwise_an_n_best_list() -> None:
    p = tiny_p(2)
    plain, listed = Beam(k=3).draw(p, TARGETS, None), NBest(k=3).draw(p, TARGETS, None)
    torch.testing.assert_close(plain.outputs.labels, listed.outputs.labels)
    longer = Beam(k=3, length_penalty=5.0).draw(p, TARGETS, None)
    assert longer.outputs.lengths.sum() > plain.outputs.lengths.sum()


def test_requirements_name_the_verb_and_what_would_do_instead() -> None:
    own, beam = MinimumRisk(candidates=Beam()).requirements()
    assert (own.protocol, own.purpose, own.instead) == (LogProb, "MinimumRisk", "")
    assert (beam.purpose, beam.instead) == ("MinimumRisk with Beam()", "candidates=Samples() or NBest()")
    assert issubclass(LinearChain, MinimumRisk().requirements()[1].protocol)
    assert not issubclass(LinearChain, beam.protocol)


def test_wrong_choices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Samples\.k must be at least 1, but got 0"):
        Samples(k=0)
    with pytest.raises(ConfigError, match=r"Samples\.duplicates must be one of 'merged', 'kept'"):
        Samples(duplicates="drop")  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Odd(CandidateSet):
    """Samples, changed by a function."""

    change: ClassVar[list[Callable[[Sequences], Any]]] = []

    def find(self, p: Any, generator: torch.Generator | None) -> Any:
        return self.change[0](p.sample(3, generator))


def all_of(outputs: Sequences) -> torch.Tensor:
    return torch.ones(2, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out: None, r"Odd\.find must return Candidates, but returned None"),
        (lambda out: Candidates(out, all_of(out)[:, :1]), r"mask, .* of shape \(2, 3\), but returned \(2, 1\)"),
        (lambda out: Candidates(out, all_of(out).float()), "mask, must return True and False, but"),
        (lambda out: Candidates(out, ~all_of(out)), "a candidate for every example, but returned none for example 0"),
        (
            lambda out: Candidates(Sequences(out.labels, out.lengths + 90), all_of(out)),
            r"lengths, must return numbers from 0 to \d+, the size of the time axis, but returned 9\d to 9\d",
        ),
        (
            lambda out: Candidates(Sequences(out.labels - 7, out.lengths + 1 - out.lengths), all_of(out)),
            "outputs, must return labels from 0 to 1, but returned -7 to -[67]",
        ),
        (
            lambda out: Candidates(Sequences(out.labels[:, 0], out.lengths[:, 0]), all_of(out)),
            r"outputs, must return Sequences of whole numbers \[batch, candidates, time\], but returned one of shape",
        ),
    ],
)
def test_what_a_set_of_ones_own_finds_is_checked(change: Callable[[Sequences], Any], said: str) -> None:
    Odd.change[:] = [change]
    with pytest.raises(ConfigError, match=said):
        Odd(reference="left out").draw(tiny_p(2), TARGETS, source())


def test_a_set_of_ones_own_may_find_none_where_the_reference_is_added() -> None:
    Odd.change[:] = [lambda out: Candidates(out, ~all_of(out))]
    found = Odd().draw(tiny_p(2), TARGETS, source())
    assert members(found, 0) == [[0, 1]]
    assert members(found, 1) == [[]]
