"""The results.json of a report."""

import base64
import html
import json
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from structpred.comparison import record
from structpred.comparison.design import Design
from structpred.comparison.report import Report
from structpred.errors import RunError
from tests.support.outputs import inspection
from tests.support.reports import METRICS, ML, NEAR, RML, Trial, a_report


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


def test_every_number_on_the_page_is_in_the_results(tmp_path: Path) -> None:
    """Those of sentences and tables as they are written, those that are drawn to five decimals."""
    report = a_report(METRICS, ML=ML, smoothing=NEAR, RML=RML)
    report = replace(
        report, design=Design(pairs="all"), inspection=inspection({"ML": 0.3, "smoothing": 0.3, "RML": 0.1}, 1, 20)
    )
    report.write(tmp_path)
    kept, page = ((tmp_path / name).read_text(encoding="utf-8") for name in ("results.json", "report.html"))
    packed = re.findall('id="data">([^<]*)<', page)[0]
    seen = re.sub(r"<(svg|style|script).*?</\1>|<title>.*?</title>|<[^>]*>", " ", page, flags=re.DOTALL)
    numbers = set(re.findall(r"\d[\d,]*(?:\.\d+)?", html.unescape(seen)))
    assert len(numbers) > 100
    assert {number for number in numbers if number not in kept} == set()
    drawn = set(leaves(json.loads(zlib.decompress(base64.b64decode(packed)))))
    assert len(drawn) > 100
    assert drawn <= set(leaves(json.loads(kept)))


def leaves(tree: Any) -> Iterator[float]:
    """Every number of a tree, to five decimals."""
    if isinstance(tree, dict | list):
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(each)
    elif isinstance(tree, float | int):
        yield round(float(tree), 5)
