"""PER where symbols are phones and SER elsewhere; what was stored as PER before is read as SER everywhere."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from structpred import Trainer
from structpred.cli import main
from structpred.comparison.across import Across
from structpred.comparison.design import Design
from structpred.comparison.examples import of_examples
from structpred.comparison.plan import Plan, PlannedRun
from structpred.comparison.record import encode, findings
from structpred.comparison.report import Report
from structpred.engine.coordination import read_epochs
from structpred.errors import ConfigError, RunError
from structpred.metrics import SER, SymbolErrorRate, WordErrorRate, counts
from structpred.report import markdown
from structpred.results import KeptMeasure, renamed, stored
from structpred.runs import Run
from structpred.task import Task, loaded
from structpred.tasks import Inflection, JsonLines, Pronunciation, Sigmorphon2017, Sigmorphon2020, Timit, Tsv
from structpred.tasks.synthetic import SpellingVariants
from structpred.training.data import EncodedData
from structpred.training.trainer import Training
from structpred.tuning import Over, Range
from structpred.tuning.search import Search
from structpred.tuning.studies import SIGNATURE, Study
from tests.support.old_runs import OTHERS, PLACE
from tests.support.reports import ML, RML, Trial, a_report

OLD = PLACE / "c3e7be5d4efe842a"
"""A run of `SpellingVariants` from when its SER was stored as PER."""


@pytest.fixture
def old(tmp_path: Path) -> Run:
    return Run.load(shutil.copytree(OLD, tmp_path / OLD.name))


@pytest.mark.parametrize("task", [Inflection, JsonLines, Sigmorphon2017, SpellingVariants, Tsv])
def test_symbols_that_are_no_phones_have_a_symbol_error_rate(task: type[Task]) -> None:
    assert {metric.name for metric in task.metrics} == {"SER", "WER"}


@pytest.mark.parametrize("task", [Pronunciation, Sigmorphon2020, Timit])
def test_phones_have_a_phone_error_rate(task: type[Task]) -> None:
    assert next(metric.name for metric in task.metrics) == "PER"


def test_both_are_computed_alike_and_chosen_by_a_name_of_their_own() -> None:
    outputs, references = [tuple("abx"), ()], [(tuple("abc"), tuple("ab")), (tuple("x"),)]
    assert (counts(SER(), outputs, references) == counts(SymbolErrorRate(), outputs, references)).all()
    assert SER().signature == SymbolErrorRate().signature.replace("PER", "SER", 1)
    metrics = ("ser", "per")
    assert [metric.name for metric in replace(OTHERS["seq2seq"], metrics=metrics).metrics] == ["SER", "PER"]  # type: ignore[arg-type]  # names are read as metrics


def test_a_name_that_another_metric_has_is_not_taken_for_a_former_one() -> None:
    both = {"SER": 1.0, "PER": 2.0}
    assert renamed(both, [SER()]) == renamed(both, [SER(), SymbolErrorRate()]) == both
    assert renamed({"PER": 2.0}, [SER(), SymbolErrorRate()]) == {"PER": 2.0}
    assert (stored(SER(), both), stored(SymbolErrorRate(), both), stored(WordErrorRate(), both)) == (1.0, 2.0, None)


def test_an_old_run_has_scores_signatures_and_history_under_the_present_name(old: Run) -> None:
    kept = json.loads(old.folder.result.read_text(encoding="utf-8"))
    assert kept["scores"]["test"].keys() == {"WER", "PER"}
    assert old.result.scores["test"] == {"WER": kept["scores"]["test"]["WER"], "SER": kept["scores"]["test"]["PER"]}
    assert old.result.signatures["SER"] == kept["signatures"]["PER"].replace("PER", "SER")
    assert [epoch.dev["SER"] for epoch in old.result.history] == [epoch["dev"]["PER"] for epoch in kept["history"]]


def test_scores_of_a_run_without_checksums_are_still_checked_by_its_counts(old: Run) -> None:
    record = json.loads(old.folder.record.read_text(encoding="utf-8"))
    del record["checksums"]
    old.folder.checksums.unlink()
    old.folder.record.write_text(json.dumps(record), encoding="utf-8")
    Run.load(old.folder.path)
    kept = json.loads(old.folder.result.read_text(encoding="utf-8"))
    kept["scores"]["test"]["PER"] += 1
    old.folder.result.write_text(json.dumps(kept), encoding="utf-8")
    with pytest.raises(RunError, match=r"says another SER on test than counts\.npz"):
        Run.load(old.folder.path)


def test_the_log_of_an_old_run_is_read(old: Run) -> None:
    epochs = read_epochs(old.folder, SER())
    assert epochs == {epoch.epoch: epoch.dev["SER"] for epoch in old.result.history}
    assert read_epochs(old.folder, SymbolErrorRate()) == epochs


def test_a_checkpoint_of_an_old_run_is_resumed() -> None:
    task, trainer = SpellingVariants(size=8, held_out=2), Trainer(epochs=1)
    experiment = replace(OTHERS["seq2seq"], task=task, trainer=trainer)
    data = EncodedData.of(loaded(experiment.task), experiment.model)
    training = Training(experiment, data)
    training.run(save=lambda state: None, save_every=1e9, stopping=lambda: False)
    state = training.state()
    for epoch in state["history"]:
        epoch["dev"] = {"WER": epoch["dev"]["WER"], "PER": epoch["dev"]["SER"]}
    again = Training(experiment, data)
    again.restore(state)
    assert again.history == training.history
    assert again.history[0].dev.keys() == {"WER", "SER"}


def test_an_old_run_is_listed_under_the_present_name_and_sorted_by_both(
    old: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = f"WER {old.result.scores['test']['WER']:.2f}  SER {old.result.scores['test']['SER']:.2f}\t"
    for name in ("PER", "SER"):
        assert main(["runs", "--root", str(tmp_path), "--sort", f"test.{name}"]) == 0
        text = capsys.readouterr().out
        assert OLD.name in text
        assert shown in text
    assert main(["runs", "--root", str(tmp_path), "--sort", "test.SIGMORPHON-PER"]) == 2


def test_an_old_run_is_shown_under_the_present_name(old: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(old.folder.path)]) == 0
    text = capsys.readouterr().out
    assert "split\tWER\tSER\n" in text
    assert "\tdev WER\tdev SER\t" in text
    assert f"scored by: {old.result.signatures['SER']}\n" in text
    assert "PER" not in text


def test_a_task_that_is_not_known_here_keeps_the_names_that_were_stored(
    old: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = old.folder.experiment
    place.write_text(place.read_text(encoding="utf-8").replace("spelling-variants", "elsewhere"), encoding="utf-8")
    assert main(["runs", "--root", str(tmp_path)]) == 0
    assert f"PER {old.result.scores['test']['SER']:.2f}\t" in capsys.readouterr().out


def test_examples_of_old_runs_are_compared(old: Run, tmp_path: Path) -> None:
    arms = {"one": old.experiment, "other": old.experiment}
    runs = tuple(PlannedRun(arm, old.experiment, old.result.identity, old.folder) for arm in arms)
    over_examples, _ = of_examples(Plan(arms, (0,), "one", loaded(old.experiment.task), runs))
    assert over_examples["other", "one"].difference == 0
    for name in ("PER", "SER"):
        result = replace(old.result, scores={"dev": {name: 1.0}, "test": {name: 1.0}})
        report = Report(arms, (0,), "one", dict.fromkeys(arms, (result,)), (KeptMeasure(name, False, ""),))
        assert report.disagreements("one", "other", root=tmp_path) == []


def test_an_old_report_is_read_with_the_present_metrics(tmp_path: Path) -> None:
    report = a_report((SymbolErrorRate(), WordErrorRate()), ML=ML, RML=RML)
    report = replace(report, design=Design(margins={"PER": 0.3}), ensembles={"ML": {"test": {"PER": 9.0, "WER": 8.0}}})
    (tmp_path / "results.json").write_text(encode(report), encoding="utf-8")
    again = Report.read(tmp_path, Trial, (SER(), WordErrorRate()))
    assert again.design.margins == {"SER": 0.3}
    assert again.ensembles == {"ML": {"test": {"SER": 9.0, "WER": 8.0}}}
    assert again.table()[1].contrast == report.table()[1].contrast
    assert [metric.name for metric in Report.read(tmp_path, Trial).metrics] == ["PER", "WER"]
    with pytest.raises(RunError, match=r"expected the metrics \['WER', 'SER'\], but it has \['PER', 'WER'\]"):
        Report.read(tmp_path, Trial, (WordErrorRate(), SER()))


def test_published_scores_of_the_former_name_stand_beside_the_present_one() -> None:
    report = a_report((SymbolErrorRate(),), ML=ML, RML=RML)
    report = Report.of(findings(json.loads(encode(report)), Path("results.json"), Trial, (SER(),)))
    across = Across({"task": report}, {"others": {"PER": {"task": 14.25}}})
    rows = [[cell.strip() for cell in line.split("|")] for line in markdown.render(across.document()).splitlines()]
    assert [row[-2] for row in rows if row[1:2] == ["macro-average"]] == ["14.25"]


@pytest.mark.parametrize("name", ["PER", "SER"])
def test_a_margin_is_given_under_either_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["task=spelling-variants", "model=seq2seq"]
    assert main(["compare", *words, "--objectives", "rml", "--margin", f"{name}=0"]) == 2
    assert "the margin of SER must be a number above 0, but got 0.0" in capsys.readouterr().err


def a_study(storage: optuna.storages.BaseStorage) -> Study:
    base = replace(OTHERS["seq2seq"], metrics=(SER(),))
    space = Over(base, (Range(field="optimiser.lr", low=0.01, high=0.09),))
    return Study.open("s", space, Search(finalists=0), storage)


def test_a_study_of_the_former_name_is_the_same_study() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = a_study(storage).main.study
    signature = study.user_attrs[SIGNATURE]
    assert signature["metric"] == "SER, lower is better"
    study.set_user_attr(SIGNATURE, signature | {"metric": "PER, lower is better"})
    a_study(storage)
    study.set_user_attr(SIGNATURE, signature | {"metric": "WER, lower is better"})
    with pytest.raises(ConfigError, match="has metric = WER, lower is better, but this one has SER, lower is better"):
        a_study(storage)
