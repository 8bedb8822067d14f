"""What the outputs show: errors by kind against the metric, choice of examples, and what the report stores of it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from structpred.comparison import compared, record
from structpred.comparison.from_runs import of_runs
from structpred.comparison.inspection import LONGEST, MOST_BYTES, MOST_SHOWN, Breakdown, Inspection, inspect
from structpred.comparison.report import Report
from structpred.comparison.runner import compare
from structpred.errors import RunError
from structpred.experiment import Experiment
from structpred.metrics import SymbolErrorRate, score
from structpred.models import LSTMTagger, Seq2Seq
from structpred.objective import Objective
from structpred.objectives import REINFORCE, RML, LabelSmoothing, MaximumLikelihood, Sampled
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.report import html
from structpred.runs import Run, train
from structpred.task import Example, Splits
from structpred.tasks import Conll2000, LetterTagging, Sigmorphon2020, SpellingVariants, Tsv
from structpred.training import Trainer
from tests.support.outputs import inspection, outputs, splits
from tests.support.reports import METRICS, ML, Trial, a_report
from tests.support.reports import RML as RATES
from tests.support.tiny import Copying

ARMS = {"ML": 0.3, "RML": 0.1}


def table(found: Inspection, title: str) -> Breakdown:
    (kept,) = (each for each in found.breakdowns if each.title.startswith(title))
    return kept


def test_errors_by_kind_add_up_to_the_metric() -> None:
    data = splits(200)
    written = outputs(data, ARMS, 3)
    found = inspect(data, written, "ML", range(3), "", show=False)
    assert (found.counted, found.total, found.in_place, found.shown) == (200, 200, False, {})
    rows = table(found, "length of the reference").rows
    assert sum(row.count for row in rows) == 200
    metric = SymbolErrorRate()
    for row in rows:
        low, high = int(row.name.split()[0]), int(row.name.split()[-2])
        members = [i for i, example in enumerate(data.test) if low <= len(example.references[0]) <= high]
        assert len(members) == row.count
        for arm, runs in written.items():
            counts = np.array([metric.counts(run[i], data.test[i].references) for run in runs for i in members])
            assert row.values[arm] == pytest.approx(score(metric, counts))
    first = table(found, "position of the first error").rows
    for arm, runs in written.items():
        right = [run[i] == data.test[i].references[0] for run in runs for i in range(200)]
        assert first[0].values[arm] == pytest.approx(100 * sum(right) / 600)
        assert sum(row.values[arm] for row in first) == pytest.approx(100)


def test_kinds_are_told_apart_by_hand() -> None:
    train = (Example(("a",) * 12, (("A",),), ""), Example(("b",), (("B",),), ""))
    test = (
        Example(("a", "b"), (("A", "B"), ("A", "C", "C")), "", unknown=(True, False)),
        Example(("z",), (("Z",),), "", unknown=(False,)),
    )
    written = {"ML": [[("A", "C"), ("Z",)]], "RML": [[("A", "C", "C"), ()]]}
    found = inspect(Splits(train, test, test, ""), written, "ML", (0,), "", show=True)
    counts = {row.name: (row.count, dict(row.values)) for row in table(found, "training count").rows}
    assert counts == {"never (unknown)": (1, {"ML": 0.0, "RML": 100.0}), "1 to 9 times": (1, {"ML": 50.0, "RML": 0.0})}
    assert [row.name for row in table(found, "new words").rows] == ["no new word", "1 new word"]
    labels = {row.name: row.values for row in table(found, "label").rows}
    assert labels["A"] == {"ML": 100.0, "RML": 100.0}
    assert labels["Z"] == {"ML": 100.0, "RML": 0.0}
    first = {row.name: row.values["RML"] for row in table(found, "position").rows}
    assert (first["no error"], first["symbol 1"]) == (50.0, 50.0)
    example = found.shown["examples"][0]
    assert example["references"] == ["A B", "A C C"]
    assert example["outputs"] == [
        {"text": "A C", "edits": 1, "nearest": 0}, {"text": "A C C", "edits": 0, "nearest": 1},
    ]  # fmt: skip
    assert example["chosen"] == ["0", "1"]


@pytest.mark.slow(seconds=3)
def test_twenty_one_arms_fit_on_a_page() -> None:
    rates = {f"method number {i}, with a name of some length": 0.04 * (i + 1) for i in range(21)}
    report = a_report(METRICS[:1], **{arm: ML for arm in rates})
    found = inspection(rates, 3, 400)
    assert len(json.dumps(found.shown)) > 0.8 * MOST_BYTES, "about as much as a page may show"
    page = html.render(replace(report, inspection=found).document())
    assert len(page.encode()) < 750_000  # with every curve and table of another metric there is room for three more


def test_labels_of_a_tagger_are_compared_in_place() -> None:
    test = (Example(("a", "b", "c"), (("A", "B", "C"),), ""),) * 6
    written = {"ML": [[("B", "C", "C")] * 6], "RML": [[("A", "C", "C")] * 6]}
    found = inspect(Splits(test, test, test, ""), written, "ML", (0,), "", show=True)
    assert found.in_place
    assert found.shown["examples"][0]["outputs"][0]["edits"] == 2, "by edit distance it would be 2 of other kinds"
    confusions = {row.name: dict(row.values) for row in table(found, "confusion").rows}
    assert confusions == {"A → B": {"ML": 6.0, "RML": 0.0}, "B → C": {"ML": 6.0, "RML": 6.0}}
    assert next(iter(confusions)) == "A → B", "where arms differ most comes first"


@pytest.mark.slow(seconds=3)
def test_a_large_test_set_is_sampled_and_a_page_stays_small(tmp_path: Path) -> None:
    rates = {f"arm {i}": 0.05 * (i + 1) for i in range(5)}
    report = a_report(METRICS, **{arm: ML for arm in rates})
    report = replace(report, inspection=inspection(rates, 5, 1000))
    report.write(tmp_path)
    page = tmp_path / "report.html"
    assert page.stat().st_size < 1_500_000
    assert "(all 1,000) with the output of every arm" in page.read_text(encoding="utf-8")
    more = inspection(ARMS, 1, 1200)
    assert len(more.shown["examples"]) == MOST_SHOWN
    assert "1,000 of 1,200, evenly spread" in html.render(replace(a_report(ML=ML), inspection=more).document())


@pytest.mark.slow(seconds=2)
def test_long_texts_are_cut_and_many_are_thinned_out() -> None:
    long = tuple("x" * 400)
    test = (Example(long, (long,), ""),) * 700
    found = inspect(Splits(test, test, test, ""), {"ML": [[long[:-1]] * 700]}, "ML", (0,), "", show=True)
    examples = found.shown["examples"]
    assert examples[0]["source"].startswith("x x ")
    assert examples[0]["source"].count("x ") == LONGEST
    assert 100 < len(examples) < 700
    assert len(json.dumps(examples)) < 1.3 * MOST_BYTES


def test_results_hold_it_and_older_ones_say_what_is_left_out(tmp_path: Path) -> None:
    report = replace(a_report(ML=ML, RML=RATES), inspection=inspection(ARMS, 5, 40))
    report.write(tmp_path)
    again = Report.read(tmp_path / "results.json", Trial, report.metrics)
    assert again == report
    assert html.render(again.document()) == (tmp_path / "report.html").read_text(encoding="utf-8")
    tree = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    del tree["inspection"]
    (tmp_path / "results.json").write_text(json.dumps(tree), encoding="utf-8")
    older = Report.read(tmp_path / "results.json", Trial, report.metrics)
    assert "These results do not include outputs, so errors by length" in html.render(older.document())


def test_examples_that_may_not_be_shown_are_in_no_file(tmp_path: Path) -> None:
    report = replace(a_report(ML=ML, RML=RATES), inspection=inspection(ARMS, 5, 40, show=False))
    for file in report.write(tmp_path):
        text = file.read_text(encoding="utf-8")
        assert "a b c d" not in text
        assert '"source":' not in text
    assert "No examples are shown: made up." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_tasks_say_what_may_be_given_away() -> None:
    assert Conll2000().terms == ""
    assert Tsv(train="a", dev="b", test="c").terms == ""
    assert "MIT" in LetterTagging().terms
    assert "CC BY-SA 3.0" in Sigmorphon2020(language="fre").terms
    assert "free for any use" in SpellingVariants().terms


TAGGER = Experiment(
    task=LetterTagging(size=60, held_out=30),
    model=LSTMTagger(embedding=8, hidden=8),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=2, batch_tokens=200),
)


@pytest.mark.slow
def test_a_comparison_says_what_was_compared_and_what_starts_took(tmp_path: Path) -> None:
    start = replace(TAGGER, trainer=Trainer(epochs=1, batch_tokens=200))
    arms = {
        "ML": TAGGER,
        "then smoothing": replace(start, objective=LabelSmoothing(epsilon=0.2), start=start),
    }
    report = compare(arms, seeds=range(2), root=tmp_path / "runs", workers=1)
    assert report.inspection is not None
    assert report.material is not None
    assert len(report.inspection.shown["examples"]) == 30
    begun = report.material.starts["then smoothing"]
    assert list(report.material.starts) == ["then smoothing"]
    assert begun.steps * 2 == report.results["ML"][0].steps
    assert begun.cpu_seconds > 0
    (what, took) = compared.sections(report)
    text = str(what)
    assert "then smoothing: label smoothing, epsilon 0.2" in text
    assert "with epochs 1, batch tokens 200, after 1 epoch of maximum likelihood." in text
    assert "60 training, 30 dev and 30 test examples" in text
    assert report.material.digest[:16] in text
    assert "epochs 1 + 1" not in text
    assert "1 + 1" in str(took)
    report.write(tmp_path)
    assert Report.read(tmp_path / "results.json", Experiment).material == report.material
    silent = compare(arms, seeds=range(2), root=tmp_path / "runs", workers=1, examples="none")
    assert silent.inspection is not None
    assert silent.inspection.shown == {}
    assert json.loads(record.encode(silent))["inspection"]["breakdowns"]
    runs = [Run.load(tmp_path / "runs" / each.identity[:16]) for arm in report.results.values() for each in arm]
    kept = runs[0].result
    assert kept.certainty is not None
    assert not kept.certainty.estimated
    assert replace(runs[0], result=replace(kept, certainty=None)).certainty() == kept.certainty
    assert kept.history[0].costs.keys() == {"cpu_seconds", "reward_calls"}  # a tagger has no decoder
    again = of_runs(runs)
    assert list(again.arms) == ["maximum-likelihood", "label-smoothing"]
    assert _unnamed(again) == _unnamed(report)
    gone, _ = {run.name for run in (tmp_path / "runs").iterdir()} - {run.folder.path.name for run in runs}
    shutil.rmtree(tmp_path / "runs" / gone)
    without = of_runs(runs, examples="none")
    assert without.material == replace(again.material, starts={})  # type: ignore[type-var]  # it has material
    assert without.inspection == replace(again.inspection, shown={}, notice="they were not asked for")  # type: ignore[type-var]  # likewise


def _unnamed(report: Report) -> list[object]:
    """What the folders of runs say, without the names of arms."""
    assert report.inspection is not None
    assert report.material is not None
    rows = [(row.name, row.count, *row.values.values()) for each in report.inspection.breakdowns for row in each.rows]
    made_of = (report.material.digest, report.material.examples, *report.material.parameters.values())
    shown, starts = report.inspection.shown["examples"], [*report.material.starts.values()]
    tests = [*report.over_examples.values(), *report.crossed.values()]
    return [rows, made_of, shown, starts, report.inspection.notice, tests]


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=0.04)), estimator=Sampled(k=1)),
         "RML, edit distance payoff, edit rate 0.04, sampled, 1 output per example"),
        (LabelSmoothing(epsilon=0.25), "label smoothing, epsilon 0.25"),
        (LabelSmoothing(), "label smoothing, epsilon 0.1"),
        (RML(), "RML, edit distance payoff, rescaled 0.8, sampled, 1 output per example"),
        (REINFORCE(), "REINFORCE, edit distance, 4 draws per example, leave one out baseline"),
        (MaximumLikelihood(), "maximum likelihood"),
    ],
)  # fmt: skip
def test_an_arm_in_words(objective: Objective, words: str) -> None:
    """Numbers at their defaults too, which the table of differences may not have."""
    arm = Experiment(task=SpellingVariants(), model=Seq2Seq(), objective=objective)
    report = replace(
        a_report(METRICS[:1], one=ML, other=ML), arms={"one": arm, "other": replace(arm, model=Seq2Seq(hidden=8))}
    )
    (what, *_) = compared.sections(report)
    assert f"one: {words}; model seq2seq." in str(what.blocks)
    assert f"other: {words}; model seq2seq (hidden 8)." in str(what.blocks)


def test_runs_of_other_code_are_no_part_of_an_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is of the tests, so that its code is part of identities."""
    experiment = Experiment(
        task=Copying(),
        model=Seq2Seq(embedding=4, hidden=4),
        objective=MaximumLikelihood(),
        trainer=Trainer(epochs=1, batch_tokens=40),
    )
    one = train(experiment, root=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("structpred.foreign.digests", lambda classes: ["of other code"])
        other = train(replace(experiment, seed=1), root=tmp_path)
        assert of_runs([other]).seeds == (1,)
    assert of_runs([one]).seeds == (0,)
    expected = f"{other.folder.path} was trained by other code of a component than {one.folder.path}, which has the"
    with pytest.raises(RunError, match=f"^{re.escape(expected)}"):
        of_runs([one, other])
