import gzip
import re
from pathlib import Path

import pytest

from structpred.errors import ConfigError, DataError
from structpred.task import Task
from structpred.tasks import Parallel, Tsv
from tests.support.damage import outcomes


@pytest.fixture
def task(tmp_path: Path) -> Parallel:
    """Three pairs to train on, one each to choose and to test by."""
    for name, content in {
        "train.de": "ein Haus\nzwei\u00a0Häuser .\nein Haus\n",
        "train.en": "a house\ntwo  houses .\none house\n",
        "dev.de": "drei\n", "dev.en": "three\n", "test.de": "vier\n", "test.en": "four\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(content, encoding="utf-8")
    train, dev, test = (str(tmp_path / part) for part in ("train", "dev", "test"))
    return Parallel(train=train, dev=dev, test=test, source_suffix=".de", target_suffix=".en")


def test_every_line_is_an_example(task: Parallel) -> None:
    splits = task.load()
    assert [(e.source, e.references, e.where) for e in splits.train] == [
        (("ein", "Haus"), (("a", "house"),), "train.de line 1"),
        (("zwei\u00a0Häuser", "."), (("two", "houses", "."),), "train.de line 2"),
        (("ein", "Haus"), (("one", "house"),), "train.de line 3"),
    ]
    assert [len(splits.dev), len(splits.test)] == [1, 1]
    assert task.parse("ein  Haus ") == ("ein", "Haus")
    assert task.render(("a", "house")) == "a house"
    assert Task.from_json(task.to_json()) == task


def test_packed_files_are_found_by_the_plain_name(task: Parallel, tmp_path: Path) -> None:
    before = task.load()
    (tmp_path / "train.de.gz").write_bytes(gzip.compress((tmp_path / "train.de").read_bytes()))
    (tmp_path / "train.de").unlink()
    after = task.load()
    assert after.digest == before.digest
    assert after.train[0].where == "train.de.gz line 1"


def test_a_tenth_of_the_sources_is_held_out_with_all_their_lines(tmp_path: Path) -> None:
    for side in ("de", "en"):
        (tmp_path / f"all.{side}").write_text("".join(f"{side} {i // 2}\n" for i in range(40)), encoding="utf-8")
    splits = Parallel(train=str(tmp_path / "all"), source_suffix=".de", target_suffix=".en").load()
    parts = [[example.source for example in part] for part in (splits.train, splits.dev, splits.test)]
    assert [len(part) for part in parts] == [32, 4, 4], "two of twenty sources, twice each"
    assert not set(parts[0]) & set(parts[1] + parts[2])


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("train.en", "a\nb\n", "train.de and train.en must have as many lines, but they have 3 and 2; pair"),
        ("train.en", "a\n\nb\n", "train.en line 2 must hold at least one symbol, but it is empty"),
        ("train.de", "a\n \nb\n", "train.de line 2 must hold at least one symbol, but it is empty"),
        ("dev.de", "a a a a a\n", "dev.de line 1 must have at most 4 symbols, but it has 5; shorten it or"),
    ],
    ids=["fewer lines", "empty line", "blank line", "long line"],
)
def test_files_that_do_not_fit_are_refused(
    task: Parallel, tmp_path: Path, name: str, content: str, expected: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(expected)):
        Parallel(
            train=task.train, dev=task.dev, test=task.test, source_suffix=".de", target_suffix=".en", longest=4
        ).load()


@pytest.mark.slow
def test_two_thousand_damaged_files_are_read_or_refused(task: Parallel, tmp_path: Path) -> None:
    good = (tmp_path / "train.en").read_bytes()
    for content, examples in outcomes(tmp_path / "train.en", good, lambda: task.examples(task.train)):
        lines = re.split(r"\r?\n", content.decode("utf-8-sig").rstrip("\r\n"))
        assert [list(example.references[0]) for example in examples] == [re.findall("[^ ]+", line) for line in lines]


def test_columns_of_a_wider_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("1\tä\tx y\n2\tb\tz\n3\tä\tz\n".encode("latin-1"))
    task = Tsv(train=str(path), columns=3, source_column=1, target_column=2, encoding="latin-1")
    assert [(e.source, e.references) for e in task.examples(str(path))] == [
        (("ä",), (("x", "y"), ("z",))),
        (("b",), (("z",),)),
    ]
    path.write_text("1\ta\tx\n2\tb\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"^a\.tsv line 2 must be 3 columns between tabs, but it has 2 columns: '2"):
        task.examples(str(path))
    with pytest.raises(
        ConfigError, match=r"^Tsv\.target_column must be one of 0 to 1, for lines of columns=2, but got"
    ):
        Tsv(train="any", target_column=2)
