"""The report: its numbers, what it claims, and the files it leaves."""

import base64
import hashlib
import json
import math
import re
import zlib
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from structpred.comparison.design import Design
from structpred.comparison.report import Report
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.metrics import SymbolErrorRate, WordErrorRate
from structpred.models import LSTMTagger
from structpred.objectives import LabelSmoothing, MaximumLikelihood
from structpred.report import html, markdown
from structpred.statistics import CrossedTest, ExamplesTest
from structpred.tasks import LetterTagging
from structpred.text import plain
from tests.support.reports import METRICS, ML, NEAR, RML, Trial, a_report

ALL_PAIRS = Design(pairs="all")
GROUPS = Design(groups={"CRF": ("chain",)})
HOSTILE = 'a <b>&"|_x_*$\\frac$ [red] 漢字\n# new\x00\x1b[31m\u202e'


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


def test_the_table_of_differences_has_only_what_arms_that_have_it_set_differently() -> None:
    tagging = Experiment(task=LetterTagging(), model=LSTMTagger(), objective=MaximumLikelihood())
    smooth = {f"ε {value}": replace(tagging, objective=LabelSmoothing(epsilon=value)) for value in (0.1, 0.2)}
    begun = replace(tagging, start=tagging)

    def table(**arms: Experiment) -> str:
        report = replace(a_report(METRICS[:1], **dict.fromkeys(arms, ML)), arms=arms)
        return markdown.render(report.document()).partition("## What differs between the arms")[2].partition("##")[0]

    fields = [line.split(" ")[1] for line in table(ML=tagging, **smooth).splitlines() if line.startswith("|")]
    assert fields[2:] == ["objective", "objective.epsilon"], "not its prior, nor its mass, which are the same"
    assert "the line of each arm above names them" in table(ML=tagging, **{"ML twice": begun})


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
    assert json.loads(zlib.decompress(base64.b64decode(data)))["arms"] == [plain(arm) for arm in CASES[case].arms]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in page
    arms = len(CASES[case].arms)
    figures = 2 + (arms > 1) + (arms > 3)  # arms differ in their temperature, which the first has not
    assert len(root.findall(".//svg")) == len(CASES[case].metrics) * figures
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
        "The dev scores chose the checkpoint; the test set was scored once",
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
    assert "All runs were trained with version 1 of Trainer." in markdown.render(report.document())
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
    assert "taken to have been fixed before the first result was seen, so the verdict on a difference rests on" in fixed
    assert "a two-sided paired t test over the seeds (4 degrees of freedom)" in fixed
    assert "At Holm's strictest level, 0.025, a verdict takes at least 3 seeds:" in fixed
    assert "Seeds were added after a look, so the verdict rests on an anytime-valid t test" in after
    assert "At Holm's strictest level, 0.025, a verdict takes at least 4 seeds:" in after
    assert CASES["after looks"].conclusion()[-1].startswith("Seeds were added after results had been seen")
    p_values = [CASES[case].tests()["RML", "ML"].p or 0 for case in ("three arms", "after looks")]
    assert p_values[0] < p_values[1]
    assert "anytime p (Holm)" in after


ANY: Any = Design()
"""So that mypy lets the mistakes pass."""


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
        (replace(ANY, margins={"PER": "1"}), "the margin of PER must be a number above 0, but got '1'"),
        (replace(ANY, margins=0.3), "Design.margins must be a dictionary, but got 0.3"),
        (replace(ANY, groups=["ML"]), "Design.groups must be a dictionary, but got ['ML']"),
        (replace(ANY, groups={"ML": "RML"}), "Design.groups['ML'] must be the names of arms in a tuple, but got 'RML'"),
        (replace(ANY, rule="any time"), "Design.rule must be one of 'fixed', 'anytime', but got 'any time'"),
        (replace(ANY, pairs="every"), "Design.pairs must be one of 'baseline', 'all', but got 'every'"),
    ],
)
def test_a_design_that_does_not_fit_is_refused(report: Report, design: Design, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        replace(report, design=design)


def test_tests_over_examples_are_labelled_for_what_they_hold() -> None:
    text = markdown.render(CASES["over examples"].document()).partition("## Over the test examples, PER")[2]
    assert "| RML − ML | -0.92 | -1.40 to +0.10 | 0.0400 |" in re.sub(" +", " ", text)
    assert "(the 5 models of each arm, averaged) and holds for new examples like these 1,000" in text
    assert "Neither says anything about other seeds" in text
    assert "Over the test examples" not in markdown.render(CASES["three arms"].document())


def test_the_crossed_model_says_what_it_covers_and_where_its_variance_comes_from() -> None:
    text = markdown.render(CASES["over examples"].document()).partition("## Over seeds and test examples, PER")[2]
    assert "| RML − ML | -0.92 | -1.60 to -0.24 | 0.0210 | 30 % | 60 % | 10 % |" in re.sub(" +", " ", text)
    assert "a crossed model treats the 5 seeds and the test examples as samples" in text
    assert "The verdict is the one over seeds alone." in text
    assert "Over seeds and test examples" not in markdown.render(CASES["three arms"].document())
