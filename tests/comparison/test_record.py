"""The results.json of a report."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from structpred.comparison import record
from structpred.comparison.report import Report
from structpred.errors import RunError
from tests.support.reports import METRICS, RML, Trial


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


def test_an_older_record_is_of_a_fixed_number_of_seeds(report: Report, tmp_path: Path) -> None:
    tree = json.loads(record.encode(report))
    del tree["design"]
    (tmp_path / "results.json").write_text(json.dumps(tree), encoding="utf-8")
    assert Report.read(tmp_path / "results.json", Trial, METRICS) == report
