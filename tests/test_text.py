"""Names of users as one line of text and as names of files; tables of text that come back as they were."""

import itertools
import random
import re
import unicodedata
from pathlib import Path

import pytest

from structpred.errors import ConfigError, DataError
from structpred.text import (
    Outcome,
    escaped,
    file_stems,
    plain,
    predictions_table,
    read_predictions,
    refuse_unseen,
    unescaped,
)


def written_and_read(path: Path, rows: list[Outcome]) -> list[Outcome]:
    path.write_bytes(predictions_table(rows).encode())
    return read_predictions(path)


def test_plain_text_stands_as_it_is(tmp_path: Path) -> None:
    rows = [Outcome("a b", "x|y z", ("x y", "k|s x|", "|z")), Outcome("d", "", ("",))]
    assert predictions_table(rows) == ("source\tprediction\treferences\na b\tx|y z\tx y | k|s x| | |z\nd\t\t\n")
    assert written_and_read(tmp_path / "a.tsv", rows) == rows


def test_every_short_text_comes_back(tmp_path: Path) -> None:
    texts = ["".join(each) for n in range(4) for each in itertools.product("| a\\", repeat=n)]
    rows = [Outcome("x", first, (first, second)) for first, second in itertools.product(texts, texts)]
    assert written_and_read(tmp_path / "a.tsv", rows) == rows


def test_any_text_comes_back(tmp_path: Path) -> None:
    generator = random.Random(5)
    characters = "| \t\n\r\0\\tnru0a|\x0b\x1c\x85\u2028\u2029\ufeff\u00a0\ud800é𝔸"

    def text() -> str:
        return "".join(generator.choices(characters, k=generator.randrange(12)))

    rows = [Outcome(text(), text(), tuple(text() for _ in range(generator.randint(1, 4)))) for _ in range(3000)]
    table = predictions_table(rows)
    assert len(table.splitlines()) == 1 + len(rows)
    assert {line.count("\t") for line in table.splitlines()} == {2}
    assert written_and_read(tmp_path / "a.tsv", rows) == rows
    assert all(unescaped(escaped(row.source)) == row.source for row in rows)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a\tb\n", "a.tsv line 1 must be the heading 'source\\tprediction\\treferences', but it is 'a\\tb'"),
        ("source\tprediction\treferences\na\tb\n", "a.tsv line 2 must be a source, a prediction and references, but"),
        ("source\tprediction\treferences\na\\x\tb\tc\n", "a.tsv line 2: a cell must hold no backslash but in"),
    ],
)
def test_another_table_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "a.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(expected)):
        read_predictions(tmp_path / "a.tsv")


def test_what_cannot_be_seen_is_spelt_out_and_other_scripts_are_kept() -> None:
    assert plain("a\0b\x1b[31m\udcff\ufffe\u202e\x85") == r"a\x00b\x1b[31m\udcff\ufffe\u202e\x85"
    assert plain("one \r\n two\tthree") == "one two three"
    for text in ("日本 한국", "नमस्ते", "\u200dعربى\u200c", "τ = 0.1, “best” \\ \u00a0|", "👩‍👩‍👧"):
        assert plain(text) == text


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\tb", "\x1b[31m", "\udcff", 3, None])
def test_names_that_are_not_one_line_of_text_are_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="the name of an arm must be one line of text without control characters"):
        refuse_unseen(name, "the name of an arm")


def test_names_get_stems_that_no_file_system_takes_for_one() -> None:
    names = [
        "日本",
        "한국",
        "a-b",
        "A b",
        "A_B 2",
        "?",
        "!",
        "ß",
        "SS",
        "é",
        "e\u0301",
        "x" * 300,
        "x" * 301,
        "漢" * 99,
        "../up",
    ]
    stems = file_stems(names)
    assert list(stems) == names
    folded = {unicodedata.normalize("NFKD", stem).casefold() for stem in stems.values()}
    assert len(folded) == len(names)
    assert all(len(f"..best_{stem}.json.0123456789abcdef.unfinished".encode()) < 255 for stem in stems.values())
    assert not any("/" in stem or "." in stem for stem in stems.values())
