import itertools
import math

import pytest
from rapidfuzz.distance import Levenshtein

from structpred.errors import ConfigError
from structpred.payoffs.automaton import automaton, edit_rate, expected_edits, partition, temperature_of


def enumerate_distances(reference: tuple[int, ...], labels: int, longest: int) -> list[int]:
    every = (s for n in range(longest + 1) for s in itertools.product(range(labels), repeat=n))
    return [Levenshtein.distance(s, reference) for s in every]


@pytest.mark.parametrize("reference", [(), (0,), (0, 0, 0), (0, 0, 1), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("labels", [3, 4])
def test_partition_and_mean_are_the_sums_over_strings(reference: tuple[int, ...], labels: int) -> None:
    edit = 0.01 / labels  # so that the strings left out weigh next to nothing
    distances = enumerate_distances(reference, labels, longest=8 if labels == 3 else 7)
    log_normaliser, edits = partition(automaton(reference, labels), math.log(edit))
    listed = math.fsum(edit**d for d in distances)
    assert math.exp(log_normaliser) == pytest.approx(listed, rel=1e-6)
    assert edits == pytest.approx(math.fsum(d * edit**d for d in distances) / listed, rel=1e-5)
    assert expected_edits(reference, labels, -1 / math.log(edit)) == pytest.approx(edits)


def test_one_label_in_closed_form() -> None:
    edit = 0.9
    log_normaliser, _ = partition(automaton((0, 0), 1), math.log(edit))
    assert math.exp(log_normaliser) == pytest.approx(edit**2 + edit + 1 / (1 - edit))


@pytest.mark.parametrize("log_edit", [-50.0, -800.0, -1e4])
def test_low_temperatures_do_not_underflow_to_nonsense(log_edit: float) -> None:
    log_normaliser, edits = partition(automaton((0, 1, 0), 5), log_edit)
    assert log_normaliser == pytest.approx(0.0, abs=1e-15)
    # one edit: 4·5 insertions less 3 that are made twice over, 3·4 substitutions, 3 deletions
    assert edits == pytest.approx((17 + 12 + 3) * math.exp(log_edit))


@pytest.mark.parametrize("labels", [2, 3, 10, 40])
def test_the_rate_rises_with_the_weight_of_an_edit(labels: int) -> None:
    rates = [edit_rate(labels, math.log(growth / labels)) for growth in (1e-6, 1e-3, 0.1, 0.3, 0.6, 0.8, 0.9)]
    assert all(low < high for low, high in itertools.pairwise(rates))


@pytest.mark.parametrize("labels", [3, 10, 40])
@pytest.mark.parametrize("growth", [0.01, 0.2, 0.5])
def test_the_rate_has_settled_at_the_nominal_length(labels: int, growth: float) -> None:
    def edits(size: int) -> float:
        return partition(automaton(tuple(i % labels for i in range(size)), labels), math.log(growth / labels))[1]

    assert edits(6) - edits(5) == pytest.approx(edit_rate(labels, math.log(growth / labels)), rel=0.01)


@pytest.mark.parametrize("rate", [1e-6, 0.01, 0.2, 1.0])
def test_inversion(rate: float) -> None:
    temperature = temperature_of(rate, 30)
    assert edit_rate(30, -1 / temperature) == pytest.approx(rate, rel=1e-9)


def test_one_label_leaves_nothing_to_edit() -> None:
    assert edit_rate(1, math.log(0.5)) == 0.0
    with pytest.raises(ConfigError, match=r"must be below 0.* with one label there is nothing to edit"):
        temperature_of(0.1, 1)
