"""Runs and studies that an earlier commit wrote are found again, and read bit for bit."""

import hashlib
import io
import json
import re
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from structpred import Experiment, Report, compare, tune
from structpred.errors import ConfigError
from structpred.runs import Folder, Run, train
from structpred.task import loaded
from structpred.text import read_predictions
from structpred.training.evaluation import predict, score_counts
from structpred.tuning import Over, Range
from tests.support.old_runs import ARMS, OTHERS, PLACE, rate

EXPERIMENTS = {
    "CRF, seed 0": replace(ARMS["CRF"], seed=0),
    "CRF, seed 1": replace(ARMS["CRF"], seed=1),
    **{name: replace(arm, seed=0) for name, arm in OTHERS.items()},
}
RENAMED = {"PER": "SER"}
"""Of `SpellingVariants`, whose symbols are not phones. Its runs stored the symbol error rate as PER."""
GRID: dict[str, Any] = {"sampler": "grid", "points": 3, "pruner": "none", "finalists": 0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy: what is found may be tidied, but nothing may be trained."""
    return Path(shutil.copytree(PLACE, tmp_path / "runs"))


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.glob("*/*"))
    }


def folder_of(experiment: Experiment) -> Folder:
    return Folder(PLACE / experiment.identity(loaded(experiment.task).digest)[:16])


def result_of(folder: Folder) -> dict[str, Any]:
    """As it is stored, but for metrics that have another name now."""

    def now(by_name: dict[str, float]) -> dict[str, float]:
        return {RENAMED.get(name, name): value for name, value in by_name.items()}

    content: dict[str, Any] = json.loads(folder.result.read_text(encoding="utf-8"), object_hook=now)
    return content


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_old_run_is_found_by_its_identity_and_not_trained(name: str, root: Path) -> None:
    before = hashes(root)
    run = train(EXPERIMENTS[name], root=root)
    assert run.result.scores == result_of(folder_of(EXPERIMENTS[name]))["scores"]
    assert hashes(root) == before


@pytest.mark.parametrize("arms", [ARMS, *({name: arm} for name, arm in OTHERS.items())], ids=["CRF", *OTHERS])
def test_a_comparison_of_old_runs_reports_their_scores(arms: Mapping[str, Experiment], root: Path) -> None:
    before, seeds = hashes(root), (0, 1) if arms is ARMS else (0,)
    silent = Console(file=io.StringIO())
    report: Report = compare(arms, seeds=seeds, root=root, console=silent)
    (found,) = report.results.values()
    kept = [result_of(folder_of(replace(arm, seed=seed))) for arm in arms.values() for seed in seeds]
    assert [run.scores for run in found] == [each["scores"] for each in kept]
    assert [[dict(epoch.dev) for epoch in run.history] for run in found] == [
        [epoch["dev"] for epoch in each["history"]] for each in kept
    ]
    assert hashes(root) == before
    assert isinstance(silent.file, io.StringIO)
    assert re.fullmatch(r"(\d) of \1 runs? (is|are) finished already, 0 to train\n", silent.file.getvalue())


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("split", ["dev", "test"])
def test_an_old_run_predicts_and_scores_as_it_did(name: str, split: str) -> None:
    run = Run.load(folder_of(EXPERIMENTS[name]).path)
    examples = getattr(loaded(run.experiment.task), split)
    outputs = predict(run.model, run.codec, [example.source for example in examples], run.experiment.decoding)
    kept = read_predictions(run.folder.predictions(split))
    assert [run.experiment.task.render(output) for output in outputs] == [each.prediction for each in kept]
    with np.load(run.folder.counts) as arrays:
        found = score_counts(run.experiment.task.metrics, examples, outputs)
        places = [place for place in arrays.files if place.startswith(f"{split}/")]
        kept_counts = {RENAMED.get(name := place.partition("/")[2], name): arrays[place] for place in places}
        assert found.keys() == kept_counts.keys()
        for metric, counts in found.items():
            assert np.array_equal(kept_counts[metric], counts)
    assert run.evaluate(examples) == run.result.scores[split]


def study_in_sqlite(root: Path) -> str:
    with closing(sqlite3.connect(root / "study.db")) as database:
        database.executescript((root / "study.sql").read_text(encoding="utf-8"))
    return f"sqlite:///{root / 'study.db'}"


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_an_old_study_is_read_and_none_of_its_trials_run_again(kind: str, root: Path) -> None:
    storage = str(root / "tuning.journal") if kind == "journal" else study_in_sqlite(root)
    before = hashes(root)
    result = tune(rate, storage=storage, root=root, **GRID).studies["tuning"]
    assert hashes(root) == before
    assert [each.state for each in result.outcomes] == ["finished"] * 3
    assert [each.parameters["lr"] for each in result.outcomes] == pytest.approx([0.01, 0.05, 0.09])
    for each in result.outcomes:
        assert each.experiment is not None
        kept = result_of(folder_of(replace(each.experiment, seed=100)))
        assert each.scores == {100: kept["scores"]["dev"]["ACC"]}
        assert list(each.epochs.values()) == [epoch["dev"]["ACC"] for epoch in kept["history"]]


def test_another_space_than_that_of_an_old_study_is_refused(root: Path) -> None:
    other = Over(OTHERS["tagger"], (Range(field="optimiser.lr", low=0.01, high=0.09),))
    with pytest.raises(ConfigError, match=r"the stored study 'tuning' has parameter lr = .*, but this one has none"):
        tune(other, storage=root / "tuning.journal", root=root, **GRID)


@pytest.mark.slow
def test_an_old_study_whose_worker_was_killed_goes_on_with_its_point(root: Path) -> None:
    options: dict[str, Any] = {
        "trials": 5,
        "sampler": "random",
        "pruner": "none",
        "finalists": 0,
        "name": "interrupted",
    }
    result = tune(rate, storage=root / "interrupted.journal", root=root, lease=0.5, **options).studies["interrupted"]
    assert [each.state for each in result.outcomes] == ["finished"] * 5
    assert result.given_up == 1
    assert len({each.parameters["lr"] for each in result.outcomes}) == 5
    text = (PLACE / "interrupted.journal").read_text(encoding="utf-8")
    begun = [json.loads(line) for line in text.splitlines() if '"param_name":"lr"' in line]
    assert [each["param_value_internal"] for each in begun] == [
        each.parameters["lr"] for each in result.outcomes[:2]
    ], "the killed worker's point is run again in its slot"
