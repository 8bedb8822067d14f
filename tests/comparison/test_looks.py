"""Whether seeds were added after a look, by the report that lies in the folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from structpred.comparison.design import Design
from structpred.comparison.looks import looks_in
from structpred.comparison.panels import PanelsReport
from structpred.comparison.report import Report
from tests.support.reports import ML, RML, a_report

FIVE = a_report(ML=ML, RML=RML)
THREE = a_report(ML=ML[:3], RML=RML[:3])
OTHERS = a_report(ML=[rate + 50 for rate in ML[:3]], RML=[rate + 50 for rate in RML[:3]])


def rule_after(earlier: Report, now: Report, folder: Path) -> str:
    earlier.write(folder)
    report = now.after_looks(folder)
    assert replace(report, design=now.design) == now
    return report.design.rule


@pytest.mark.parametrize(
    ("earlier", "now", "rule"),
    [
        (THREE, FIVE, "anytime"),
        (FIVE, THREE, "anytime"),  # results chose how many seeds to report
        (FIVE, FIVE, "fixed"),  # the same again
        (replace(THREE, seeds=(0, 1, 5)), THREE, "anytime"),  # results chose which seeds to report
        (replace(FIVE, design=Design(rule="anytime")), FIVE, "anytime"),
        (OTHERS, FIVE, "fixed"),  # a report of other runs
    ],
)
def test_the_earlier_report_decides(earlier: Report, now: Report, rule: str, tmp_path: Path) -> None:
    assert rule_after(earlier, now, tmp_path) == rule


def test_panels_are_looked_at_each_by_itself(tmp_path: Path) -> None:
    PanelsReport({"one": THREE, "other": OTHERS}).write(tmp_path)
    more = a_report(ML=[20.0, 21.0], RML=[20.5, 21.5])
    found = PanelsReport({"one": FIVE, "other": more}).after_looks(tmp_path)
    assert [report.design.rule for report in found.reports.values()] == ["anytime", "fixed"]


@pytest.mark.parametrize("content", [None, "", "{}", '{"format": 1, "runs": 3}', '{"format": 1, "panels": [1]}'])
def test_what_is_no_report_was_no_look(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content, encoding="utf-8")
    assert looks_in(tmp_path) == ()


def test_rendering_again_keeps_the_test(tmp_path: Path) -> None:
    looked = replace(FIVE, design=Design(rule="anytime", margins={"PER": 0.2}))
    looked.write(tmp_path)
    again = Report.read(tmp_path / "results.json", type(next(iter(FIVE.arms.values()))), FIVE.metrics)
    assert again.design == looked.design


def test_what_is_written_over_an_earlier_report_is_decided_after_that_look(tmp_path: Path) -> None:
    THREE.write(tmp_path / "alone")
    PanelsReport({"one": THREE}).write(tmp_path / "panels")
    FIVE.write(tmp_path / "alone")
    PanelsReport({"one": FIVE}).write(tmp_path / "panels")
    alone, panels = Report.read(tmp_path / "alone"), PanelsReport.read(tmp_path / "panels")
    assert alone.design.rule == panels.reports["one"].design.rule == "anytime"
    assert "anytime-valid" in (tmp_path / "alone" / "report.md").read_text(encoding="utf-8")
