import re
from pathlib import Path

import pytest

from structpred.errors import DataError
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
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "german"
    path.write_text(f"a\tb\tV\n{line}\na\tb\tV\n", encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(expected)):
        Inflection(train=str(path)).examples(str(path))


@pytest.mark.parametrize("text", ["gehen", "gehen\tV\tX", "gehen\t"])
def test_other_inputs_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"^the input must "):
        Inflection(train="any").parse(text)


def test_two_thousand_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.txt"
    task = Inflection(train=str(path))
    for content, found in outcomes(path, GOOD.encode(), lambda: task.examples(str(path))):
        rows = [line.split("\t") for line in re.split(r"\r?\n", content.decode("utf-8-sig").rstrip("\r\n"))]
        keys = dict.fromkeys((lemma, features) for lemma, _, features in rows)
        assert [("".join(e.source)) for e in found] == [f"{a}<{b.replace(';', '><')}>" for a, b in keys]
