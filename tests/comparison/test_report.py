"""The report: its numbers, what it claims, and the files it leaves."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from structpred.comparison import analysis, record
from structpred.comparison.design import Design
from structpred.comparison.report import Report
from structpred.errors import ConfigError, RunError
from structpred.metrics import SymbolErrorRate, WordErrorRate
from structpred.report import html, markdown
from structpred.statistics import CrossedTest, ExamplesTest, seeds_for_equivalence
from structpred.text import plain
from tests.support.reports import METRICS, ML, NEAR, RML, Trial, a_report

ALL_PAIRS = Design(pairs="all")
GROUPS = Design(groups={"CRF": ("chain",)})
DATA = {"ML": ML, "smoothing": NEAR, "RML": RML}
HOSTILE = 'a <b>&"|_x_*$\\frac$ [red] 漢字\n# new\x00\x1b[31m\u202e'


@pytest.fixture
def report() -> Report:
    return a_report(METRICS, ML=ML, smoothing=NEAR, RML=RML)


def test_table_by_scipy(report: Report) -> None:
    baseline, near, better = report.table()
    assert (baseline.arm, baseline.contrast, baseline.verdict) == ("ML", None, "baseline")
    assert baseline.test.mean == pytest.approx(12.2)
    assert baseline.dev.mean == pytest.approx(11.95)
    p_near, p_better = stats.ttest_rel(NEAR, ML).pvalue, stats.ttest_rel(RML, ML).pvalue
    assert near.contrast is not None
    assert better.contrast is not None
    assert (near.contrast.p, better.contrast.p) == pytest.approx((p_near, p_better))
    assert (near.contrast.corrected_p, better.contrast.corrected_p) == pytest.approx((p_near, 2 * p_better))
    assert (near.verdict, better.verdict) == ("within ±0.5", "better")
    assert (near.contrast.verdict, near.reference, baseline.reference) == ("equivalent", "ML", None)


def test_direction_follows_the_metric() -> None:
    scores = {"ML": np.array(ML), "RML": np.array(RML)}
    pair = ("RML", "ML")
    assert analysis.contrasts(scores, [pair], higher_is_better=False)[pair].verdict == "better"
    assert analysis.contrasts(scores, [pair], higher_is_better=True)[pair].verdict == "worse"


def test_costs_are_relative_to_the_baseline(report: Report) -> None:
    slow = tuple(replace(run, seconds=50.0, cpu_seconds=30.0) for run in report.results["RML"])
    row = replace(report, results={**report.results, "RML": slow}).table()[2]
    assert (row.seconds, row.cpu_seconds) == (50.0, 30.0)
    assert (row.relative_seconds, row.relative_cpu_seconds) == (2.5, 0.75)


def test_differences_leave_out_what_is_equal_and_the_seed(report: Report) -> None:
    arms = {name: replace(arm, seed=i) for i, (name, arm) in enumerate(report.arms.items()) if isinstance(arm, Trial)}
    assert replace(report, arms=arms).differences() == {
        "method.temperature": {"ML": "-", "smoothing": "0.1", "RML": "0.2"}
    }


def test_conclusion_names_what_differs_and_what_does_not(report: Report) -> None:
    headline, near, better = report.conclusion()
    assert headline == "On test PER, at the 5 % level, RML is better than ML; smoothing is within ±0.5 of ML."
    assert near.startswith(
        "smoothing is within ±0.5 of ML: PER 12.16 against 12.20, difference -0.04 ± 0.24, p = 0.6702, p = 0.00"
    )
    assert near.endswith(" for equivalence.")
    assert better.startswith("RML is better than ML: PER 11.28 against 12.20, difference -0.92 ± ")
    assert better.endswith(f"p = {2 * stats.ttest_rel(RML, ML).pvalue:.4f}.")


def test_a_difference_that_is_shown_may_be_within_the_margin(report: Report) -> None:
    wide = replace(report, design=Design(margins={"PER": 2.0}))
    assert wide.table()[2].verdict == "better"
    assert "It is within ±2 all the same (p " in wide.conclusion()[2]


def test_what_is_undecided_says_what_it_would_take(report: Report) -> None:
    narrow = replace(report, design=Design(margins={"PER": 0.1}))
    headline, near, _ = narrow.conclusion()
    assert headline == "On test PER, at the 5 % level, RML is better than ML; smoothing is undecided."
    contrast = narrow.table()[1].contrast
    assert contrast is not None
    assert (contrast.verdict, contrast.decided) == ("undecided", False)
    by_equivalence = seeds_for_equivalence(contrast.difference.mean, 0.195, 0.1, level=0.025, rule="anytime")
    assert contrast.seeds_to_decide == pytest.approx(by_equivalence, abs=2)
    assert near.startswith("smoothing and ML: undecided (PER 12.16 against 12.20, difference -0.04 ± 0.24, p = 0.6702)")
    assert f" {(contrast.seeds_to_decide or 0) - 5} more seeds would decide four times in five" in near
    assert near.endswith(f"the present 5 show a difference of {contrast.detectable:.2f} or more as often.")


def test_worse_is_said_too() -> None:
    report = a_report(RML=RML, ML=ML)
    assert report.conclusion()[0] == "On test PER, at the 5 % level, ML is worse than RML."


def test_what_is_not_significant_is_not_called_equal() -> None:
    narrow = replace(a_report(ML=ML, smoothing=NEAR), design=Design(margins={"PER": 0.1}))
    assert narrow.conclusion()[0] == (
        "On test PER, at the 5 % level, nothing is decided between ML and smoothing: neither a difference nor "
        "equivalence is shown."
    )


def test_one_seed_supports_no_claim() -> None:
    report = a_report(ML=ML[:1], RML=RML[:1])
    expected = "One seed supports no claim about an objective; run at least 2, better 5."
    assert report.conclusion() == (expected,)
    assert report.table()[1].verdict == "one seed: no claim"
    assert " ± " not in "".join(str(row.test) for row in report.table())


def test_one_arm_compares_nothing() -> None:
    (sentence,) = a_report(ML=ML).conclusion()
    assert sentence.startswith("Only one arm was run, so there is nothing to compare: ML has PER 12.20 ± 0.4")


def test_identical_results_are_called_so() -> None:
    report = a_report(ML=ML, again=ML)
    assert report.table()[1].verdict == "same in every seed"
    assert "again scores the same as ML in every seed" in report.conclusion()[1]


def test_skipped_steps_are_in_the_table_of_runs_and_in_the_conclusion(report: Report) -> None:
    assert not any("left out" in sentence for sentence in report.conclusion())
    first, second, *others = report.results["smoothing"]
    runs = (replace(first, skipped=1100), replace(second, skipped=3), *others)
    skipping = replace(report, results={**report.results, "smoothing": runs})
    assert skipping.conclusion()[:-1] == report.conclusion()
    assert skipping.conclusion()[-1] == (
        "smoothing left out 1,103 of its 6,000 steps, whose loss or gradient was not finite (1,100 of 1,200 under "
        "seed 0 and 3 of 1,200 under seed 1); what is said of it rests on the steps that it took."
    )
    text = markdown.render(skipping.document())
    header, _, *rows = [[c.strip() for c in line.split("|")] for line in text.partition("## Runs")[2].splitlines()[2:]]
    column = header.index("skipped")
    assert {row[1]: row[column] for row in rows if row[2:3] == ["0"]} == {"ML": "0", "smoothing": "1,100", "RML": "0"}


@pytest.mark.parametrize("rates", [{"nan": ML}, {"ML": ML[:1], "nan": ML[:1]}, {"ML": ML, "nan": ML}])
def test_skipped_steps_are_told_of_one_arm_of_one_seed_and_of_equal_arms(rates: dict[str, Sequence[float]]) -> None:
    whole = a_report(**rates)
    results = {arm: tuple(replace(run, skipped=7) for run in whole.results[arm]) for arm in ["nan"]}
    said = replace(whole, results={**whole.results, **results}).conclusion()
    assert said[-1].startswith(f"nan left out {7 * len(whole.seeds)} of its ")


def test_a_constant_difference_says_what_would_show_it() -> None:
    two = a_report(ML=ML[:2], RML=[rate - 1 for rate in ML[:2]])
    assert two.table()[1].verdict == "undecided"
    assert (
        "The difference is the same in every seed; if that went on, 4 more seeds would decide." in two.conclusion()[1]
    )
    six = a_report(ML=[*ML, 12.0], RML=[rate - 1 for rate in [*ML, 12.0]])
    assert "sign flips" in six.conclusion()[1]
    assert six.table()[1].verdict == "better"


@pytest.fixture
def no_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the number of seeds that would decide, which says nothing of a verdict and takes most of its time."""
    monkeypatch.setattr(analysis, "_seeds_to_decide", lambda test, margin, level: None)


@pytest.mark.slow
@pytest.mark.parametrize(("arms", "tolerance"), [(1, 0.012), (3, 0.012)])
def test_false_alarms_stay_near_the_level(arms: int, tolerance: float, no_plans: None) -> None:
    """Under the null, a family of arms holds any claim in 5 % of comparisons, or fewer where Holm is conservative.

    2,000 comparisons: 2.4 standard errors of a share of 5 % are 0.012.
    """
    generator, alarms, repetitions = np.random.default_rng(1), 0, 2000
    for _ in range(repetitions):
        shared = generator.normal(12, 1, 5)  # a seed moves all its arms, as weights and data order do
        scores = {f"arm {i}": shared + generator.normal(0, 0.3, 5) for i in range(arms + 1)}
        pairs = [(f"arm {i + 1}", "arm 0") for i in range(arms)]
        contrasts = analysis.contrasts(scores, pairs, higher_is_better=False)
        alarms += any(contrast.verdict in ("better", "worse") for contrast in contrasts.values())
    share = alarms / repetitions
    assert share <= 0.05 + tolerance
    assert share >= (0.05 if arms == 1 else 0.025) - tolerance


def test_real_differences_are_found_as_often_as_promised(no_plans: None) -> None:
    generator, found = np.random.default_rng(2), 0
    difference = 1.6836 * 0.3 * math.sqrt(2)  # what 5 pairs detect with 80 % power, by G*Power: d_z = 1.6836
    for _ in range(1000):
        scores = {"ML": generator.normal(12, 0.3, 5), "RML": generator.normal(12 - difference, 0.3, 5)}
        contrasts = analysis.contrasts(scores, [("RML", "ML")], higher_is_better=False)
        found += contrasts["RML", "ML"].verdict == "better"
    assert found / 1000 == pytest.approx(0.8, abs=0.035)


CASES = {
    "three arms": a_report(METRICS, ML=ML, smoothing=NEAR, RML=RML),
    "one seed": a_report(ML=ML[:1], RML=RML[:1]),
    "one arm": a_report(ML=ML),
    "three seeds": a_report(ML=ML[:3], RML=RML[:3]),
    "after looks": replace(a_report(METRICS, ML=ML, smoothing=NEAR, RML=RML), design=Design(rule="anytime")),
    "all pairs": replace(a_report(METRICS, ML=ML, smoothing=NEAR, RML=RML), design=ALL_PAIRS),
    "groups": replace(a_report(ML=ML, smoothing=NEAR, CRF=RML, chain=NEAR), design=GROUPS),
    "over examples": replace(
        a_report(METRICS, ML=ML, RML=RML),
        over_examples={
            ("RML", "ML"): ExamplesTest(difference=-0.92, low=-1.4, high=0.1, p=0.04, examples=1000, models=5)
        },
        crossed={("RML", "ML"): CrossedTest(-0.92, -1.6, -0.24, 0.021, of_seeds=0.03, of_examples=0.06, of_both=0.01)},
    ),
    "identical": a_report(ML=ML, again=ML),
    "constant": a_report(ML=ML, RML=[rate - 1 for rate in ML]),
    "perfect": a_report(ML=[0.0] * 5, RML=[0.0] * 5),
    "hostile": a_report(**{HOSTILE: ML, "]]> <!-- ${title}": RML}),
    "many arms": a_report(**{f"an arm with quite a long name, number {i}": ML for i in range(12)}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every case, written once."""
    place = tmp_path_factory.mktemp("reports")
    for case, report in CASES.items():
        report.write(place / "new" / case)
    return {case: place / "new" / case for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_files_are_whole_and_free_of_nan(case: str, folders: dict[str, Path]) -> None:
    paths = sorted(folders[case].iterdir())
    assert [path.name for path in paths] == ["report.csv", "report.html", "report.md", "results.json"]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\b(nan|NaN|inf|Infinity|None)\b", text)
        assert str(folders[case]) not in text


@pytest.mark.parametrize("case", CASES)
def test_html_is_well_formed_and_self_contained(case: str, folders: dict[str, Path]) -> None:
    page = (folders[case] / "report.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert not re.search(r"<(link|img|iframe|script src)|@import|url\((?!#)|\bfetch\b|innerHTML|\beval\b", page)
    root = ElementTree.fromstring(page.replace("<!DOCTYPE html>", ""))
    data, _ = (element.text or "" for element in root.iter("script"))
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    assert not set("<>&") & set(data)
    assert json.loads(data)["arms"] == [plain(arm) for arm in CASES[case].arms]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in page
    assert len(root.findall(".//svg")) == len(CASES[case].metrics) * (3 if len(CASES[case].arms) > 1 else 2)
    identifiers = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(set(identifiers)) == len(identifiers)


def test_names_are_escaped(folders: dict[str, Path]) -> None:
    page = (folders["hostile"] / "report.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "a &lt;b&gt;&amp;&#34;|_x_*$\\frac$ [red] 漢字" in page
    text = (folders["hostile"] / "report.md").read_text(encoding="utf-8")
    assert 'a \\<b>&"\\|\\_x\\_\\*$\\\\frac$ \\[red\\] 漢字 # new' in text
    assert not re.search("^# new", text, re.MULTILINE)
    for rendered in (page, text):
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", rendered), "a control character"
        assert r"x1b" in rendered


def test_markdown_tables_keep_their_columns(folders: dict[str, Path]) -> None:
    lines = (folders["hostile"] / "report.md").read_text(encoding="utf-8").splitlines()
    widths: dict[str, set[int]] = {}
    heading = ""
    for line in lines:
        heading = line if line.startswith("## ") else heading
        if line.startswith("|"):
            widths.setdefault(heading, set()).add(len(re.findall(r"(?<!\\)\|", line)))
    assert len(widths) == 3
    assert all(len(found) == 1 for found in widths.values())


def test_markdown_has_the_numbers_and_the_method(report: Report) -> None:
    text = markdown.render(report.document())
    row = next(line for line in text.splitlines() if line.startswith("| RML"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "RML"
    assert cells[1:4] == ["11.03 ± 0.34", "11.28 ± 0.34", "-0.92 ± 0.16"]
    assert cells[5:] == ["better", "20.0 (×1.00)", "40.0 (×1.00)"]
    for promise in (
        "The unit of every test is the run (the seed)",
        "paired by seed",
        "Holm-corrected over the 2 pairs of arms",
        "The dev scores chose the checkpoint; test was scored once",
        SymbolErrorRate().signature,
        WordErrorRate().signature,
        "PyTorch uses",
    ):
        assert promise in text


def test_runs_scored_in_different_ways_are_pointed_out(report: Report) -> None:
    warning = "the runs were scored in different ways"
    assert warning not in markdown.render(report.document())
    older = tuple(replace(run, signatures={**run.signatures, "PER": "PER|other"}) for run in report.results["RML"])
    mixed = replace(report, results={**report.results, "RML": older})
    assert warning in markdown.render(mixed.document())


def test_the_version_of_the_trainer_is_named_and_a_mixture_is_pointed_out(report: Report, tmp_path: Path) -> None:
    assert "All runs were trained by version 1 of Trainer." in markdown.render(report.document())
    newer = tuple(replace(run, trainer=2) for run in report.results["RML"])
    mixed = replace(report, results={**report.results, "RML": newer})
    mixed.write(tmp_path)
    again = Report.read(tmp_path / "results.json", Trial, METRICS)
    assert "different versions of Trainer (1 and 2) and cannot be compared" in markdown.render(again.document())


@pytest.mark.parametrize("name", ["results.json", "report.md", "report.html"])
@pytest.mark.parametrize("content", ["my own notes\n", "{}", "[1, 2]", '{"format": 1}'])
def test_a_file_of_a_users_own_is_never_written_over(report: Report, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"{name} is not from a report of structpred and would be overwritten; move"):
        report.write(tmp_path)
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [(name, content)]


def test_a_report_replaces_an_earlier_one(report: Report, tmp_path: Path) -> None:
    written = report.write(tmp_path)
    (tmp_path / "report.md").write_text("an older one\n", encoding="utf-8")
    assert report.write(tmp_path) == written
    assert (tmp_path / "report.md").read_text(encoding="utf-8") != "an older one\n"


@pytest.mark.parametrize("case", CASES)
def test_reading_back_gives_the_same_report(case: str, folders: dict[str, Path]) -> None:
    report = CASES[case]
    again = Report.read(folders[case] / "results.json", Trial, report.metrics)
    assert again == report
    assert [again.table(metric) for metric in report.metrics] == [report.table(metric) for metric in report.metrics]
    assert markdown.render(again.document()) == (folders[case] / "report.md").read_text(encoding="utf-8")


def test_drawings_are_the_same_each_time(folders: dict[str, Path]) -> None:
    assert html.render(CASES["one arm"].document()) == (folders["one arm"] / "report.html").read_text(encoding="utf-8")


def test_results_file_has_the_tests_and_what_made_them(report: Report) -> None:
    tree = json.loads(record.encode(report))
    contrast = report.table()[2].contrast
    assert contrast is not None
    assert tree["tests"]["PER"]["RML"]["corrected_p"] == contrast.corrected_p
    assert tree["arms"]["RML"]["method"] == {"temperature": 0.2}
    assert tree["runs"]["RML"][1]["scores"]["test"]["PER"] == RML[1]
    assert tree["environment"]["packages"]["numpy"] == np.__version__


def test_a_diverged_loss_is_kept_as_nothing(report: Report, tmp_path: Path) -> None:
    first = report.results["RML"][0]
    diverged = replace(first, history=(replace(first.history[0], loss=math.nan, diagnostics={"reward": math.inf}),))
    runs = (diverged, *report.results["RML"][1:])
    text = record.encode(replace(report, results={**report.results, "RML": runs}))
    (tmp_path / "results.json").write_text(text, encoding="utf-8")
    again = Report.read(tmp_path / "results.json", Trial, METRICS)
    assert math.isnan(again.results["RML"][0].history[0].loss)
    assert again.table() == report.table()


def test_reading_what_is_no_report_is_refused(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    with pytest.raises(RunError, match=r"results.json: there is no such file; name a results.json, or the folder"):
        Report.read(file, Trial, METRICS)
    file.write_text('{"format": 1')
    with pytest.raises(RunError, match="cannot be read as a report"):
        Report.read(file, Trial, METRICS)
    file.write_text('{"format": 99}')
    with pytest.raises(RunError, match=r"expected a results\.json of format 1"):
        Report.read(file, Trial, METRICS)
    (tmp_path / "results.json").write_text(record.encode(report), encoding="utf-8")
    with pytest.raises(RunError, match=r"expected the metrics \['PER'\]"):
        Report.read(file, Trial, METRICS[:1])


def test_a_report_refuses_what_does_not_fit(report: Report) -> None:
    with pytest.raises(ConfigError, match="baseline must be one of the arms, but got 'MLL'"):
        replace(report, baseline="MLL")
    with pytest.raises(ConfigError, match="at least one seed, each once"):
        replace(report, seeds=(0, 1, 2, 3, 3))
    with pytest.raises(ConfigError, match="at least one metric"):
        replace(report, metrics=())
    with pytest.raises(RunError, match="expected results for the arms"):
        replace(report, results={"ML": report.results["ML"]})
    with pytest.raises(RunError, match="RML: expected one run for each of 5 seeds, but got 4"):
        replace(report, results={**report.results, "RML": report.results["RML"][:4]})
    broken = replace(report.results["RML"][0], scores={"dev": {"PER": 1.0, "WER": 1.0}, "test": {"PER": math.nan}})
    with pytest.raises(RunError, match="RML, seed 0: expected a finite test PER, but got nan"):
        replace(report, results={**report.results, "RML": (broken, *report.results["RML"][1:])})


def test_show_on_a_terminal_keeps_brackets_and_draws_tables() -> None:
    stream = StringIO()
    CASES["hostile"].show(Console(file=stream, force_terminal=True, width=240, color_system=None))
    assert "[red]" in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()
    assert "\n## " not in stream.getvalue()


def test_show_in_a_pipe_is_the_markdown_file(folders: dict[str, Path]) -> None:
    stream = StringIO()
    CASES["hostile"].show(Console(file=stream, width=40))
    assert stream.getvalue() == (folders["hostile"] / "report.md").read_text(encoding="utf-8")


def test_two_and_three_seeds_show_their_range() -> None:
    _, row = a_report(ML=ML[:3], RML=RML[:3]).table()
    assert (str(row.test), str(row.contrast and row.contrast.difference.signed)) == (
        "11.27 (11.00 to 11.70)",
        "-0.90 (-1.00 to -0.80)",
    )
    text = markdown.render(CASES["three seeds"].document())
    assert "the lowest and the highest value" in text
    assert "±" not in text.partition("## PER")[2].partition("## What differs")[0]


def test_a_report_says_which_test_carries_the_verdict(tmp_path: Path) -> None:
    fixed, after = (markdown.render(CASES[case].document()) for case in ("three arms", "after looks"))
    assert "taken to be fixed before the first result was seen, so a two-sided paired t test over the seeds (4" in fixed
    assert "A verdict takes 3 seeds at least at Holm's strictest level, 0.025:" in fixed
    assert "Seeds were added after a look, so an anytime-valid t test carries the verdict" in after
    assert "A verdict takes 4 seeds at least at Holm's strictest level, 0.025:" in after
    assert CASES["after looks"].conclusion()[-1].startswith("Seeds were added after results had been seen")
    p_values = [CASES[case].tests()["RML", "ML"].p or 0 for case in ("three arms", "after looks")]
    assert p_values[0] < p_values[1]
    assert "anytime p (Holm)" in after


def test_an_older_record_is_of_a_fixed_number_of_seeds(report: Report, tmp_path: Path) -> None:
    tree = json.loads(record.encode(report))
    del tree["design"]
    (tmp_path / "results.json").write_text(json.dumps(tree), encoding="utf-8")
    assert Report.read(tmp_path / "results.json", Trial, METRICS) == report


def test_all_pairs_are_one_family_with_a_matrix_and_ranks() -> None:
    report = CASES["all pairs"]
    tests = report.tests()
    assert list(tests) == [("smoothing", "ML"), ("RML", "ML"), ("RML", "smoothing")]
    p_values = {(one, other): stats.ttest_rel(DATA[one], DATA[other]).pvalue for one, other in tests}
    smallest = min(p_values, key=lambda pair: p_values[pair])
    assert tests[smallest].corrected_p == pytest.approx(3 * p_values[smallest])
    assert "Of the other pairs, RML is better than smoothing." in report.conclusion()
    matrix = markdown.render(report.document()).partition("## All pairs on PER")[2].partition("## ")[0].splitlines()
    rows = {row[1]: row[2:-1] for row in ([cell.strip() for cell in line.split("|")] for line in matrix) if row[2:]}
    assert rows["RML"] == ["1.00", "-0.92\\*", "-0.88\\*", ""]
    assert rows["ML"] == ["2.40", "", "+0.04≈", "+0.92\\*"]
    assert json.loads(record.encode(report))["pairs"]["PER"][2]["reference"] == "smoothing"


def test_other_pairs_that_are_equal_or_open_are_said_to_be_so() -> None:
    report = replace(a_report(ML=ML, RML=RML, again=RML, NEAR=NEAR), design=Design(pairs="all", margins={"PER": 0.01}))
    (said,) = (sentence for sentence in report.conclusion() if sentence.startswith("Of the other pairs"))
    assert said == (
        "Of the other pairs, NEAR is worse than RML; NEAR is worse than again; again scores as RML in every seed."
    )
    unclear = replace(a_report(A=ML, B=NEAR, C=[12.2, 12.3, 12.1, 11.8, 12.5]), design=report.design)
    assert "Of the other pairs, none is decided." in unclear.conclusion()


def test_groups_have_baselines_of_their_own_in_one_family() -> None:
    report = CASES["groups"]
    assert [(row.arm, row.reference) for row in report.table()] == [
        ("ML", None), ("smoothing", "ML"), ("CRF", None), ("chain", "CRF"),
    ]  # fmt: skip
    worse = report.tests()["chain", "CRF"]
    assert worse.verdict == "worse"
    assert worse.corrected_p == pytest.approx(2 * stats.ttest_rel(NEAR, RML).pvalue)
    assert report.conclusion()[0] == (
        "On test PER, at the 5 % level, chain is worse than CRF; smoothing is within ±0.5 of ML."
    )


@pytest.mark.parametrize(
    ("design", "message"),
    [
        (Design(margins={"BLEU": 1.0}), "a margin is of one of the metrics, but got 'BLEU'"),
        (Design(margins={"PER": 0.0}), "the margin of PER must be a number above 0, but got 0.0"),
        (Design(margins={"PER": math.inf}), "the margin of PER must be a number above 0, but got inf"),
        (Design(groups={"ML": ("RLM",)}), "groups are of arms of the comparison, but got 'RLM'"),
        (Design(groups={"smoothing": ("ML",)}), "'ML' has several, or is one itself"),
        (Design(groups={"ML": ("RML",), "smoothing": ("RML",)}), "'RML' has several"),
        (Design(pairs="all", groups={"ML": ("RML",)}), "all pairs are compared without groups"),
    ],
)
def test_a_design_that_does_not_fit_is_refused(report: Report, design: Design, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        replace(report, design=design)


def test_tests_over_examples_are_labelled_for_what_they_hold() -> None:
    text = markdown.render(CASES["over examples"].document()).partition("## Over the test examples, PER")[2]
    assert "| RML − ML | -0.92 | -1.40 to +0.10 | 0.0400 |" in re.sub(" +", " ", text)
    assert "Of these 5 models an arm, averaged, on other examples like these 1,000" in text
    assert "Neither says anything of other seeds" in text
    assert "Over the test examples" not in markdown.render(CASES["three arms"].document())


def test_the_crossed_model_says_what_it_covers_and_where_its_variance_comes_from() -> None:
    text = markdown.render(CASES["over examples"].document()).partition("## Over seeds and test examples, PER")[2]
    assert "| RML − ML | -0.92 | -1.60 to -0.24 | 0.0210 | 30 % | 60 % | 10 % |" in re.sub(" +", " ", text)
    assert "a crossed model of 5 seeds and the test examples, of which both are samples" in text
    assert "the verdict is that over seeds" in text
    assert "Over seeds and test examples" not in markdown.render(CASES["three arms"].document())
