"""Averages over tasks: by hand, over seeds and over tasks."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from structpred.comparison.across import Across
from structpred.comparison.design import Design
from structpred.comparison.material import Material
from structpred.comparison.report import Report
from structpred.errors import ConfigError
from structpred.report import markdown
from structpred.results import Certainty
from structpred.statistics import MARGIN
from tests.support.reports import METRICS, ML, NEAR, RML, Method, Trial, a_report

PER, WER = METRICS


def of(shift: float) -> Report:
    rates: dict[str, Sequence[float]] = {"ML": [each + shift for each in ML], "RML": [each + shift**2 for each in RML]}
    return a_report(METRICS, **rates)


@pytest.fixture
def across() -> Across:
    published = {"baseline": {"WER": {"one": 30.0, "two": 40.0, "three": 20.0}}}
    return Across({"one": of(0.0), "two": of(0.5), "three": of(1.0)}, published)


def test_the_average_is_that_of_the_tasks_seed_by_seed(across: Across) -> None:
    baseline, better = across.average.table(PER)
    assert baseline.test.mean == pytest.approx(np.mean(ML) + 0.5)
    expected = [rate + 1.25 / 3 for rate in RML]
    assert [run.scores["test"]["PER"] for run in across.average.results["RML"]] == pytest.approx(expected)
    assert better.contrast is not None
    assert better.contrast.p == pytest.approx(stats.ttest_rel(expected, np.array(ML) + 0.5).pvalue)


def test_over_tasks_the_task_is_the_unit(across: Across) -> None:
    gap = np.mean(RML) - np.mean(ML)
    differences = [gap, gap - 0.25, gap]
    found = across.over_tasks(PER)["RML"]
    assert found.difference.mean == pytest.approx(np.mean(differences))
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue)


def test_every_arm_is_compared_over_tasks_with_the_baseline_of_its_group() -> None:
    def grouped(shift: float) -> Report:
        arms = {name: [each + by + shift for each in ML] for name, by in (("ML", 0.0), ("other", -1.0), ("own", -3.0))}
        return replace(a_report(METRICS, **arms), design=Design(groups={"other": ("own",)}))

    across = Across({"one": grouped(0.0), "two": grouped(0.5)})
    assert {arm: round(each.difference.mean, 6) for arm, each in across.over_tasks(PER).items()} == {"own": -2.0}
    claims = [line for line in markdown.render(across.document()).splitlines() if "over the 2 tasks" in line]
    assert "own minus other over the 2 tasks: -2.00" in claims[0]
    assert all("own minus other" in line for line in claims)
    assert len(claims) == len(METRICS)


def test_every_task_stands_beside_what_was_published(across: Across, tmp_path: Path) -> None:
    files = across.write(tmp_path)
    assert [file.name for file in files] == ["results.json", "report.md", "report.html"]
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert rows["two"].rstrip(" |").endswith("40.00")
    assert rows["macro-average"].rstrip(" |").endswith("30.00")
    assert "RML minus ML over the 3 tasks" in text
    assert "## Runs" not in text, "an average has none of its own"


def test_the_record_holds_every_run(across: Across, tmp_path: Path) -> None:
    across.write(tmp_path)
    tree = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert set(tree["tasks"]) == {"one", "two", "three"}
    assert len(tree["tasks"]["two"]["runs"]["RML"]) == len(ML)
    assert tree["published"]["baseline"]["WER"]["three"] == 20.0


def test_one_seed_and_one_task_claim_nothing() -> None:
    alone = Across({"one": a_report(METRICS, ML=ML[:1], RML=RML[:1])})
    assert alone.average.table()[1].verdict == "one seed: no claim"
    assert alone.over_tasks(PER)["RML"].corrected_p is None
    assert "p =" not in " ".join(str(section) for section in alone.document().sections if "every task" in section.title)


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one task, but got none"):
        Across({})
    with pytest.raises(ConfigError, match="one and two must have the same arms"):
        Across({"one": of(0.0), "two": a_report(METRICS, ML=ML, other=NEAR)})
    with pytest.raises(ConfigError, match=r"must be of the reports' metrics \['PER', 'WER'\], but paper has WRE"):
        Across({"one": of(0.0)}, {"paper": {"WRE": {"one": 1.0}}})
    with pytest.raises(ConfigError, match=r"paper has no WER of \['one'\]"):
        Across({"one": of(0.0)}, {"paper": {"WER": {"two": 1.0}}})
    with pytest.raises(ConfigError, match="one and three have the same runs, which would count twice; leave one out"):
        Across({"one": of(0.0), "two": of(0.5), "three": of(0.0)})


def test_what_is_no_score_is_averaged_too_or_left_out(across: Across) -> None:
    """Of the first task nothing may stand for all."""

    def measured(report: Report, by: float, *, ensembles: bool = True) -> Report:
        certainty = Certainty(examples=10, labels=1.0 + by, outputs=None if by else 2.0, entropy=0.5 + by)
        results = {
            arm: tuple(
                replace(run, certainty=certainty, steps=int(100 * by), device=f"device {by}", best_epoch=3)
                for run in runs
            )
            for arm, runs in report.results.items()
        }
        together = {arm: {split: {"PER": 10.0 + by, "WER": 20.0} for split in ("dev", "test")} for arm in results}
        material = Material("d" * 64, {"train": int(10 * by) + 1, "dev": 2, "test": 3}, dict.fromkeys(results, 5), {})
        return replace(report, results=results, ensembles=together if ensembles else {}, material=material)

    one, two = across.reports["one"], across.reports["two"]
    both = Across({"one": measured(one, 0.0), "two": measured(two, 3.0)})
    average = both.average
    assert average.ensembles["RML"]["test"] == {"PER": 11.5, "WER": 20.0}
    run = average.results["RML"][0]
    assert run.certainty == Certainty(examples=20, labels=2.5, outputs=None, entropy=2.0)
    assert (run.steps, run.device, average.material) == (150, "device 0.0 or device 3.0", None)
    text = markdown.render(both.document())
    assert "11.50" in text
    assert "What training took" not in text, "an average has no epochs"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "dddd" in line]
    assert rows == [["one", "1", "2", "3", "dddddddddddddddd…"], ["two", "31", "2", "3", "dddddddddddddddd…"]]
    assert not Across({"one": measured(one, 0.0), "two": measured(two, 3.0, ensembles=False)}).average.ensembles


def test_seeds_that_were_added_on_one_task_are_remembered_in_any_order(tmp_path: Path) -> None:
    looked = replace(of(0.5), design=Design(rule="anytime"))
    for reports in ({"one": of(0.0), "two": looked}, {"two": looked, "one": of(0.0)}):
        assert Across(reports).average.design.rule == "anytime"
    other = replace(of(0.5), design=Design(margins={"PER": 0.1}))
    with pytest.raises(ConfigError, match="one and two must have the same margins, pairs and groups, but have"):
        Across({"one": of(0.0), "two": other})
    Across({"one": of(0.0), "two": replace(of(0.5), design=Design(margins={"PER": MARGIN}))})  # the default

    def seeds(report: Report, count: int) -> Report:
        results = {arm: runs[:count] for arm, runs in report.results.items()}
        return replace(report, results=results, seeds=report.seeds[:count])

    for count in (3, 5, 5):
        Across({"one": seeds(of(0.0), count), "two": seeds(of(0.5), count)}).write(tmp_path)
        rule = Across.read(tmp_path, Trial).average.design.rule
        assert rule == ("fixed" if count == 3 else "anytime")


def test_no_task_is_called_as_the_average_and_published_averages_are_ours() -> None:
    with pytest.raises(ConfigError, match="a task cannot be called 'macro-average'"):
        Across({"one": of(0.0), "macro-average": of(0.5)})
    numbers: Any = {"one": np.float32(1.5), "two": np.int64(2), "macro-average": 7.0}
    text = markdown.render(Across({"one": of(0.0), "two": of(0.5)}, {"paper": {"WER": numbers}}).document())
    (row,) = [line for line in text.splitlines() if line.startswith("| macro-average") and line.count("|") == 5]
    assert row.rstrip(" |").endswith("1.75")
    for wrong in (True, "3", float("nan")):
        with pytest.raises(ConfigError, match="published scores must be numbers by system"):
            Across({"one": of(0.0)}, {"paper": {"WER": {"one": wrong}}})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="the name of a published system"):
        Across({"one": of(0.0)}, {"": {"WER": {"one": 1.0}}})


def test_published_numbers_of_numpy_are_written(tmp_path: Path) -> None:
    single: Any = np.float32(1.5)
    Across({"one": of(0.0)}, {"paper": {"WER": {"one": single}}}).write(tmp_path)
    assert Across.read(tmp_path, Trial).published == {"paper": {"WER": {"one": 1.5}}}


def test_settings_of_one_task_alone_are_said_to_be_so(across: Across) -> None:
    said = "Arms have settings of their own for each task; those shown are of one."
    assert said not in markdown.render(across.document())
    other = across.reports["two"]
    tuned = dict.fromkeys(other.arms, Trial(method=Method(temperature=0.7)))
    two = Across({"one": across.reports["one"], "two": replace(other, arms=tuned)})
    assert said in markdown.render(two.document())


def test_reading_back_gives_the_same_report(across: Across, tmp_path: Path) -> None:
    across.write(tmp_path)
    again = Across.read(tmp_path / "results.json", Trial)
    assert again.reports.keys() == across.reports.keys()
    assert again.published == across.published
    assert markdown.render(again.document()) == (tmp_path / "report.md").read_text(encoding="utf-8")


def test_all_runs_are_aggregated_as_in_rliable(across: Across, tmp_path: Path) -> None:
    found = across.aggregates(PER)
    every = np.sort([rate + shift**2 for shift in (0.0, 0.5, 1.0) for rate in RML])
    assert found["RML"]["score"].value == pytest.approx(every[3:12].mean())  # 15 runs: a quarter is 3 of each end
    assert found["RML"]["improvement"].value == pytest.approx(np.mean(_beats(across)))
    assert "difference" not in found["ML"]
    for number in (number for numbers in found.values() for number in numbers.values()):
        assert number.low <= number.value <= number.high
    across.write(tmp_path)
    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["aggregates"]["PER"]["RML"]["difference"]
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"{kept['value']:+.2f} ({kept['low']:+.2f} to {kept['high']:+.2f})" in text
    assert "they hold for these tasks." in text
    assert "Performance profile" in (tmp_path / "report.html").read_text(encoding="utf-8")


def _beats(across: Across) -> list[float]:
    """Whether each run of RML has fewer errors than each of ML on the same task, by hand."""
    tests = {
        arm: [[run.scores["test"]["PER"] for run in report.results[arm]] for report in across.reports.values()]
        for arm in ("RML", "ML")
    }
    pairs = zip(tests["RML"], tests["ML"], strict=True)
    return [float(one < other) + (one == other) / 2 for ones, others in pairs for one in ones for other in others]


def test_one_seed_has_no_aggregates() -> None:
    assert Across({"one": a_report(METRICS, ML=ML[:1], RML=RML[:1])}).aggregates(PER) == {}


@pytest.mark.parametrize(
    ("reports", "published", "said"),
    [
        ([of(0.0)], {}, "the reports of Across must be Reports by the names of tasks"),
        ({"one": 3}, {}, "the reports of Across must be Reports by the names of tasks"),
        ({"a\nb": of(0.0)}, {}, "the name of a task must be one line of text"),
        ({"one": of(0.0)}, 3, "published scores must be numbers by system, metric and task"),
        ({"one": of(0.0)}, {"theirs": {"PER": 3}}, "published scores must be numbers by system, metric and task"),
        ({"one": of(0.0)}, {"theirs": {"PER": {"one": "3"}}}, "published scores must be numbers by system, metric"),
        ({"one": of(0.0)}, {"theirs": {"PER": {"one": float("nan")}}}, "published scores must be numbers by system"),
        ({"one": of(0.0)}, {"ML": {"PER": {"one": 3.0}}}, "published scores are of other systems, but 'ML' is an arm"),
    ],
)
def test_what_is_no_report_and_no_score_is_refused(reports: Any, published: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Across(reports, published)
