import re
from pathlib import Path

import pytest

from structpred.errors import ConfigError, DataError
from structpred.sequences import spelt
from structpred.tasks import Inflection
from tests.support.damage import outcomes

GOOD = "gehen\tging\tV;PST\ngut gehen\tging gut\tV;PST\ngehen\tgehe\tV;PRS;1\ngehen\tgieng\tV;PST\n"


def test_features_stand_behind_the_lemma(tmp_path: Path) -> None:
    path = tmp_path / "german"
    path.write_text(GOOD, encoding="utf-8")
    task = Inflection(train=str(path))
    assert [(e.source, e.references, e.where) for e in task.examples(str(path))] == [
        ((*"gehen", "<V>", "<PST>"), (tuple("ging"), tuple("gieng")), "german line 1"),
        ((*"gut gehen", "<V>", "<PST>"), (tuple("ging gut"),), "german line 2"),
        ((*"gehen", "<V>", "<PRS>", "<1>"), (tuple("gehe"),), "german line 3"),
    ]
    assert task.parse("V\tV") == ("V", "<V>")
    assert task.render(tuple("ging gut")) == "ging gut"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a\tb", "german line 2 must be a lemma, a form and features, but it has 2 columns; separate three by tabs"),
        ("a\tb\tV;;X", "german line 2 must have features between semicolons, but they are 'V;;X'; fill them in"),
        ("\tb\tV", "german line 2: the lemma must hold at least one symbol, but it is empty; write it out"),
        ("a\t \tV", "german line 2: the form must hold at least one symbol"),
        ("a\tb\tV;P\u00a0ST", "german line 2: a feature must be without white space and invisible characters, but 'P"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "german"
    path.write_text(f"a\tb\tV\n{line}\na\tb\tV\n", encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(expected)):
        Inflection(train=str(path)).examples(str(path))


UNIMORPH = "gehen\tV;PST\tging\nsehen\tV;PST\tsah\nFloh\tN\tFlöhe\n"


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "german"
    path.write_text(UNIMORPH, encoding="utf-8")
    with pytest.raises(DataError) as error:
        Inflection(train=str(path)).load()
    assert str(error.value) == (
        "german line 1 must have a form in column 1, but it has 'V;PST', which looks like features, as 2 of 3 lines do"
        "; say which is which by Inflection.lemma_column, form_column and features_column, from 0"
    )
    first, *_ = Inflection(train=str(path), form_column=2, features_column=1).examples(str(path))
    assert (first.source, first.references) == ((*"gehen", "<V>", "<PST>"), (tuple("ging"),))
    path.write_text("V;PST\tx\tging\tgehen\n", encoding="utf-8")
    (only,) = Inflection(train=str(path), columns=4, lemma_column=3, form_column=2, features_column=0).examples(
        str(path)
    )
    assert only.source == first.source


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"form_column": 3}, "Inflection.form_column must be one of 0 to 2, for lines of columns=3, but got 3"),
        ({"form_column": 0}, "must be different columns, but got [0, 0, 2]"),
    ],
)
def test_columns_that_cannot_be_are_refused(fields: dict[str, int], expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        Inflection(train="any", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["gehen", "gehen\tV\tX", "gehen\t"])
def test_other_inputs_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"^the input must "):
        Inflection(train="any").parse(text)


@pytest.mark.slow
def test_two_thousand_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.txt"
    task = Inflection(train=str(path))
    for content, found in outcomes(path, GOOD.encode(), lambda: task.examples(str(path))):
        rows = [line.split("\t") for line in re.split(r"\r?\n", content.decode("utf-8-sig").rstrip("\r\n"))]
        keys = dict.fromkeys((a.strip(" "), *(each.strip(" ") for each in c.split(";"))) for a, _, c in rows)
        assert ["".join(spelt(e.source)) for e in found] == [f"{lemma}<{'><'.join(named)}>" for lemma, *named in keys]
