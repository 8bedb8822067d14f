"""Warnings where a search does worse than greedy search."""

import warnings

import pytest

from structpred.distributions.decoding import in_words
from structpred.distributions.protocols import Decoding
from structpred.metrics import Bleu, SymbolErrorRate
from structpred.rewards import EditDistance, Hamming
from structpred.training import searching
from structpred.training.searching import Searched, SearchWarning, much_worse, warn_of_search


def searched(score: float, ratio: float, references: float = 20) -> Searched:
    return Searched({"BLEU": score, "PER": score}, {"length_ratio": ratio, "distinct_references": references})


@pytest.mark.parametrize(
    ("beam", "greedy", "said"),
    [
        (searched(0.0, 0.3), searched(3.5, 1.0), "BLEU is 0.00 and not 3.50 and outputs are 0.30 and not 1.00 times"),
        (searched(30.0, 0.89), searched(30.0, 1.0), "outputs are 0.89 and not 1.00 times as long as the references"),
        (searched(26.9, 1.0), searched(30.0, 1.0), "BLEU is 26.90 and not 30.00"),
        (searched(27.1, 0.91), searched(30.0, 1.0), None),  # within a tenth of both
        (searched(2.1, 1.0), searched(3.0, 1.0), None),  # within a point
        (searched(40.0, 2.0), searched(30.0, 1.0), None),
        (searched(40.0, 1.2), searched(30.0, 3.0), None),  # shorter, but greedy outputs are too long
        (searched(40.0, 0.5), searched(30.0, 3.0), None),
        (searched(30.0, 0.3), searched(30.0, 3.0), "outputs are 0.30 and not 3.00 times"),
        (searched(0.0, 0.0, references=19), searched(30.0, 1.0, references=19), None),
    ],
)
def test_the_rule(beam: Searched, greedy: Searched, said: str | None) -> None:
    found = much_worse(Bleu(), beam, greedy)
    assert found is said is None or (said or "") in (found or "")


def test_errors_are_worse_where_they_are_more() -> None:
    assert much_worse(SymbolErrorRate(), searched(34.0, 1.0), searched(30.0, 1.0)) == "PER is 34.00 and not 30.00"
    assert much_worse(SymbolErrorRate(), searched(26.0, 1.0), searched(30.0, 1.0)) is None


def test_the_warning_says_what_to_do() -> None:
    with pytest.warns(SearchWarning, match=r"^a beam of 5 does worse than greedy search: BLEU is .*length_penalty=1$"):
        warn_of_search("a beam of 5", Decoding(), Bleu(), searched(0.0, 1.0), searched(3.5, 1.0))
    with pytest.warns(SearchWarning, match=r"without decoding\.reward, which .* RUN decoding\.reward=null$"):
        warn_of_search("samples", Decoding(reward=EditDistance()), Bleu(), searched(0.0, 1.0), searched(3.5, 1.0))
    with pytest.warns(SearchWarning, match=r"lower decoding\.length_penalty, .* RUN decoding\.length_penalty=0$"):
        warn_of_search("a beam of 5", Decoding(length_penalty=9), Bleu(), searched(0.0, 4.0), searched(3.5, 1.0))
    with pytest.warns(SearchWarning, match=r"length_penalty=1$"):
        warn_of_search("a beam of 5", Decoding(length_penalty=0.1), Bleu(), searched(0.0, 0.5), searched(3.5, 1.0))
    bounded = Decoding(most_length_ratio=0.1)
    with pytest.warns(
        SearchWarning, match=r"leave out most_length_ratio, which .* RUN decoding\.most_length_ratio=null$"
    ):
        warn_of_search("a beam of 5", bounded, Bleu(), searched(0.0, 0.1), searched(3.5, 1.0))
    with pytest.warns(SearchWarning, match=r"put fewer outputs in order, or none, .* RUN --rerank-by OTHER"):
        warn_of_search("the first", Decoding(), Bleu(), searched(0.0, 1.0), searched(3.5, 1.0), reranked=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_search("a beam of 5", Decoding(), Bleu(), searched(3.5, 1.0), searched(3.5, 1.0))
    assert searching.SHORTER == 1 - searching.WORSE_PART == 0.9


@pytest.mark.parametrize(
    ("decoding", "exact", "words"),
    [
        (Decoding(), False, "a beam of 5"),
        (Decoding(), True, "the most probable output, found exactly"),
        (Decoding(beam=1, length_penalty=1), False, "greedy search"),
        (
            Decoding(length_penalty=0.5, least_length_ratio=0.5, most_length_ratio=2),
            False,
            "a beam of 5, length penalty 0.5, at least 0.5 and at most 2 times as long as the input",
        ),
        (Decoding(rule="hamming"), True, "the most probable label at each position"),
        (Decoding(reward=Hamming()), True, "the most probable label at each position"),
        (Decoding(reward=EditDistance()), False, "the greatest expected edit-distance among 32 most probable outputs"),
        (
            Decoding(reward=EditDistance(), candidates="samples", num_candidates=100),
            True,
            "the greatest expected edit-distance among 100 samples",
        ),
    ],
)
def test_a_search_in_words(decoding: Decoding, exact: bool, words: str) -> None:
    assert in_words(decoding, exact=exact) == words
