import re
from pathlib import Path

import pytest

from structpred.errors import DataError
from structpred.sequences import spelt
from structpred.tasks import Slots
from tests.support.damage import outcomes

pytestmark = pytest.mark.filterwarnings("ignore::structpred.tasks.published.SharedInputWarning")

WORDS, TAGS = "add  él clásico now \nplay it\nplay\n", "O B-name I-name O \nO B-name\nO\n"


def task_on(folder: Path, words: str = WORDS, tags: str = TAGS) -> Slots:
    (folder / "train").mkdir(exist_ok=True)
    (folder / "train" / "seq.in").write_text(words, encoding="utf-8")
    (folder / "train" / "seq.out").write_text(tags, encoding="utf-8")
    path = str(folder / "train")
    return Slots(train=path, dev=path, test=path, longest=4)


def test_words_and_tags_are_read_line_by_line(tmp_path: Path) -> None:
    task = task_on(tmp_path)
    first, *_, last = task.load().train
    assert (first.source, first.references) == (("add", "él", "clásico", "now"), (("O", "B-name", "I-name", "O"),))
    assert (last.source, last.where) == (("play",), "train/seq.in line 3")
    assert task.parse(" play it") == ("play", "it")
    assert task.render(("O", "B-name")) == "O B-name"


def test_tags_hold_nothing_unseen(tmp_path: Path) -> None:
    task = task_on(tmp_path, tags=TAGS.replace("I-name", "I-na\u200bme"))
    with pytest.raises(DataError, match=r"seq\.out line 1, word 3: the tag must be .* holds U\+200B"):
        task.load()


@pytest.mark.parametrize(
    ("words", "tags", "expected"),
    [
        ("a\nb\n", "O\n", "must have as many lines, but they have 2 and 1; pair them anew"),
        ("a\nb c\n", "O\nO\n", "train/seq.out line 2 must have 2 tags, one for each word of train/seq.in line 2, but"),
        ("a\n\nb\n", "O\n\nO\n", "train/seq.in line 2 must have 1 to 4 words, but it has 0; split it or remove it"),
        ("a a a a a\n", "O O O O O\n", "train/seq.in line 1 must have 1 to 4 words, but it has 5"),
        ("a b\n", "O I-x\n", "train/seq.out line 1, word 2: 'I-x' must continue a chunk of its kind in IOB2"),
        ("a b\n", "O x\n", "train/seq.out line 1, word 2: the tag must be O or one of B-…, I-… in IOB2, but"),
    ],
    ids=["lines", "tags", "empty", "long", "orphan", "no tag"],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, words: str, tags: str, expected: str) -> None:
    with pytest.raises(DataError, match=re.escape(expected)):
        task_on(tmp_path, words, tags).load()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seq.in", "seq.out"])
def test_two_thousand_damaged_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    task = task_on(tmp_path)
    good = {"seq.in": WORDS, "seq.out": TAGS}[name]
    for content, found in outcomes(tmp_path / "train" / name, good.encode(), lambda: task.examples(task.train)):
        lines = re.split(r"\r?\n", content.decode("utf-8-sig").rstrip("\r\n"))
        read = [spelt(example.source) if name == "seq.in" else example.references[0] for example in found]
        assert [list(each) for each in read] == [re.findall("[^ ]+", line) for line in lines]
