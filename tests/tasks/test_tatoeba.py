import re
import zipfile
from pathlib import Path

import pytest

from structpred.errors import DataError
from structpred.sequences import spelt
from structpred.task import Splits
from structpred.tasks import Tatoeba
from tests.support.damage import outcomes

LINES = [
    "Hi.\tHallo!",
    "Hello.\tHallo!",  # the same group, by the German
    "Hello.\tGuten Tag!",  # and by the English
    *(f"Number {i}.\tZahl {i}." for i in range(9)),
]


def archive(folder: Path, lines: list[str]) -> Path:
    path = folder / "deu-eng.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("deu.txt", "".join(f"{line}\n" for line in lines))
    return path


def sentences(splits: Splits) -> list[set[str]]:
    parts = (splits.train, splits.dev, splits.test)
    return [{" ".join(text) for e in part for text in (spelt(e.source), e.references[0])} for part in parts]


def test_pairs_that_share_a_sentence_stay_together(tmp_path: Path) -> None:
    path = archive(tmp_path, LINES)
    splits = Tatoeba(held_out=2).read(path)
    assert [len(splits.train), len(splits.dev), len(splits.test)] == [8, 2, 2]
    sides = sentences(splits)
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert {"Hi .", "Hello ."} <= {" ".join(example.references[0]) for example in splits.train}, "three fit nowhere"
    again = Tatoeba(held_out=2).read(archive(tmp_path, LINES[::-1]))
    assert sentences(again) == sides, "the order of lines decides nothing"


def test_both_directions(tmp_path: Path) -> None:
    path = archive(tmp_path, ["Don't go!\tGeh nicht!", "a\tb", "c\td"])
    examples = {
        source: next(e for part in (splits.train, splits.dev, splits.test) for e in part if len(e.source) > 1)
        for source, splits in {
            "de": Tatoeba(held_out=1).read(path),
            "en": Tatoeba(source="en", target="de", held_out=1).read(path),
        }.items()
    }
    assert examples["de"].source == examples["en"].references[0] == ("Geh", "nicht", "!")
    assert examples["en"].source == examples["de"].references[0] == ("Don't", "go", "!")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a\tb", "c"], r"^deu-eng\.zip/deu\.txt line 2 must be an English sentence, a tab and a German one, but it"),
        (["a\tb", "c\t "], r"^deu-eng\.zip/deu\.txt line 2 must have sentences of 1 to 400 symbols, but one has 0"),
        (["a\tb", "c\td"], r"^deu\.txt must leave pairs to train on, but all are held out; lower Tatoeba\.held_out$"),
    ],
    ids=["columns", "empty", "too few"],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, lines: list[str], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        Tatoeba(held_out=1).read(archive(tmp_path, lines))


@pytest.mark.slow
def test_two_thousand_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    text = tmp_path / "deu.txt"
    good = "".join(f"{line}\n" for line in LINES).encode()

    def load() -> Splits:
        path = tmp_path / "deu-eng.zip"
        with zipfile.ZipFile(path, "w") as file:
            file.write(text, "deu.txt")
        return Tatoeba(held_out=1).read(path)

    for content, splits in outcomes(text, good, load):
        lines = re.split(r"\r?\n", content.decode("utf-8-sig").rstrip("\r\n"))
        assert len(lines) == len(splits.train) + len(splits.dev) + len(splits.test)
