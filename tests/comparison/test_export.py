"""Results to take away: rows, CSV, LaTeX, figures and what notebooks show."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from structpred.comparison.design import Design
from structpred.comparison.findings import KeptArm, leaves_of, tree_of
from structpred.comparison.panels import PanelsReport
from structpred.comparison.report import Report
from structpred.config import encode, leaves
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.experiments import five_objectives, pronunciation
from structpred.metrics import SymbolErrorRate, WordErrorRate
from structpred.report.files import CSV_COLUMNS
from structpred.report.latex import escaped
from structpred.text import plain
from tests.support.reports import METRICS, ML, NEAR, RML, Trial, a_report

HOSTILE = 'a <b>&"|_x_*$\\frac$ [red] {x}^~#50 % 漢字\n# new\x00\x1b[31m\u202e'


@pytest.fixture
def report() -> Report:
    return a_report(METRICS, ML=ML, smoothing=NEAR, RML=RML)


@pytest.fixture
def hostile() -> Report:
    return a_report(METRICS, **{HOSTILE: ML, "=1+1": RML})


def test_rows_hold_every_score_with_its_run(report: Report) -> None:
    rows = report.rows()
    assert len(rows) == 3 * 5 * 2 * 2
    assert all(tuple(row) == CSV_COLUMNS for row in rows)
    found = {(row["arm"], row["seed"], row["split"], row["metric"]): row for row in rows}
    assert len(found) == len(rows)
    for arm, runs in report.results.items():
        for seed, run in zip(report.seeds, runs, strict=True):
            row = found[arm, seed, "test", "WER"]
            assert (row["score"], row["identity"], row["higher_is_better"]) == (
                run.scores["test"]["WER"], run.identity, False,
            )  # fmt: skip


def test_a_frame_is_of_pandas_only_where_that_is_installed(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)  # as if it were not installed
    assert report.to_frame() == report.rows()

    class DataFrame:
        def __init__(self, rows: list[dict[str, Any]]) -> None:
            self.rows = rows

    pandas = types.ModuleType("pandas")
    pandas.DataFrame = DataFrame  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    frame = report.to_frame()
    assert isinstance(frame, DataFrame)
    assert frame.rows == report.rows()


def test_a_frame_of_pandas_itself(report: Report) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is optional")
    frame = report.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert tuple(frame.columns) == CSV_COLUMNS
    means = frame[(frame.split == "test") & (frame.metric == "PER")].groupby("arm").score.mean()
    assert means["ML"] == pytest.approx(sum(ML) / 5)
    again = pandas.read_csv(io.StringIO(report.to_csv()), dtype={"identity": str})
    pandas.testing.assert_frame_equal(again, frame)


def test_csv_has_all_digits_and_a_line_a_row(report: Report, hostile: Report, tmp_path: Path) -> None:
    report.write(tmp_path)
    text = (tmp_path / "report.csv").read_text(encoding="utf-8")
    assert text == report.to_csv()
    read = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["score"]) for row in read] == [row["score"] for row in report.rows()]
    assert [row["identity"] for row in read] == [row["identity"] for row in report.rows()]
    lines = hostile.to_csv().splitlines()
    assert len(lines) == 1 + len(hostile.rows())
    assert not set("\x00\x1b\u202e") & set(hostile.to_csv())
    assert {row["arm"] for row in csv.DictReader(lines)} == {plain(HOSTILE), "=1+1"}


SPELT = re.compile(
    r"\\textbackslash\{\}|\\text(asciitilde|asciicircum|less|greater|bar)\{\}|\{\\string\"\}|\{[\[\]*`]\}|\\[{}$&#%_]|-\{\}"
)


@pytest.mark.parametrize("text", [HOSTILE, *map(chr, range(32, 127)), "[b] after a row", "\\\\", "{}", "$x$"])
def test_nothing_special_to_tex_is_left(text: str) -> None:
    left = SPELT.sub("", escaped(text))
    assert not set(left) & set('\\{}$&#%_~^<>|"[]*'), left
    assert "\n" not in escaped(text)


AWKWARD = {
    'a_b % c & d $x$ #1 {y} \\z ~ ^ <u> |v| "w" [q] *': ML,
    "naïve Größe, é – “quoted” … τ = 0.9 → ≤ ∅ −1": NEAR,
    "\\\\[2pt] *": RML,
    "]]> <!-- ${title} --- ?` ``": ML,
    "$\u202eb\x07c\n d": NEAR,
}


@pytest.mark.skipif(not shutil.which("pdflatex") or not shutil.which("kpsewhich"), reason="pdfLaTeX is not installed")
def test_latex_compiles_whatever_arms_are_called(tmp_path: Path) -> None:
    if subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode:
        pytest.skip("the LaTeX package booktabs is not installed")
    table = a_report(METRICS, **AWKWARD).to_latex()
    assert "no font" not in table
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "table.tex").write_text(f"{head}\n{table}\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert run.returncode == 0, run.stdout
    assert "may have no font for" in a_report(METRICS, **{"日本語": ML}).to_latex()


def test_latex_marks_what_is_shown_and_what_is_within_the_margin(report: Report) -> None:
    lines = report.to_latex().splitlines()
    assert lines[0] == "% Written by structpred"
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert [line.partition(" & ")[0] for line in body] == ["ML", "smoothing", "RML"]
    assert r"\begin{tabular}{lrrrr}" in lines
    assert r"arm & PER $\downarrow$ & $\Delta$ & WER $\downarrow$ & $\Delta$ \\" in lines
    _, near, better = (line.removesuffix(r" \\").split(" & ") for line in body)
    assert near[2] == r"$-0.04 \pm 0.24^{\approx}$"
    assert better[1].startswith(r"$\mathbf{11.28} \pm ")
    assert re.fullmatch(r"\$-0\.92 \\pm \d\.\d\d\^\{\*\}\$", better[2])
    few = a_report(METRICS[:1], ML=ML[:2], RML=RML[:2]).to_latex()
    assert r"RML & $\mathbf{11.35}$ ($11.00$ to $11.70$) & $-0.95^{*}$ ($-1.00$ to $-0.90$) \\" in few
    assert r"\begin{tabular}{lr}" in a_report(METRICS[:1], ML=ML).to_latex()


@pytest.mark.parametrize("case", ["report", "hostile"])
def test_rows_of_latex_have_as_many_cells_as_columns(case: str, request: pytest.FixtureRequest) -> None:
    lines = request.getfixturevalue(case).to_latex().splitlines()
    body = [line for line in lines if line.endswith(r" \\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {4}
    assert len(body) == 1 + len(request.getfixturevalue(case).arms)


@pytest.mark.figures
@pytest.mark.slow(seconds=4)
def test_figures_are_written_as_they_are_asked_for(report: Report, tmp_path: Path) -> None:
    paths = report.write(tmp_path, figures=("pdf", "svg", "tex"))
    names = {str(path.relative_to(tmp_path)) for path in paths}
    figures = ["conclusion_1", "per_1", "per_2", "wer_1", "wer_2", "wer_3"]
    drawn = {f"figures/{figure}.{kind}" for figure in figures for kind in ("pdf", "svg")}
    assert names == {"results.json", "report.csv", "report.md", "report.html", "report.tex"} | drawn
    assert (tmp_path / "report.tex").read_text(encoding="utf-8") == report.to_latex()
    for figure in figures:
        content = (tmp_path / f"figures/{figure}.pdf").read_bytes()
        assert content.startswith(b"%PDF-")
        assert content.rstrip().endswith(b"%%EOF")
        assert b"/MediaBox" in content
        assert ElementTree.parse(tmp_path / f"figures/{figure}.svg").getroot().tag.endswith("svg")
    before = {path: path.read_bytes() for path in paths}
    assert report.write(tmp_path, figures=("pdf", "svg", "tex")) == paths, "its own files are written over"
    assert {path: path.read_bytes() for path in paths} == before, "and are the same each time"


@pytest.mark.figures
def test_tables_and_figures_of_the_report_before_do_not_stay(tmp_path: Path) -> None:
    a_report(METRICS[:1], ML=ML, RML=RML).write(tmp_path, figures=("svg", "tex"))
    mine = tmp_path / "figures" / "mine.svg"
    mine.write_text("<svg/>", encoding="utf-8")
    assert len(list((tmp_path / "figures").iterdir())) > 1
    a_report(METRICS[:1], ML=ML).write(tmp_path)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["mine.svg"]
    assert not (tmp_path / "report.tex").exists()


@pytest.mark.parametrize(
    ("name", "figures"),
    [("report.csv", ()), ("report.tex", ("tex",)), ("figures/per_1.pdf", ("pdf",)), ("figures/per_1.svg", ("svg",))],
)
def test_files_of_a_users_own_stay(tmp_path: Path, name: str, figures: Any) -> None:
    report = a_report(METRICS[:1], ML=ML, RML=RML)
    report.write(tmp_path)
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("arm,score\nmine,1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"{name} is not from a report of structpred and would be overwritten; move"):
        report.write(tmp_path, figures=figures)
    assert file.read_text(encoding="utf-8") == "arm,score\nmine,1\n"


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ("pdf", r'figures must be several formats, such as \("pdf", "svg"\), but got'),
        (("png",), "one of 'pdf', 'svg', 'tex'"),
    ],
)
def test_formats_that_do_not_exist_are_refused(report: Report, tmp_path: Path, figures: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        report.write(tmp_path, figures=figures)
    assert list(tmp_path.iterdir()) == []


def test_panels_have_one_csv_and_a_table_each(
    report: Report, hostile: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panels = PanelsReport({"one": report, "other": hostile})
    panels.write(tmp_path, figures=("tex", "svg"))
    read = list(csv.DictReader((tmp_path / "report.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["panel"] for row in read] == ["one"] * 60 + ["other"] * 40
    assert (tmp_path / "report_one.tex").read_text(encoding="utf-8") == report.to_latex()
    assert (tmp_path / "report.svg").exists()
    assert len(list((tmp_path / "figures").iterdir())) == 1 + 6 + 6
    assert panels.to_csv() == (tmp_path / "report.csv").read_text(encoding="utf-8")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert panels.to_frame() == panels.rows()


@pytest.mark.parametrize("case", ["report", "hostile"])
def test_notebooks_get_a_fragment_that_harms_nothing(case: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(case)
    text = report._repr_html_()
    root = ElementTree.fromstring(text)  # well formed
    assert {each.tag for each in root.iter()} <= {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert "://" not in text
    assert report.conclusion()[0].partition(" is ")[0].split(",")[0] in text
    assert len(list(root.iter("tr"))) == 1 + len(report.arms), "the table of the first metric"
    panels = ElementTree.fromstring(PanelsReport({"one": report})._repr_html_())
    assert "one: " in "".join(panels.itertext())


def test_a_folder_is_enough_to_read_a_report(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path)
    again = Report.read(tmp_path)  # its arms are no Experiments
    assert again.differences() == report.differences()
    assert again.rows() == report.rows()
    assert again.conclusion() == report.conclusion()
    assert Report.read(tmp_path, Trial).arms == report.arms
    again.write(tmp_path / "again")
    assert Report.read(tmp_path / "again", Trial).arms == report.arms, "nothing is lost on the way"
    PanelsReport({"one": report}).write(tmp_path / "panels")
    assert PanelsReport.read(tmp_path / "panels").reports["one"].rows() == report.rows()


def test_margins_are_named_in_the_table(report: Report) -> None:
    wide = Report.of(report)
    assert "within PER ±0.5, WER ±0.5." in wide.to_latex()
    design = Design(margins={"PER": 2.0})
    assert "within PER ±2, WER ±0.5." in a_design(report, design).to_latex()


def a_design(report: Report, design: Design) -> Report:
    return Report(report.arms, report.seeds, report.baseline, report.results, report.metrics, design)


STORED = {
    **{f"{panel} {name}": arm for panel, each in five_objectives.panels().items() for name, arm in each.arms.items()},
    **pronunciation.experiments(),
}


@pytest.mark.parametrize("name", STORED)
def test_a_kept_arm_says_what_its_experiment_says(name: str) -> None:
    arm = replace(STORED[name], metrics=(SymbolErrorRate(), WordErrorRate()))
    kept = KeptArm(text=json.dumps(encode(arm)))
    assert leaves_of(kept) == leaves_of(arm) == dict(leaves(arm))
    assert tree_of(kept) == tree_of(arm) == encode(arm)


def test_arms_of_components_that_are_not_installed_are_read_as_stored(tmp_path: Path) -> None:
    arms = {"ML": pronunciation.experiments()["ML"], "RML": pronunciation.experiments()["RML"]}
    report = replace(a_report(METRICS, ML=ML, RML=RML), arms=arms)
    report.write(tmp_path)
    assert Report.read(tmp_path).arms == arms
    file = tmp_path / "results.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"rml"', '"of-somebody"'), encoding="utf-8")
    again = Report.read(tmp_path)
    assert {type(arm) for arm in again.arms.values()} == {KeptArm}
    assert again.differences()["objective"] == {"ML": "maximum-likelihood", "RML": "of-somebody"}
    assert again.rows() == report.rows()
    with pytest.raises(ConfigError, match="there is no objective named 'of-somebody'"):
        Report.read(tmp_path, Experiment)
