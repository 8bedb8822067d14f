import itertools
import math
from collections import Counter, defaultdict
from functools import lru_cache

import pytest
import torch
from rapidfuzz.distance import Levenshtein
from scipy.stats import chi2

from structpred.config import Config
from structpred.distributions.protocols import LogProb, Sample
from structpred.errors import ConfigError
from structpred.payoffs import EditDistancePayoff, Payoff, Temperature
from structpred.payoffs import rejection as rejection_module
from structpred.payoffs.automaton import automaton, expected_edits, partition
from structpred.payoffs.lattice import acceptance, band_around, swept
from structpred.payoffs.transducer import EditWeights, completions, propose
from structpred.sequences import Sequences

FALSE_ALARM = 1e-4
REFERENCES = [(), (0,), (0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 1)]


def strings(labels: int, longest: int) -> list[tuple[int, ...]]:
    return [s for n in range(longest + 1) for s in itertools.product(range(labels), repeat=n)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_references(labels: int, batch: int, time: int) -> Sequences:
    drawn = torch.randint(labels, (batch, time), generator=generator(1))
    return Sequences(drawn, torch.full((batch,), time))


def slow_paths(output: tuple[int, ...], reference: tuple[int, ...], edit: float) -> float:
    """F by plain recursion over operations, written from the rules and sharing nothing with the lattice."""

    @lru_cache(None)
    def onward(i: int, j: int, last: str, symbol: int) -> float:
        total = float(i == len(output) and j == len(reference))
        if i < len(output) and last != "deletion":
            total += edit * onward(i + 1, j, "insertion", output[i])
        if j < len(reference) and last != "insertion":
            total += edit * onward(i, j + 1, "deletion", reference[j])
        if i < len(output) and j < len(reference):
            same = output[i] == reference[j]
            if same and (last == "other" or symbol != reference[j]):
                total += onward(i + 1, j + 1, "other", -1)
            if not same and last == "other":
                total += edit * onward(i + 1, j + 1, "other", -1)
        return total

    return onward(0, 0, "other", -1)


def plain_paths(output: tuple[int, ...], reference: tuple[int, ...], edit: float) -> float:
    """F of the plain transducer, which allows every alignment."""
    row = [edit**j for j in range(len(reference) + 1)]
    for symbol in output:
        new = [row[0] * edit]
        for j, label in enumerate(reference):
            new.append(edit * (row[j + 1] + new[j]) + row[j] * (1.0 if symbol == label else edit))
        row = new
    return row[-1]


def assert_law(drawn: list[list[int]], law: dict[tuple[int, ...], float]) -> None:
    """Chi-square of the draws against a law on some strings; the rest of the strings count as one."""
    counts = Counter(map(tuple, drawn))
    common = [s for s, p in law.items() if p * len(drawn) >= 5]
    expected = [law[s] * len(drawn) for s in common]
    observed = [counts[s] for s in common]
    rest = len(drawn) - sum(expected)
    if rest >= 5:
        expected.append(rest)
        observed.append(len(drawn) - sum(observed))
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    assert chi2.sf(statistic, len(expected) - 1) > FALSE_ALARM


def exact_law(reference: tuple[int, ...], labels: int, literal: float, longest: int) -> dict[tuple[int, ...], float]:
    log_normaliser = partition(automaton(reference, labels), -1 / literal)[0]
    return {
        s: math.exp(-Levenshtein.distance(s, reference) / literal - log_normaliser) for s in strings(labels, longest)
    }


@pytest.mark.parametrize("reference", REFERENCES, ids=str)
@pytest.mark.parametrize(
    "temperature",
    [Temperature(literal=0.6), Temperature(rescaled=1.2), Temperature(edit_rate=0.3)],
    ids=["literal", "rescaled", "edit-rate"],
)
@pytest.mark.parametrize("labels", [2, 3])
def test_draws_follow_the_exact_law(reference: tuple[int, ...], temperature: Temperature, labels: int) -> None:
    payoff = EditDistancePayoff(temperature=temperature)
    literal = payoff.literal(labels)
    law = exact_law(reference, labels, literal, longest=8)
    drawn = payoff.distribution(Sequences.of([reference]), labels).sample(20_000, generator(3))
    assert_law(drawn.flatten().tolist(), law)


def test_draws_around_several_ragged_references_follow_their_own_laws() -> None:
    references = Sequences.of(REFERENCES)
    garbage = torch.where(references.mask(), references.labels, 77)
    drawn = (
        EditDistancePayoff(temperature=Temperature(literal=0.6))
        .distribution(Sequences(garbage, references.lengths), 3)
        .sample(10_000, generator(4))
    )
    for row, reference in enumerate(REFERENCES):
        assert_law(drawn.select(slice(row, row + 1)).flatten().tolist(), exact_law(reference, 3, 0.6, longest=8))


def test_a_law_that_is_a_little_off_is_noticed() -> None:
    payoff = EditDistancePayoff(temperature=Temperature(literal=0.6))
    drawn = payoff.distribution(Sequences.of([(0, 0, 1)]), 3).sample(20_000, generator(3))
    with pytest.raises(AssertionError):
        assert_law(drawn.flatten().tolist(), exact_law((0, 0, 1), 3, 0.63, longest=8))


@pytest.mark.parametrize(("labels", "longest", "edit"), [(2, 5, 0.3), (3, 3, 0.2), (2, 4, 1e-3)])
def test_acceptance_is_an_independent_recursion_and_never_above_one(labels: int, longest: int, edit: float) -> None:
    every = strings(labels, longest)
    weights = EditWeights(labels, -1 / math.log(edit))
    for reference in every[:: max(1, len(every) // 25)]:
        found = acceptance(Sequences.of(every), Sequences.of([reference] * len(every)), weights)
        expected = [edit ** Levenshtein.distance(s, reference) / slow_paths(s, reference, edit) for s in every]
        assert max(expected) <= 1 + 1e-12
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("reference", REFERENCES, ids=str)
def test_total_weight_is_the_sum_over_strings(reference: tuple[int, ...]) -> None:
    labels, edit, longest = 2, 0.05, 8
    weights = EditWeights(labels, -1 / math.log(edit))
    total = completions(Sequences.of([reference]), weights).log_weight.exp().item()
    listed = math.fsum(slow_paths(s, reference, edit) for s in strings(labels, longest))
    # strings of length n make at least n − m insertions, and have at most 3^(n+m) alignments
    size = len(reference)
    tail = sum(labels**n * edit ** (n - size) * 3.0 ** (n + size) for n in range(longest + 1, 60))
    assert listed <= total * (1 + 1e-12)
    assert total - listed <= min(tail, 1e-4 * total)


def test_the_plain_transducer_would_be_accepted_far_less() -> None:
    labels, reference = 20, tuple(range(15))
    weights = EditWeights(labels, 0.95 / (1 + math.log(labels)))
    given = Sequences.of([reference])
    rows = torch.zeros(300, dtype=torch.long)
    drawn = propose(given, weights, completions(given, weights), rows, generator())
    ours = acceptance(drawn, given.select(rows), weights)
    distances = [Levenshtein.distance(s, reference) for s in drawn.tolist()]
    plain = [
        weights.edit**d / plain_paths(tuple(s), reference, weights.edit)
        for s, d in zip(drawn.tolist(), distances, strict=True)
    ]
    assert ours.mean() > 0.75
    assert ours.mean() > 1.5 * sum(plain) / len(plain)


def test_long_outputs_and_low_temperatures_do_not_underflow() -> None:
    references = Sequences.of([list(range(60)), [], [5]])
    outputs = Sequences.of([[61] * 90, [1] * 40, list(range(30))])
    # in the first row every alignment but the best costs more: 60 substitutions, then 30 insertions
    found = acceptance(outputs, references, EditWeights(100, 0.004))
    torch.testing.assert_close(found, torch.ones(3, dtype=torch.float64))


def edited(references: Sequences, labels: int, edits: float) -> Sequences:
    """Near the references, with about so many edits; every tenth is a string of any length instead."""
    weights = EditWeights(labels, EditDistancePayoff(temperature=Temperature(edit_rate=edits)).literal(labels))
    rows = torch.arange(len(references))
    near = propose(references, weights, completions(references, weights), rows, generator(5))
    width = max(near.labels.shape[1], 90)
    every, lengths = torch.randint(labels, (len(rows), width), generator=generator(6)), near.lengths.clone()
    every[:, : near.labels.shape[1]] = near.labels
    lengths[::10] = torch.randint(91, lengths[::10].shape, generator=generator(7))
    return Sequences(every, lengths)


@pytest.mark.parametrize(
    ("labels", "edit"), [(7856, 7e-6), (100, 5e-4), (3, 0.01), (40, 1e-300)], ids=["words", "signs", "few", "cold"]
)
@pytest.mark.parametrize("edits", [0.02, 0.3])
def test_what_lies_outside_a_band_is_left_out_only_where_it_is_no_more_than_rounding(
    labels: int, edit: float, edits: float
) -> None:
    weights = EditWeights(labels, -1 / math.log(edit))
    drawn = torch.randint(labels, (200, 60), generator=generator(1))
    references = Sequences(drawn, torch.randint(61, (200,), generator=generator(2)))
    outputs = edited(references, labels, edits)
    whole = swept(outputs, references, weights, 90)
    assert not whole.isnan().any()
    torch.testing.assert_close(acceptance(outputs, references, weights), whole, rtol=2**-51, atol=0)
    enough = [~swept(outputs, references, weights, band).isnan() for band in (1, 4, 9, 20)]
    for band, some in zip((1, 4, 9, 20), enough, strict=True):
        within = swept(outputs, references, weights, band)[some]
        torch.testing.assert_close(within, whole[some], rtol=2**-51, atol=0)
    shares = [float(some.double().mean()) for some in enough]
    assert shares == sorted(shares), "a wider band is enough for more"
    assert shares[-1] > 0.1, "and a wide one for many"
    assert shares[0] < 0.95, "but a narrow one not for all"


def test_most_proposals_need_no_more_than_the_band() -> None:
    references, labels = random_references(7856, 2000, 25), 7856
    weights = EditWeights(labels, EditDistancePayoff(temperature=Temperature(edit_rate=0.1)).literal(labels))
    proposals = propose(references, weights, completions(references, weights), torch.arange(2000), generator(3))
    band = band_around(references, weights)
    assert band <= 8
    assert swept(proposals, references, weights, band).isnan().double().mean() < 0.05


def test_mean_edits_agree_with_the_automaton() -> None:
    reference, labels, literal, draws = (0, 1, 2, 1, 3), 6, 0.4, 20_000
    payoff = EditDistancePayoff(temperature=Temperature(literal=literal))
    references = Sequences.of([reference])
    drawn = payoff.distribution(references, labels).sample(draws, generator(7))
    edits = -payoff.reward.score(drawn, references).double()
    expected = expected_edits(reference, labels, literal)
    assert abs(edits.mean() - expected) < 4 * edits.std() / draws**0.5


@pytest.mark.parametrize("labels", [1, 2, 40])
def test_labels_stay_in_range_and_padding_is_zero(labels: int) -> None:
    payoff = EditDistancePayoff(temperature=Temperature(rescaled=0.9))
    drawn = payoff.distribution(Sequences.of([[0] * 9, [], [labels - 1] * 4]), labels).sample(500, generator())
    assert drawn.labels.min() >= 0
    assert drawn.labels.max() < labels
    assert (drawn.labels[~drawn.mask()] == 0).all()
    assert drawn.lengths.shape == (3, 500)


def test_one_label_has_the_geometric_law_of_lengths() -> None:
    edit, size = 0.5, 3
    drawn = (
        EditDistancePayoff(temperature=Temperature(literal=-1 / math.log(edit)))
        .distribution(Sequences.of([[0] * size]), 1)
        .sample(20_000, generator())
    )
    normaliser = sum(edit ** abs(n - size) for n in range(200))
    law = {(0,) * n: edit ** abs(n - size) / normaliser for n in range(20)}
    assert_law(drawn.flatten().tolist(), law)


def test_same_generator_same_draws() -> None:
    distribution = EditDistancePayoff(temperature=Temperature(rescaled=0.9)).distribution(
        random_references(20, 50, 8), 20
    )
    first, again, other = (distribution.sample(3, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.lengths, other.lengths)


@pytest.mark.parametrize("literal", [1e-3, 1e-12, 1e-310])
def test_a_temperature_near_zero_gives_the_reference(literal: float) -> None:
    references = random_references(5, 200, 7)
    drawn = (
        EditDistancePayoff(temperature=Temperature(literal=literal)).distribution(references, 5).sample(2, generator())
    )
    assert torch.equal(drawn.labels, references.labels.unsqueeze(1).repeat(1, 2, 1))
    assert (drawn.lengths == 7).all()


@pytest.mark.parametrize(
    ("temperature", "words"),
    [
        (Temperature(literal=0.5), "literal temperature below 0.271085"),
        (Temperature(rescaled=1.3), "rescaled temperature below 1.27109"),
        (Temperature(edit_rate=1e9), "edit_rate must be below"),
    ],
    ids=["literal", "rescaled", "edit-rate"],
)
def test_too_high_a_temperature_names_the_largest(temperature: Temperature, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EditDistancePayoff(temperature=temperature).distribution(Sequences.of([[0]]), 40)


@pytest.mark.slow
def test_hopeless_acceptance_is_given_up_with_the_rate_and_a_way_out() -> None:
    payoff = EditDistancePayoff(temperature=Temperature(rescaled=1.25))
    with pytest.raises(
        ConfigError,
        match=r"only \d+ of \d+ proposals .* length up to 60.*lower the temperature, to a literal 0\.\d+ or less",
    ):
        payoff.distribution(random_references(40, 1, 60), 40).sample(1, generator())


def test_endless_insertions_are_refused() -> None:
    payoff = EditDistancePayoff(temperature=Temperature(literal=(1 - 1e-9) / math.log(40)))
    with pytest.raises(ConfigError, match=r"would insert about \d+ symbols on average"):
        payoff.distribution(random_references(40, 2, 10), 40).sample(1, generator())


def test_draws_in_small_rounds_follow_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection_module, "ROUND", 64)
    monkeypatch.setattr(rejection_module, "FEW", 16)
    payoff = EditDistancePayoff(temperature=Temperature(literal=0.6))
    drawn = payoff.distribution(Sequences.of([(0, 0, 1)]), 3).sample(2_000, generator(9))
    assert_law(drawn.flatten().tolist(), exact_law((0, 0, 1), 3, 0.6, longest=8))


def test_no_references_and_no_draws() -> None:
    payoff = EditDistancePayoff(temperature=Temperature(rescaled=0.9))
    assert payoff.distribution(Sequences.of([[0, 1]]), 3).sample(0, generator()).labels.shape[:2] == (1, 0)
    assert payoff.distribution(Sequences.of([]), 3).sample(2, generator()).lengths.shape == (0, 2)


@pytest.mark.parametrize("labels", [2, 3, 40, 1000])
def test_conversions_go_round(labels: int) -> None:
    payoff = EditDistancePayoff(temperature=Temperature(edit_rate=0.1))
    literal = payoff.literal(labels)
    again = EditDistancePayoff(temperature=Temperature(rescaled=payoff.rescaled(labels)))
    assert again.literal(labels) == pytest.approx(literal, rel=1e-12)
    assert again.edit_rate(labels) == pytest.approx(0.1, rel=1e-6)
    assert EditDistancePayoff(temperature=Temperature(literal=literal)).rescaled(labels) == pytest.approx(
        literal * (1 + math.log(labels))
    )


def test_the_edit_rate_is_what_long_references_show() -> None:
    payoff = EditDistancePayoff(temperature=Temperature(edit_rate=0.2))
    means, errors = [], []
    for time in (20, 40):
        references = Sequences(torch.arange(time).remainder(60).repeat(8, 1), torch.full((8,), time))
        edits = -payoff.reward.score(payoff.distribution(references, 60).sample(250, generator()), references)
        means.append(edits.mean().item())
        errors.append(edits.std().item() / 2000**0.5)
    assert (means[1] - means[0]) / 20 == pytest.approx(0.2, abs=4 * math.hypot(*errors) / 20)


def test_the_distribution_claims_no_verb_it_lacks() -> None:
    distribution = EditDistancePayoff(temperature=Temperature(rescaled=0.9)).distribution(Sequences.of([[0]]), 3)
    assert isinstance(distribution, Sample)
    assert not isinstance(distribution, LogProb)
    assert distribution.num_labels == 3


def test_json_gives_an_equal_payoff_back() -> None:
    payoff: Config = EditDistancePayoff(temperature=Temperature(edit_rate=0.2))
    assert Payoff.from_json(payoff.to_json()) == payoff


@pytest.mark.parametrize("reference", [(), (0,), (0, 1), (0, 1, 1, 0, 1, 0)], ids=str)
@pytest.mark.parametrize("near", [0.8, 0.986, pytest.param(0.995, marks=pytest.mark.slow)])
def test_draws_follow_the_law_near_the_limit(reference: tuple[int, ...], near: float) -> None:
    """V·a is almost 1. The normaliser comes from the automaton, as strings are too many to be listed.

    Single strings are too improbable to be counted there, so the shorter ones are grouped by length and distance; the
    mean distance looks at all.
    """
    far_from_all = near > 0.99 and len(reference) > 2  # where few draws are short
    labels, draws, log_edit = 2, 40_000 if far_from_all else 4_000, math.log(near / 2)
    payoff = EditDistancePayoff(temperature=Temperature(literal=-1 / log_edit))
    drawn = payoff.distribution(Sequences.of([reference]), labels).sample(draws, generator(3)).flatten().tolist()
    log_z, edits = partition(automaton(reference, labels), log_edit)
    law: dict[tuple[int, ...], float] = defaultdict(float)
    for s in strings(labels, 9):
        distance = Levenshtein.distance(s, reference)
        law[len(s), distance] += math.exp(distance * log_edit - log_z)
    assert len([share for share in law.values() if share * draws >= 5]) > 3, "there is something to compare"
    assert_law([[len(s), Levenshtein.distance(s, reference)] for s in drawn], law)
    found = torch.tensor([float(Levenshtein.distance(s, reference)) for s in drawn])
    assert abs(found.mean() - edits) < 4 * found.std() / draws**0.5


def test_both_kinds_of_proposals_in_one_batch() -> None:
    """A short reference is better served by lengths, an empty one by paths."""
    payoff = EditDistancePayoff(temperature=Temperature(literal=-1 / math.log(0.4)))
    references = Sequences.of([[], [0, 1, 1, 0, 1], [0]])
    drawn = payoff.distribution(references, 2).sample(3_000, generator(4))
    for row, reference in enumerate(references.tolist()):
        log_z, _ = partition(automaton(tuple(reference), 2), math.log(0.4))
        law = {s: math.exp(Levenshtein.distance(s, reference) * math.log(0.4) - log_z) for s in strings(2, 8)}
        assert_law(drawn.select(slice(row, row + 1)).flatten().tolist(), law)
