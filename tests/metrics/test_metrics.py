import importlib.metadata
import random
from functools import cache

import editdistance
import numpy as np
import pytest
import rapidfuzz
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2

from structpred.errors import DataError
from structpred.metrics import (
    Accuracy,
    ChunkF1,
    ConllevalF1,
    Metric,
    OfUnknown,
    SigmorphonErrorRate,
    SymbolErrorRate,
    UnknownAccuracy,
    WordErrorRate,
    chunks,
    conlleval_chunks,
    counts,
    score,
)
from structpred.vocabulary import Symbols

METRICS: list[Metric] = [
    SymbolErrorRate(), WordErrorRate(), Accuracy(), ChunkF1(), UnknownAccuracy(), ConllevalF1(),
]  # fmt: skip


def edits(one: Symbols, other: Symbols) -> int:
    """Levenshtein's distance straight from its definition."""

    @cache
    def of(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (one[i - 1] != other[j - 1]))

    return of(len(one), len(other))


def some_symbols(generator: random.Random) -> Symbols:
    # "ab" beside "a" and "b": an implementation that joins symbols would confuse them
    return tuple(generator.choices(["a", "b", "ab", "ˈɑ", "t͡ʃ", ""], k=generator.randint(0, 6)))


def cases() -> list[tuple[Symbols, tuple[Symbols, ...]]]:
    generator = random.Random(3)
    some = [
        (some_symbols(generator), tuple(some_symbols(generator) for _ in range(generator.randint(1, 3))))
        for _ in range(1000)
    ]
    return [*some, *((references[-1], references) for _, references in some[:50])]


def test_symbol_errors_equal_the_definition() -> None:
    for prediction, references in cases():
        distances = [(edits(prediction, each), len(each)) for each in references]
        fewest = min(distance for distance, _ in distances)
        longest = max(length for distance, length in distances if distance == fewest)
        assert SymbolErrorRate().counts(prediction, references) == (fewest, longest), (prediction, references)


def test_symbol_errors_equal_another_library() -> None:
    for prediction, references in cases():
        fewest = min(editdistance.eval(prediction, each) for each in references)
        assert SymbolErrorRate().counts(prediction, references)[0] == fewest


def test_word_errors_equal_the_definition() -> None:
    wrong = 0
    for prediction, references in cases():
        expected = all(list(prediction) != list(each) for each in references)
        assert WordErrorRate().counts(prediction, references) == (expected, 1)
        wrong += expected
    assert 100 < wrong < 1000, "both outcomes occur"


@pytest.mark.parametrize(
    ("prediction", "references", "symbol_counts", "word_counts"),
    [
        ((), (("a", "b"),), (2, 2), (1, 1)),
        (("a", "b"), ((),), (2, 0), (1, 1)),
        ((), ((),), (0, 0), (0, 1)),
        (("a",), (("b", "c"), ("a",)), (0, 1), (0, 1)),
        (("a", "b"), (("a",), ("a", "b", "c")), (1, 3), (1, 1)),  # a tie: the longer reference counts
        (("a", "b"), (("a", "b", "c"), ("a",)), (1, 3), (1, 1)),  # whatever the order
        (("ab",), (("a", "b"),), (2, 2), (1, 1)),
    ],
    ids=["no prediction", "no reference", "neither", "second reference", "tie", "tie turned", "joined symbols"],
)
def test_degenerate_examples(
    prediction: Symbols,
    references: tuple[Symbols, ...],
    symbol_counts: tuple[float, float],
    word_counts: tuple[float, float],
) -> None:
    assert SymbolErrorRate().counts(prediction, references) == symbol_counts
    assert WordErrorRate().counts(prediction, references) == word_counts


def test_the_score_is_a_ratio_of_sums() -> None:
    found = counts(SymbolErrorRate(), [("a",), ("x", "y")], [(("a", "b", "c"),), (("x", "y"),)])
    assert found.tolist() == [[2, 3], [0, 2]]
    assert score(SymbolErrorRate(), found) == 40.0, "not the mean of 66.7 and 0"
    assert score(WordErrorRate(), counts(WordErrorRate(), [("a",), ("b",)], [(("a",),), (("c",), ("d",))])) == 50.0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_without_examples_nothing_is_wrong(metric: Metric) -> None:
    found = counts(metric, [], [])
    assert found.shape == (0, 2)
    assert score(metric, found) == (100.0 if metric.name in ("ACC", "F1", "CONLLEVAL-F1") else 0.0)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_predictions_without_references_are_a_mistake(metric: Metric) -> None:
    with pytest.raises(ValueError, match="zip"):
        counts(metric, [("O",)], [])


def test_signatures_say_how_the_number_was_made() -> None:
    expected = f"PER|edits:levenshtein|refs:closest|average:micro|rapidfuzz:{rapidfuzz.__version__}"
    assert SymbolErrorRate().signature == expected
    assert WordErrorRate().signature == "WER|match:exact|refs:any"
    assert Accuracy().signature == "ACC|positions:longer|refs:best|average:micro"
    chunk_signature = (
        f"F1|chunks:strict|scheme:IOB2|refs:best|average:micro|seqeval:{importlib.metadata.version('seqeval')}"
    )
    assert ChunkF1().signature == chunk_signature
    assert [metric.higher_is_better for metric in METRICS] == [False, False, True, True, True, True]


@pytest.mark.parametrize("metric", [SymbolErrorRate(), SigmorphonErrorRate()], ids=lambda metric: metric.name)
def test_outputs_for_empty_references_are_never_perfect(metric: Metric) -> None:
    """The rates of jiwer 4.0: 2 for "a b" and 3 for "a b" and "c", where all references are empty."""
    empty: tuple[Symbols, ...] = ((),)
    edits = 1.0 if metric.name == "SIGMORPHON-PER" else 2.0  # its script takes any output for one edit of nothing
    assert score(metric, counts(metric, [("a", "b")], [empty])) == 100 * edits
    assert score(metric, counts(metric, [("a", "b"), ("c",)], [empty, empty])) == 100 * (edits + 1)
    assert score(metric, counts(metric, [(), ()], [empty, empty])) == 0.0
    assert score(metric, counts(metric, [("a",), ("b", "c")], [(("a",),), empty])) == 100 * edits
    assert score(WordErrorRate(), counts(WordErrorRate(), [("a",), ()], [empty, empty])) == 50.0


@pytest.mark.parametrize("metric", [ChunkF1(), ConllevalF1()], ids=lambda metric: metric.name)
def test_nothing_to_find_and_nothing_found_is_right(metric: Metric) -> None:
    none: tuple[Symbols, ...] = (("O", "O"),)
    assert score(metric, counts(metric, [("O", "O"), ()], [none, ((),)])) == 100.0
    assert score(metric, counts(metric, [("B-X", "O")], [none])) == 0.0
    assert score(metric, counts(metric, [("O", "O")], [(("B-X", "O"),)])) == 0.0
    assert score(Accuracy(), counts(Accuracy(), [()], [((),)])) == 100.0
    assert score(Accuracy(), counts(Accuracy(), [("X",)], [((),)])) == 0.0


# --------------------------------------------------------------------------------------------------------- tagging


def test_accuracy_is_the_share_of_equal_positions() -> None:
    for prediction, references in cases():
        shares = []
        for reference in references:
            longest = max(len(prediction), len(reference))
            cells = [[*each, *[None] * (longest - len(each))] for each in (prediction, reference)]
            shares.append((sum(one == other for one, other in zip(*cells, strict=True)), longest))
        right, positions = Accuracy().counts(prediction, references)
        assert (right, positions) in shares
        assert all(right * other >= each * positions for each, other in shares), (prediction, references)


@pytest.mark.parametrize(
    ("prediction", "references", "expected"),
    [
        ((), ((),), (0, 0)),
        (("a",), ((),), (0, 1)),
        ((), (("a", "b"),), (0, 2)),
        (("a", "b"), (("a", "c"), ("a", "b")), (2, 2)),
    ],
)
def test_accuracy_of_degenerate_examples(
    prediction: Symbols, references: tuple[Symbols, ...], expected: tuple[float, float]
) -> None:
    assert Accuracy().counts(prediction, references) == expected


def test_unknown_accuracy_counts_positions_of_new_words_one_by_one() -> None:
    generator = random.Random(7)
    for prediction, references in cases():
        longest = max(map(len, references))
        unknown = tuple(generator.random() < 0.4 for _ in range(longest))
        shares = []
        for reference in references:
            cells = [(prediction[i : i + 1], reference[i : i + 1]) for i in range(longest) if unknown[i]]
            shares.append((sum(one == other and one != () for one, other in cells), len(cells)))
        right, positions = UnknownAccuracy().counts_of(prediction, references, unknown)
        assert (right, positions) == (max(right for right, _ in shares), sum(unknown))


def test_unknown_accuracy_is_told_what_is_new() -> None:
    metric, right = UnknownAccuracy(), [(("X", "Y", "X"),), (("Y",),)]
    found = counts(metric, [("X", "X", "X"), ("Y",)], right, [(True, True, False), ()])
    assert found.tolist() == [[1, 2], [0, 0]]
    assert score(metric, found) == 50.0
    assert counts(metric, [("X", "X", "X"), ("Y",)], right).tolist() == [[0, 0], [0, 0]], "nobody says what is new"
    assert isinstance(metric, OfUnknown)
    assert not isinstance(Accuracy(), OfUnknown)


def some_tags(generator: random.Random, length: int) -> Symbols:
    """Tags in any order, so that many an I continues nothing."""
    return tuple(generator.choices(["O", "B-NP", "I-NP", "B-VP", "I-VP", "I-A-B"], k=length))


def test_chunk_f1_is_that_of_seqeval_in_strict_mode() -> None:
    generator = random.Random(5)
    for case in range(1000):
        lengths = [generator.randint(0, 9) for _ in range(generator.randint(1, 4))]
        references = [some_tags(generator, length) for length in lengths]
        predictions = [right if generator.random() < 0.3 else some_tags(generator, len(right)) for right in references]
        expected = f1_score(
            [list(each) for each in references],
            [list(each) for each in predictions],
            mode="strict",
            scheme=IOB2,
            zero_division=1,  # nothing to find and nothing found is right
        )
        found = score(ChunkF1(), counts(ChunkF1(), predictions, [(each,) for each in references]))
        assert found == pytest.approx(100 * expected, abs=1e-9), case


@pytest.mark.parametrize(
    ("prediction", "references", "expected"),
    [
        ((), ((),), (0, 0)),
        (("O", "O"), (("O", "O"),), (0, 0)),
        (("B-X",), (("O",),), (0, 1)),
        (("O",), (("B-X",),), (0, 1)),
        (("B-X", "I-X"), (("B-X", "B-X"),), (0, 3)),
        (("B-X", "I-Y"), (("B-X", "O"),), (2, 2)),
        (("O", "I-X"), (("O", "B-X"),), (0, 1)),
        (("B-X",), (("O",), ("B-X",)), (2, 2)),
        (("O",), (("B-X",), ("O",)), (0, 0)),
    ],
    ids=[
        "empty", "no chunks", "a chunk too many", "a chunk too few", "another end", "I of another kind is no chunk",
        "I after O is no chunk", "second reference", "nothing to find",
    ],
)  # fmt: skip
def test_chunks_of_degenerate_examples(
    prediction: Symbols, references: tuple[Symbols, ...], expected: tuple[float, float]
) -> None:
    assert ChunkF1().counts(prediction, references) == expected


def conlleval(references: list[Symbols], predictions: list[Symbols]) -> tuple[int, int, int]:
    """Chunks right, predicted and of the references, token by token as conlleval.pl goes, for the tags O, B and I."""

    def parts(tag: str) -> tuple[str, str]:
        prefix, _, kind = tag.partition("-")
        return prefix, kind

    def ends(before: tuple[str, str], now: tuple[str, str]) -> bool:
        return (before[0] in "BI" and now[0] in "BO") or (before[0] != "O" and before[1] != now[1])

    def starts(before: tuple[str, str], now: tuple[str, str]) -> bool:
        return now[0] == "B" or (before[0] == "O" and now[0] == "I") or (now[0] != "O" and before[1] != now[1])

    right = guessed = correct = 0
    inside = False
    before = (("O", ""), ("O", ""))
    for reference, prediction in zip(references, predictions, strict=True):
        for one, other in [*zip(reference, prediction, strict=True), ("O", "O")]:
            now = (parts(one), parts(other))
            ended = [ends(*each) for each in zip(before, now, strict=True)]
            if inside and all(ended) and before[0][1] == before[1][1]:
                inside, right = False, right + 1
            elif inside and (ended[0] != ended[1] or now[0][1] != now[1][1]):
                inside = False
            started = [starts(*each) for each in zip(before, now, strict=True)]
            inside = inside or (all(started) and now[0][1] == now[1][1])
            correct, guessed, before = correct + started[0], guessed + started[1], now
    return right, guessed, correct


def test_conlleval_f1_is_that_of_the_script() -> None:
    """On any tags, and on well-formed ones it is that of seqeval in strict mode."""
    generator, differing = random.Random(6), 0
    for case in range(1000):
        lengths = [generator.randint(0, 9) for _ in range(generator.randint(1, 4))]
        references = [some_tags(generator, length) for length in lengths]
        predictions = [right if generator.random() < 0.3 else some_tags(generator, len(right)) for right in references]
        right, guessed, correct = conlleval(references, predictions)
        found = counts(ConllevalF1(), predictions, [(each,) for each in references]).sum(0)
        assert found.tolist() == [2 * right, guessed + correct], case
        strict = counts(ChunkF1(), predictions, [(each,) for each in references]).sum(0)
        well_formed = all(conlleval_chunks(tags) == chunks(tags) for tags in (*references, *predictions))
        differing += not well_formed
        assert not well_formed or strict.tolist() == found.tolist()
    assert 100 < differing < 1000, "both kinds occur"


@pytest.mark.parametrize("prefixes", ["BIO", "BIESO", "IO"], ids=["IOB2", "IOBES", "IOB1 and IO"])
def test_conlleval_chunks_are_those_of_seqeval_by_default(prefixes: str) -> None:
    """On well-formed and on random tags; its default mode is conlleval's way, but for kinds that hold a hyphen."""
    generator = random.Random(8)
    tags = ["O", *(f"{prefix}-{kind}" for prefix in prefixes.replace("O", "") for kind in ("NP", "VP"))]
    for _ in range(2000):
        some = generator.choices(tags, k=generator.randint(0, 9))
        expected = {(kind, start, end + 1) for kind, start, end in get_entities(some)}
        assert conlleval_chunks(tuple(some)) == expected, some


@pytest.mark.parametrize("tag", ["NP", "", "B", "b-NP", "[-NP"])
def test_tags_that_conlleval_chunks_cannot_have_are_refused(tag: str) -> None:
    with pytest.raises(DataError, match=r"^chunks are read from the tags O, B-…, I-…, E-… and S-…, but one is"):
        conlleval_chunks(("O", tag))


@pytest.mark.parametrize("tag", ["B-NP-", "I--NP", "B--"])
def test_kinds_that_seqeval_would_shorten_are_refused(tag: str) -> None:
    with pytest.raises(DataError, match=rf"^the kind of a chunk may not begin or end with -, .* but a tag is '{tag}'"):
        chunks(("O", tag))


@pytest.mark.parametrize("tag", ["E-NP", "NP", "", "B", "b-NP"])
def test_tags_that_are_not_iob2_are_refused(tag: str) -> None:
    with pytest.raises(DataError, match=r"^chunks are read from the tags O, B-… and I-… \(IOB2\), but one is"):
        chunks(("O", tag))


# ------------------------------------------------------------------------------------------------------ SIGMORPHON


def script_edit_distance(x: Symbols, y: Symbols) -> int:
    """The recurrence of sigmorphon/2020, task1/evaluation/evallib.py, written as it is there."""
    table = np.zeros((len(x) + 1, len(y) + 1), dtype=np.uint8)
    table[1:, 0] = 1
    table[0, 1:] = 1
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            if x[i - 1] == y[j - 1]:
                table[i][j] = table[i - 1][j - 1]
            else:
                table[i][j] = min(table[i - 1][j], table[i][j - 1], table[i - 1][j - 1]) + 1
    return int(table[-1][-1])


def test_the_script_of_sigmorphon_is_reproduced_with_its_fault() -> None:
    fewer = 0
    for prediction, references in cases():
        edits = [script_edit_distance(each, prediction) for each in references]
        found, _ = SigmorphonErrorRate().counts(prediction, references)
        assert found == min(edits), (prediction, references)
        true, _ = SymbolErrorRate().counts(prediction, references)
        assert found <= true
        fewer += found < true
    assert fewer > 50, "the two differ"


@pytest.mark.parametrize(
    ("prediction", "reference", "edits"),
    [
        ("abcd", "d", 1),
        ("d", "abcd", 1),
        ("", "abc", 1),
        ("abc", "", 1),
        ("", "", 0),
        ("da", "a", 1),
        ("xbc", "abc", 1),
    ],
)
def test_edits_at_the_beginning_are_under_counted(prediction: str, reference: str, edits: int) -> None:
    assert SigmorphonErrorRate().counts(tuple(prediction), (tuple(reference),)) == (edits, len(reference))
