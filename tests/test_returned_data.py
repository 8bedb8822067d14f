"""What users' metrics and tasks return: one sentence for whatever is not what it should be."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch

from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.metrics import WordErrorRate, counts, score
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.registry import tasks
from structpred.runs import train
from structpred.task import Example, loaded
from tests.support.tiny import Copying

DATA = Copying().load()


class OddMetric(WordErrorRate):
    """Counts as it is told."""

    rows: ClassVar[list[Any]] = []
    total: ClassVar[Any] = 1.0

    def counts(self, prediction: Any, references: Any) -> Any:
        return self.rows[int(prediction[0])]

    def score(self, totals: Any) -> Any:
        return self.total


@pytest.mark.parametrize(
    "rows",
    [
        [(1.0, 1.0), (1.0,)], [(1.0, 1.0), (math.nan, 1.0)], [(1.0, 1.0), (math.inf, 1.0)], [(1.0, 1.0), None],
        [(1.0, 1.0), 0.5], [(1.0, 1.0), ("1", 1.0)], [(1.0, 1.0), ((1.0,), 1.0)], [(1.0, 1.0), torch.ones(2, 2)],
    ],
)  # fmt: skip
def test_counts_are_checked_and_the_first_example_that_is_wrong_is_named(
    rows: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OddMetric, "rows", rows)
    words = r"^OddMetric\.counts must return a tuple of finite numbers, .* for example 2; return 0 where"
    with pytest.raises(ConfigError, match=words):
        counts(OddMetric(), [("0",), ("1",)], [(), ()])


@pytest.mark.parametrize("total", [math.nan, math.inf, [], "12", (1.0,)])
def test_a_score_is_a_finite_number(total: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OddMetric, "total", total)
    with pytest.raises(ConfigError, match=r"^OddMetric\.score must return a finite number, but returned a"):
        score(OddMetric(), np.ones((1, 2)))


GOOD = Example(("a",), (("b",),), "here")


@tasks.register("test-odd-task")
@dataclass(frozen=True, kw_only=True)
class OddTask(Copying):
    """Loads what it is told."""

    what: str

    def load(self) -> Any:
        return ODD[self.what][0]


ODD: dict[str, tuple[Any, str]] = {
    "nothing": (None, r"OddTask\.load must return Splits, but returned None"),
    "triple": (((GOOD,), (GOOD,), (GOOD,)), r"OddTask\.load must return Splits, but returned a tuple"),
    "digest": (replace(DATA, digest=""), r"OddTask\.load, digest, must return text that tells these data from others"),
    "pairs": (
        replace(DATA, dev=(GOOD, cast(Any, ("a", "b")))),
        r"dev, must return an Example .* as number 2; correct it",
    ),
    "text": (
        replace(DATA, train=(replace(GOOD, source=cast(Any, "ab")),)),
        r"train, must return an Example of symbols",
    ),
    "numbers": (replace(DATA, test=(replace(GOOD, source=cast(Any, (1, 2))),)), r"test, must return .* which are str"),
    "reference": (replace(DATA, train=(replace(GOOD, references=(cast(Any, "ab"),)),)), r"train, .*'ab'.* as number 1"),
    "none": (replace(DATA, train=(replace(GOOD, references=()),)), r"with at least one reference, but returned"),
    "metadata": (
        replace(DATA, dev=(GOOD, replace(GOOD, metadata=cast(Any, [1])))),
        r"dev, must return examples with metadata by name, but returned one with a list: \[1\] as number 2; make it",
    ),
    "kept": (
        replace(DATA, kept=cast(Any, {"a/b": b"c"})),
        r"kept, must return bytes by file name, .*'a/b'.*; write bytes",
    ),
    "no bytes": (
        replace(DATA, kept=cast(Any, {"model": "c"})),
        r"kept, must return bytes by file name, but returned a dict",
    ),
    "wording": (
        replace(DATA, test=(replace(GOOD, wording=cast(Any, "b")),)),
        r"test, .* a Wording or None, .*'b' as number 1",
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_what_a_task_loads_is_checked(what: str) -> None:
    with pytest.raises(ConfigError, match=ODD[what][1]):
        loaded(OddTask(what=what))


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_data_without_examples_train_nothing(split: str, tmp_path: Path) -> None:
    """They were scored as perfect: of no outputs, none is wrong."""
    empty: Any = {split: ()}
    expected = rf"^Copying\.load, {split}, must return at least one example, but returned none; set some aside: dev"
    experiment = Experiment(task=Copying(), model=Seq2Seq(embedding=4, hidden=4), objective=MaximumLikelihood())
    with pytest.raises(ConfigError, match=expected):
        train(experiment, root=tmp_path, splits=replace(DATA, **empty))
    assert not list(tmp_path.iterdir())
