"""Failing trials, and what is refused in words."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import create_trial

from structpred import Experiment
from structpred.engine import worker
from structpred.engine.driver import TRIES
from structpred.errors import ConfigError, RunError
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives
from structpred.tasks import LetterTagging
from structpred.training import Adam
from structpred.tuning import Over, Range, Space, Suggest, spaces
from structpred.tuning.outcomes import Result
from structpred.tuning.search import Search
from structpred.tuning.storage import opened
from structpred.tuning.studies import Study
from structpred.tuning.trials import INTERRUPTED, VOID
from tests.support.studies import quick, shown, trials_of
from tests.support.tuning import TEMPERED, TINY, Failing, longer, rate


@pytest.mark.filterwarnings("ignore::structpred.training.gradient.MemoryWarning")
def test_failing_trials_are_recorded_with_their_reason_and_stop_nothing(tmp_path: Path) -> None:
    base = replace(TINY, objective=Failing())
    space = Over(base, (Range(field="objective.how", choices=("finite", "memory", "code", "not")),))
    tuning = quick(space, tmp_path, trials=None, sampler="grid")
    found = {each.parameters["objective.how"]: each for each in tuning.studies["tuning"].outcomes}
    assert {how: each.state for how, each in found.items()} == {
        "finite": "failed", "memory": "failed", "code": "failed", "not": "finished",
    }  # fmt: skip
    assert "not finite in 10 steps in a row" in found["finite"].reason
    assert found["memory"].reason == "out of memory"
    assert found["code"].reason.startswith("Failing.losses, line ")
    assert " failed with KeyError: 'surprise' (traceback in " in found["code"].reason
    assert 'raise KeyError("surprise")' in Path(found["code"].reason.split()[-1][:-1]).read_text(encoding="utf-8")
    assert tuning.best.objective == Failing()
    report = shown(tuning)
    assert "1 finished and 3 failed" in report
    assert "out of memory" in report


def changeable(trial: Suggest) -> Experiment:
    """A space whose middle is fine; what else it does is in `BRANCH`."""
    at = trial.suggest_float("at", 0.0, 1.0)
    return replace(TINY, optimiser=Adam(lr=0.03)) if at == 0.5 else BRANCH[0](trial)


def raises(error: BaseException) -> Any:
    raise error


BRANCH: list[Callable[[Suggest], Any]] = []


@pytest.mark.parametrize(
    ("branch", "said"),
    [
        (lambda trial: raises(KeyError("surprise")), "KeyError in line"),
        (lambda trial: raises(optuna.TrialPruned("no use")), "no use"),
        (lambda trial: raises(SystemExit(4)), "SystemExit in line"),
        (lambda trial: TINY.model, "must return an Experiment, but got Seq2Seq"),
        (
            lambda trial: trial.suggest_float("at", 0.0, 2.0),
            "asks for at twice, with different ranges, from 0 to 1 and",
        ),
        (lambda trial: trial.suggest_categorical("x", [TINY]), "which a study cannot keep"),
        (
            lambda trial: replace(TINY, task=LetterTagging(size=20, held_out=10)),
            "LetterTagging with 10 examples in dev cannot be compared",
        ),
    ],
)
def test_a_space_that_fails_away_from_its_middle_fails_the_trial(
    branch: Callable[[Suggest], Any], said: str, tmp_path: Path
) -> None:
    BRANCH[:] = [branch]
    (outcome,) = quick(changeable, tmp_path, trials=1).studies["tuning"].outcomes
    assert outcome.state == "failed"
    assert said in outcome.reason


def test_a_space_that_has_changed_away_from_its_middle_is_refused(tmp_path: Path) -> None:
    BRANCH[:] = [lambda trial: replace(TINY, optimiser=Adam(lr=trial.suggest_float("lr", 0.01, 0.02)))]
    result = quick(changeable, tmp_path, trials=1).studies["tuning"]
    assert result.distributions.keys() == {"at", "lr"}
    assert result == quick(changeable, tmp_path, trials=1).studies["tuning"]
    BRANCH[:] = [lambda trial: replace(TINY, optimiser=Adam(lr=2 * trial.suggest_float("lr", 0.01, 0.02)))]
    with pytest.raises(ConfigError, match=r"another experiment of .* than trial 0 of the study 'tuning' has trained"):
        quick(changeable, tmp_path, trials=1)


@pytest.mark.filterwarnings("ignore::structpred.training.gradient.MemoryWarning")
def test_where_every_trial_fails_the_report_says_why(tmp_path: Path) -> None:
    space = Over(replace(TINY, objective=Failing(how="memory")), (Range(field="optimiser.lr", low=0.01, high=0.1),))
    tuning = quick(space, tmp_path, trials=2)
    assert "No trial of tuning has finished: out of memory" in shown(tuning)
    assert sorted(path.name for path in tuning.write(tmp_path / "report")) == [
        "report.html", "report.md", "results.json",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="no trial of 'tuning' finished"):
        tuning.best  # noqa: B018 - it is a property


def test_a_trial_whose_commands_all_died_says_so(tmp_path: Path) -> None:
    with opened(str(tmp_path / "journal")) as storage:
        study = Study.open("tuning", rate, Search(trials=1, finalists=0), storage)
        for _ in range(TRIES):
            trial = study.main.ask()
            assert trial is not None
            rate(trial)
            study.main.recover()  # by the next command
        (outcome,) = Result.of(study).outcomes
    assert outcome.state == "failed"
    assert outcome.reason == f"{TRIES} commands died while they ran it, perhaps for want of memory"


def test_a_full_disk_is_the_machines_trouble_and_the_trial_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "runs")

    with monkeypatch.context() as patched:
        patched.setattr(worker, "train", full)
        with pytest.raises(RunError, match="runs: No space left on device; finished trials are kept, and the same"):
            quick(rate, tmp_path)
    (first, *_) = trials_of(tmp_path)
    assert first.user_attrs[VOID] == INTERRUPTED
    outcomes = quick(rate, tmp_path).studies["tuning"].outcomes
    assert [each.state for each in outcomes] == ["finished"] * 4
    assert first.params in [each.parameters for each in outcomes]


@pytest.mark.parametrize(
    ("space", "options", "said"),
    [
        (spaces.edit_rate(TEMPERED), {}, "has parameter lr = from 0.001 to 0.3 .log., but this one has none"),
        (
            lambda trial: replace(TINY, seed=int(10 * trial.suggest_float("lr", 0.1, 0.3))),
            {},
            "from 0.001 to 0.3 .log.",
        ),
        (longer, {}, "has experiment.trainer.epochs = 2, but this one has 15"),
        (rate, {"seeds": (1, 2)}, "has seeds = 100, but this one has 1, 2"),
    ],
    ids=["parameter", "range", "experiment", "seeds"],
)
def test_a_space_that_is_not_the_stored_one_is_refused(
    tmp_path: Path, space: Space, options: dict[str, Any], said: str
) -> None:
    with opened(str(tmp_path / "runs" / "tuning.journal")) as storage:
        Study.open("tuning", rate, Search(), storage)
    with pytest.raises(ConfigError, match=f"the stored study 'tuning' .*{said}.*another study name"):
        quick(space, tmp_path, **options)


def test_somebody_elses_study_is_refused(tmp_path: Path) -> None:
    with opened(str(tmp_path / "runs" / "tuning.journal")) as storage:
        optuna.create_study(storage=storage, study_name="tuning").add_trial(create_trial(value=1.0))
    with pytest.raises(ConfigError, match="was not made by structpred"):
        quick(rate, tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trials": 0}, "trials must be at least 1 and at most 100000, but got 0"),
        ({"seeds": ()}, "at least one seed"),
        ({"seeds": 3}, "seeds must be several whole numbers"),
        ({"executor": 3}, "executor must be a concurrent.futures.Executor, but got 3"),
        ({"console": 3}, "console must be a rich.console.Console, but got 3"),
        ({"device": "gpu"}, "device must be one of 'auto', 'cpu', 'cuda'"),
        ({"seeds": (1, 1)}, "each once, but got .1, 1."),
        ({"timeout": -1.0}, "timeout must be above 0"),
        ({"sampler": "grit"}, "did you mean 'grid'"),
        ({"pruner": "medium"}, "did you mean 'median'"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"lease": 0.0}, "lease must be above 0"),
        ({"points": 1}, "points must be at least 2"),
        ({"finalists": -1}, "finalists must be at least 0"),
    ],
)
def test_budgets_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        quick(rate, tmp_path, **options)


@pytest.mark.usefixtures("own_registries")
def test_components_that_workers_cannot_import_and_no_space_are_refused(tmp_path: Path) -> None:
    @objectives.register("test-local-to-a-function")
    @dataclass(frozen=True, kw_only=True)
    class Local(MaximumLikelihood):
        """Defined where no other process finds it."""

    with pytest.raises(ConfigError, match=r"2 worker processes cannot import .*Local, because it is defined inside"):
        quick(lambda trial: replace(rate(trial), objective=Local()), tmp_path, workers=2)
    with pytest.raises(ConfigError, match="tune needs at least one space"):
        quick({}, tmp_path)


def test_storages_that_cannot_be_used_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no journal\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds something else than a journal of studies"):
        quick(rate, tmp_path, storage=tmp_path / "text")
    with pytest.raises(ConfigError, match="must be a journal file, but it is a folder"):
        quick(rate, tmp_path, storage=tmp_path)
    with pytest.raises(ConfigError, match=r"strange://a:\*\*\*@b is no storage"):
        quick(rate, tmp_path, storage="strange://a:secret@b")
    with pytest.raises(ConfigError, match="expected grpc://HOST:PORT"):
        quick(rate, tmp_path, storage="grpc://nowhere")


def test_half_a_line_at_the_end_of_a_journal_is_forgotten(tmp_path: Path) -> None:
    first = quick(rate, tmp_path)
    journal = tmp_path / "runs" / "tuning.journal"
    with journal.open("a", encoding="utf-8") as stream:
        stream.write('{"op_code": 4, "wor')
    assert quick(rate, tmp_path).studies == first.studies


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_database_serves_several_workers(workers: int, tmp_path: Path) -> None:
    options = {"finalists": 1, "more_seeds": 1, "workers": workers}
    tuning = quick(rate, tmp_path, storage=f"sqlite:///{tmp_path}/s.db", **options)
    assert len(tuning.studies["tuning"].finished) == 4
