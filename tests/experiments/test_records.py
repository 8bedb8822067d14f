"""What the page about the records claims is so."""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from structpred.cli.comparing import load_panels
from structpred.comparison.analysis import scores
from structpred.comparison.panels import PanelsReport
from structpred.comparison.report import Report
from structpred.experiments import five_objectives
from structpred.experiments.benchmarks.__main__ import benchmarks
from structpred.statistics import estimate

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
RECORDS = EXPERIMENTS / "records"
PAGE = (RECORDS / "README.md").read_text(encoding="utf-8")
MODULE = r"structpred\.experiments\.([\w.]+)"
THE_MAIN_JOB = "make compare"


@dataclass(frozen=True)
class Row:
    """A row of the table: the path of a record and the command it was made by."""

    record: str
    command: str

    @property
    def module(self) -> str:
        """Below `structpred.experiments`."""
        return "five_objectives" if self.command == THE_MAIN_JOB else re.findall(MODULE, self.command)[0]


ROWS = [Row(*found) for found in re.findall(r"^\| `([\w/.]+)` \| `([^`]+)`", PAGE, re.MULTILINE)]
(WITHOUT,) = re.findall(r"^No record is kept of (.*?):", PAGE, re.MULTILINE | re.DOTALL)
COMPARED = [row for row in ROWS if row.command.startswith(("structpred compare", THE_MAIN_JOB))]


def asking() -> set[str]:
    """Modules and packages that ask a question, and benchmarks; an underscore in front: part of another module."""
    names = {path.stem for path in EXPERIMENTS.glob("[!_]*.py")}
    names |= {path.parent.name for path in EXPERIMENTS.glob("*/__main__.py")} - {"benchmarks"}
    return names | {f"benchmarks.{name}" for name in benchmarks()}


def docstring(module: str) -> str:
    """Of a module of `experiments/`, or of what a package there runs, on one line."""
    place = EXPERIMENTS / module.replace(".", "/")
    path = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
    return " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())


def test_every_record_has_a_row_and_every_row_a_record() -> None:
    kept = {path.name for path in RECORDS.iterdir() if path.is_dir() and path.name != "benchmarks"}
    kept |= {f"benchmarks/{path.name}" for path in (RECORDS / "benchmarks").iterdir()}
    assert sorted(row.record for row in ROWS) == sorted(kept)


def test_every_module_has_a_record_or_is_said_to_have_none() -> None:
    without = {name if name in asking() else f"benchmarks.{name}" for name in re.findall(r"`(\w+)`", WITHOUT)}
    recorded = {row.module for row in ROWS}
    assert recorded & without == set()
    assert recorded | without == asking()


@pytest.mark.parametrize("row", [row for row in ROWS if "." not in row.record], ids=lambda row: row.record)
def test_the_files_are_those_that_are_named(row: Row) -> None:
    folders = {path.parent for path in (RECORDS / row.record).rglob("*.json")}
    assert folders
    for folder in sorted(folders):
        if (folder / "curves.json").exists():  # of agents that have no Experiment, so that nothing was compared
            assert {path.name for path in folder.iterdir()} == {"curves.json", "report.md"}
            continue
        if (folder / "scores.json").exists():  # of ensembles, which are no arms
            assert {path.name for path in folder.iterdir()} == {"scores.json", "report.md"}
            continue
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        if row.module == "claims":  # a page of the documents is the report
            assert {path.name for path in folder.iterdir()} == {"results.json", "picture.svg"}
            assert set(results) == {"results", "cpu_seconds", "environment"}
            continue
        files = {"results.json", "report.md", *(["report.svg"] if "panels" in results else [])}
        kept = {path.name for path in folder.iterdir() if path.suffix != ".html"}  # git ignores what was rendered here
        assert kept == files, folder
        if "studies" in results:
            assert all(study["trials"] for study in results["studies"].values())
            continue
        for comparison in comparisons(results):
            assert {"arms", "seeds", "runs", "tests", "environment"} <= set(comparison), folder


INTERVAL = re.compile(r"[-+]?\d+\.\d+(?: ± \d+\.\d+| \([-+]?\d+\.\d+ to [-+]?\d+\.\d+\))")


def sections_about_records() -> list[tuple[str, str]]:
    """Title and text of the sections of the results, and of that of the read-me, that link a report."""
    results = (EXPERIMENTS.parent / "docs" / "results.md").read_text(encoding="utf-8")
    read_me = (EXPERIMENTS.parent / "README.md").read_text(encoding="utf-8")
    parts = re.split(r"^##+ ", results + read_me, flags=re.MULTILINE)
    return [(part.partition("\n")[0], part) for part in parts if re.search(r"records/[\w/.]+/report\.md", part)]


@pytest.mark.parametrize("title", [title for title, _ in sections_about_records()])
def test_every_interval_that_is_told_is_in_a_report_that_is_linked(title: str) -> None:
    text = dict(sections_about_records())[title]
    linked = [RECORDS / name for name in re.findall(r"records/([\w/.]+)/report\.md", text)]
    kept = " ".join(path.read_text(encoding="utf-8") for folder in linked for path in folder.rglob("report.md"))
    if "warm_start_objectives/start" in text:
        kept += " ".join(from_the_start())
    if "docs/claims.md" in text:  # its answers are held to their records by test_claims.py
        kept += (EXPERIMENTS.parent / "docs" / "claims.md").read_text(encoding="utf-8")
    told = INTERVAL.findall(text.replace("−", "-").replace("\n", " "))
    assert [each for each in told if each.replace("+", "") not in kept.replace("+", "")] == []


def test_the_six_rows_of_the_read_me_are_rows_of_the_main_job() -> None:
    read_me = (EXPERIMENTS.parent / "README.md").read_text(encoding="utf-8").replace("−", "-")
    lines = (RECORDS / "five_objectives" / "report.md").read_text(encoding="utf-8").splitlines()
    table = read_me.partition("| model, objective |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) == 6
    for row in table:
        _, score, difference, p, verdict, seconds = (cell.strip() for cell in row.strip("|").split("|"))
        (line,) = (line for line in lines if f" {score.split(' ', 1)[1]} | " in line and f" {difference} | " in line)
        _, _, _, _, kept_p, kept_verdict, _, cpu_seconds = (cell.strip() for cell in line.strip("|").split("|"))
        assert (kept_verdict, cpu_seconds.partition(" ")[0]) == (verdict, seconds)
        assert float(p) == round(float(kept_p), len(p.partition(".")[2]))


@pytest.mark.parametrize(
    ("panel", "baseline", "arm", "metric", "widest"),
    [
        ("tagging", "tagger ML", "tagger RML", "ACC", 0.5),
        ("tagging", "tagger ML", "CRF RML", "ACC", 0.5),
        ("pronunciation", "ML", "RML edit distance", "PER", 2.0),
        ("pronunciation", "ML", "RML Hamming", "PER", 2.0),
    ],
)
def test_the_main_job_tells_rml_from_likelihood_to_a_width_that_means_something(
    panel: str, baseline: str, arm: str, metric: str, widest: float
) -> None:
    """The 95 % intervals of paired differences to the baseline of the panel, whatever their sign."""
    report = PanelsReport.read(RECORDS / "five_objectives").reports[panel]
    one, other = (scores(report.results[name], "test", metric) for name in (arm, baseline))
    half_width = estimate(one - other).half_width
    assert half_width is not None
    assert half_width <= widest


def from_the_start() -> list[str]:
    """Differences from the starts of the same seeds, which two reports hold together."""
    arms, starts = (Report.read(RECORDS / "warm_start_objectives" / part) for part in ("comparison", "start"))
    begun = scores(starts.results["start"], "test", "PER")
    return [estimate(scores(runs, "test", "PER") - begun).signed for runs in arms.results.values()]


def comparisons(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that a record holds."""
    if "tasks" in results:
        return [results["average"], *results["tasks"].values()]
    return list(results["panels"].values()) if "panels" in results else [results]


@pytest.mark.parametrize("row", COMPARED, ids=lambda row: row.record)
def test_a_comparison_has_the_seeds_of_its_command(row: Row) -> None:
    asked = re.findall(r"--seeds (\d+)", row.command)
    panels = load_panels(f"structpred.experiments.{row.module}")
    results = json.loads((RECORDS / row.record / "results.json").read_text(encoding="utf-8"))
    seeds = [list(range(int(asked[0]))) if asked else list(panel.seeds) for panel in panels.values()]
    assert [comparison["seeds"] for comparison in comparisons(results)] == seeds


@pytest.mark.parametrize("panel", ["tagging", "pronunciation"])
def test_the_main_job_takes_what_was_best_on_dev_in_the_record_of_its_tuning(panel: str) -> None:
    record = json.loads((RECORDS / "five_objectives_tuning" / "results.json").read_text(encoding="utf-8"))["panels"]
    signs = {metric["name"]: 1 if metric["higher_is_better"] else -1 for metric in record[panel]["metrics"]}
    dev = {arm: runs[0]["scores"]["dev"] for arm, runs in record[panel]["runs"].items()}
    arms = five_objectives.tagging() if panel == "tagging" else five_objectives.pronunciation()
    for arm, tuned in arms.items():
        ranks = {
            value: [sign * dev[f"{arm}, {tuned.number} {value:g}"][name] for name, sign in signs.items()]
            for value in tuned.tried
        }
        assert max(ranks, key=lambda value: ranks[value]) == tuned.chosen, arm


def test_ten_languages_have_the_seeds_of_their_command() -> None:
    (row,) = (row for row in ROWS if row.record == "sigmorphon_2020")
    results = json.loads((RECORDS / row.record / "results.json").read_text(encoding="utf-8"))
    for comparison in results["tasks"].values():
        assert [f"--seeds {len(comparison['seeds'])}"] == re.findall(r"--seeds \d+", row.command)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.record)
def test_a_docstring_that_shows_the_command_shows_the_same(row: Row) -> None:
    said = docstring(row.module)
    shows = re.search(r"structpred compare|make compare|python -m", said)
    assert shows is None or row.command in said
