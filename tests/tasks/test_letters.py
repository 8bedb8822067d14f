import os
import re
from itertools import chain
from pathlib import Path

import pytest

from structpred.errors import DataError
from structpred.models import BitImages
from structpred.tasks import Letters
from structpred.tasks.letters import PIXELS
from structpred.vocabulary import Vocabularies
from tests.support.damage import outcomes


def row(number: int, letter: str, *, ends: bool = False, fold: int = 0) -> str:
    pixels = f"{number:0{PIXELS}b}"
    return "\t".join([str(number), letter, "-1" if ends else str(number + 1), "1", "1", str(fold), *pixels])


def words(folds: int = 2, each: int = 10) -> str:
    """Words of two letters."""
    starts = range(1, 2 * folds * each, 2)
    return "".join(
        f"{row(i, 'a', fold=k % folds)}\n{row(i + 1, 'b', ends=True, fold=k % folds)}\n" for k, i in enumerate(starts)
    )


def test_words_are_runs_of_letters_that_name_each_other(tmp_path: Path) -> None:
    path = tmp_path / "letter.data"
    path.write_text(words(), encoding="utf-8")
    splits = Letters().read(path)
    assert [len(splits.train), len(splits.dev), len(splits.test)] == [9, 1, 10]
    first = next(example for example in splits.train + splits.dev if example.where == "letter.data line 1")
    assert first.source == (f"{1:0128b}", f"{2:0128b}")
    assert first.references == (("a", "b"),)
    path.write_text(words().replace("\n", "\t\n"), encoding="utf-8")
    assert Letters().read(path).digest == splits.digest, "the tab at the end of the published lines"


def test_the_two_protocols_are_each_other_turned(tmp_path: Path) -> None:
    path = tmp_path / "letter.data"
    path.write_text(words(folds=3, each=20), encoding="utf-8")
    small, large = Letters(fold=1).read(path), Letters(fold=1, protocol="large").read(path)
    assert [len(small.train), len(small.dev), len(small.test)] == [18, 2, 40]
    assert [len(large.train), len(large.dev), len(large.test)] == [36, 4, 20]
    assert {e.source for e in small.test} == {e.source for e in large.train + large.dev}
    assert {e.source for e in large.test} == {e.source for e in small.train + small.dev}


def test_inputs_are_pictures_for_the_encoder_of_bits() -> None:
    picture = "01" * 64
    source = Letters().parse(f"{picture} {picture}\n")
    assert BitImages().read([source], Vocabularies.of([], [])).lengths.tolist() == [2]
    assert Letters().render(("o", "k")) == "ok"
    for text in ("", "01", picture + "0", picture[:-1] + "2"):
        with pytest.raises(DataError, match=r"^the input must be "):
            Letters().parse(text)


GOOD = [row(1, "a"), row(2, "b", ends=True)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([*GOOD, "3\ta"], "letter.data line 3 must have 134 columns between tabs, but it has 2; fetch it again"),
        ([*GOOD, row(3, "A")], "letter.data line 3 must have a letter a-z in its second column, but it has 'A'"),
        ([*GOOD, row(3, "a", fold=10)], "letter.data line 3 must have a fold 0-9 in its sixth column, but it has '10'"),
        ([*GOOD, f"{row(3, 'a')[:-1]}2"], "letter.data line 3 must have pixels 0 and 1 behind its sixth column, but"),
        (
            [row(1, "a"), row(3, "b")],
            "letter.data line 2 must be letter 2 in fold 0, to continue the word before, but",
        ),
        ([row(1, "a"), row(2, "b", fold=1)], "but it is letter '2' in fold 1; fetch the file again"),
        ([*GOOD, row(3, "a")], "letter.data line 3 must be followed by the rest of its word, but the file ends; fetch"),
        (GOOD, "letter.data must have 10 words to train on and some to test by, but fold 0 has 1 of 1 words; name"),
    ],
    ids=["columns", "capital", "fold", "pixel", "gap", "other fold", "end", "too few"],
)
def test_a_damaged_line_is_named(tmp_path: Path, lines: list[str], expected: str) -> None:
    path = tmp_path / "letter.data"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(expected)):
        Letters().read(path)


@pytest.mark.slow
def test_two_thousand_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.data"
    good = words(each=11).encode()
    for content, splits in outcomes(path, good, lambda: Letters().read(path)):
        lines = content.decode("utf-8-sig").rstrip("\r\n").split("\n")
        examples = chain(splits.train, splits.dev, splits.test)
        assert sum(len(example.source) for example in examples) == len(lines)


@pytest.mark.skipif("STRUCTPRED_DATA" not in os.environ, reason="set STRUCTPRED_DATA to the folder with letters")
def test_the_published_words() -> None:
    splits = Letters().load()
    examples = splits.train + splits.dev + splits.test
    assert len(examples) == 6_877
    assert sum(len(example.source) for example in examples) == 52_152
    spelt = {"".join(example.references[0]) for example in examples}
    assert len(spelt) == 55
    assert (min(map(len, spelt)), max(map(len, spelt))) == (3, 14)
    large = Letters(protocol="large").load()
    assert len(large.test) == len(splits.train) + len(splits.dev)
