import re
from dataclasses import replace
from pathlib import Path

import pytest

from structpred.errors import DataError
from structpred.sequences import spelt
from structpred.tasks import Conllu
from structpred.tasks.treebank import Tag
from structpred.training.evaluation import score_counts
from tests.support.damage import outcomes

pytestmark = pytest.mark.filterwarnings("ignore::structpred.tasks.published.SharedInputWarning")


def row(number: str, word: str = "_", upos: str = "_", xpos: str = "_") -> str:
    return "\t".join([number, word, "_", upos, xpos, *5 * "_"])


GOOD = "\n".join(
    [
        "# text = don't # go",
        row("1-2", "don't"),
        row("1", "do", "AUX", "VBP"),
        row("2", "n't", "PART", "RB"),
        row("2.1", "_", "VERB", "VB"),
        row("3", "#", "SYM", "#"),
        row("4", "New York", "PROPN", "NNP"),
        "",
        row("1", "go", "VERB", "VB"),
        "",
        "",
    ]
)


def task_on(path: Path, content: str, tag: Tag = "upos") -> Conllu:
    path.write_text(content, encoding="utf-8")
    return Conllu(train=str(path), dev=str(path), test=str(path), tag=tag, longest=4)


@pytest.mark.parametrize(("tag", "labels"), [("upos", "AUX PART SYM PROPN"), ("xpos", "VBP RB # NNP")])
def test_syntactic_words_are_read(tmp_path: Path, tag: Tag, labels: str) -> None:
    task = task_on(tmp_path / "a.conllu", GOOD, tag)
    splits = task.load()
    first, second = splits.train
    assert (first.source, first.where) == (("do", "n't", "#", "New York"), "a.conllu line 3")
    assert task.render(first.references[0]) == labels
    assert (second.source, second.where) == (("go",), "a.conllu line 9")
    assert splits.dev == splits.test
    assert [(each.source, each.references) for each in splits.dev] == [(e.source, e.references) for e in splits.train]
    assert task.parse("do n't\u00a0 go") == ("do", "n't\u00a0", "go")


def test_words_that_training_lacks_are_marked(tmp_path: Path) -> None:
    (tmp_path / "other").write_text(f"{row('1', 'Go', 'VERB')}\n{row('2', 'go', 'VERB')}\n", encoding="utf-8")
    task = replace(task_on(tmp_path / "a.conllu", GOOD), test=str(tmp_path / "other"))
    splits = task.load()
    assert [example.unknown for example in splits.test] == [(True, False)]
    assert not any(any(example.unknown) for example in (*splits.train, *splits.dev))
    found = score_counts(task.metrics, splits.test, [("VERB", "NOUN")])
    assert {name: counts.tolist() for name, counts in found.items()} == {"ACC": [[1, 2]], "OOV-ACC": [[1, 1]]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1\tgo\tVERB\n", "a.conllu line 1 must have the 10 columns of CoNLL-U, but it has 3; separate"),
        (f"{row('1', 'a', 'X')}\n1\tgo\n", "a.conllu line 2 must have 10 columns, like the first word of the file"),
        (f"{row('1', 'a', 'X')}\n{row('3', 'b', 'X')}\n", "a.conllu line 2 must be word 2 of its sentence, a range"),
        (f"{row('2', 'a', 'X')}\n", "a.conllu line 1 must be word 1 of its sentence"),
        (f"{row('1', 'a')}\n", "a.conllu line 1 must have a word and its UPOS, but they are 'a' and '_'; fill"),
        (f"{row('1', '', 'X')}\n", "a.conllu line 1 must have a word and its UPOS, but they are '' and 'X'; fill"),
        (f"{row('1-2', 'a')}\n", "a.conllu line 1: a sentence must have a word, but here is one without; remove it"),
        ("# comment\n\n", "a.conllu must hold at least one sentence, but it has none"),
        (
            "\n".join(row(str(i), "a", "X") for i in range(1, 6)),
            "a.conllu line 1: a sentence must have at most 4 words",
        ),
    ],
    ids=["columns", "one line's columns", "gap", "start", "no tag", "no word", "range alone", "nothing", "long"],
)
def test_what_is_not_conllu_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(DataError, match=re.escape(expected)):
        task_on(tmp_path / "a.conllu", content).load()


def test_tags_hold_nothing_unseen(tmp_path: Path) -> None:
    padded = task_on(tmp_path / "a.conllu", GOOD.replace("AUX", " AUX  ").replace("go", "go "))
    assert padded.load().digest == task_on(tmp_path / "b.conllu", GOOD).load().digest
    with pytest.raises(
        DataError, match=r"^c\.conllu line 4: the tag must be without .* holds U\+00A0 \(NO-BREAK SPACE"
    ):
        task_on(tmp_path / "c.conllu", GOOD.replace("PART", "PART\u00a0")).load()


@pytest.mark.slow
def test_two_thousand_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "fuzz.conllu"
    task = task_on(path, GOOD)
    for content, found in outcomes(path, GOOD.encode(), lambda: task.examples(str(path))):
        text = content.decode("utf-8-sig")
        lines = [[column.strip(" ") for column in line.split("\t")] for line in re.split(r"\r?\n", text)]
        words = [columns for columns in lines if columns[0].isdecimal() and columns[0].isascii()]
        assert [word for example in found for word in spelt(example.source)] == [columns[1] for columns in words]
        assert [tag for example in found for tag in example.references[0]] == [columns[3] for columns in words]
