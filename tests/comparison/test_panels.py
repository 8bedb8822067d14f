"""Several comparisons at once: one set of workers, one report."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from structpred.comparison import layout, plots
from structpred.comparison.panels import Panel, PanelsReport, planned
from structpred.comparison.runner import compare, compare_panels
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import RML, LabelSmoothing, MaximumLikelihood
from structpred.report import html, markdown
from structpred.report.document import Figure
from structpred.report.drawing import standalone
from structpred.statistics import estimate
from structpred.training import Trainer
from tests.support.reports import METRICS, ML, NEAR, Trial, a_report
from tests.support.reports import RML as BETTER
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=8),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=2, batch_tokens=40),
)
WARM = replace(TINY, start=TINY, trainer=Trainer(epochs=1, batch_tokens=40))
PANELS = {
    "cold": Panel(arms={"ML": TINY, "RML": replace(TINY, objective=RML())}, seeds=(0, 1)),
    "warm": Panel(arms={"ML": WARM, "smoothing": replace(WARM, objective=LabelSmoothing())}, seeds=(1,)),
}


@pytest.fixture
def report() -> PanelsReport:
    others = a_report(METRICS[:1], ML=ML[:3], RML=BETTER[:3])
    return PanelsReport({"with <two> metrics": a_report(METRICS, ML=ML, smoothing=NEAR, RML=BETTER), "other": others})


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.mark.slow
def test_panels_share_workers_starts_and_runs_and_are_what_single_comparisons_are(
    executor: Executor, tmp_path: Path
) -> None:
    """ML under seed 1 is an arm of one panel and what those of the other start from."""
    console = Console(file=io.StringIO(), width=200)
    found = compare_panels(PANELS, root=tmp_path / "panels", executor=executor, console=console)
    assert isinstance(console.file, io.StringIO)
    known, *lines = console.file.getvalue().splitlines()
    assert known == "0 of 6 runs are finished already, 6 to train"
    assert len(lines) == len(list((tmp_path / "panels").iterdir())) == 6
    assert lines[0].startswith("warm: start of ML, smoothing, seed 1: dev PER ")
    assert lines[-1].endswith("(6 of 6)")
    for name, panel in PANELS.items():
        alone = compare(panel.arms, seeds=panel.seeds, root=tmp_path / name, executor=executor, console=console)
        scores = {arm: [run.scores for run in runs] for arm, runs in alone.results.items()}
        assert {arm: [run.scores for run in runs] for arm, runs in found.reports[name].results.items()} == scores


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "at least one panel, but got none"),
        ({" ": PANELS["cold"]}, "the name of a panel must be one line of text"),
        ({"": PANELS["cold"], "two": PANELS["warm"]}, "the name of a panel must be one line of text"),
        (PANELS | {"empty": Panel(arms={})}, "^panel 'empty': a comparison needs at least one arm, but got none"),
        (PANELS | {"x": replace(PANELS["cold"], baseline="RLM")}, "^panel 'x': the baseline must .* mean 'RML'?"),
        (
            PANELS | {"x": replace(PANELS["cold"], seeds=())},
            r"^panel 'x': a comparison needs at least one seed, .*\[\]",
        ),
        (
            {"a": Panel(arms={"b: c": TINY}), "a: b": Panel(arms={"c": TINY})},
            "^the panels 'a' and 'a: b' have arms that are both shown as 'a: b: c'; rename one",
        ),
        ({"mixed": Panel(arms={"a": TINY, "b": WARM})}, "^panel 'mixed': the arms of a comparison share their trainer"),
    ],
    ids=[
        "none",
        "a blank name",
        "one without a name",
        "no arm",
        "no such baseline",
        "no seed",
        "equal labels",
        "other budgets",
    ],
)
def test_what_cannot_be_compared_is_refused_by_the_panels_name(panels: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(panels, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [{"until": "decided"}, {"ensembles": True}])
def test_seeds_and_panels_are_looked_at_first(more: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a comparison needs panels by their names"):
        compare_panels([Panel(arms={"ML": TINY})], root=tmp_path, **more)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^seeds must be several whole numbers"):
        compare({"ML": TINY}, seeds=3, root=tmp_path, **more)  # type: ignore[arg-type]


OTHERS = "a comparison needs panels by their names, as in {'tagging': Panel(arms=...)}, but got others"
WRONG = {  # by the Python that makes them
    "[Panel(arms=ARMS)]": OTHERS,
    "{'x': 3}": OTHERS,
    "{'x': Panel(arms=[1])}": "panel 'x': the arms of a comparison must be Experiments by name, but got [1]",
    "{'x': Panel(arms={'a': None})}": "panel 'x': the arm 'a' must be an Experiment, but got None",
    "{'x': Panel(arms=ARMS, seeds=2)}": "panel 'x': seeds must be several whole numbers, such as range(5), but got 2",
    "{'x': Panel(arms=ARMS, seeds=([0],))}": "panel 'x': a seed must be a whole number, but got [0]",
    "{'x': Panel(arms=ARMS, baseline=3)}": "panel 'x': the baseline must be the name of an arm, but got 3",
}
TRIED = """
import sys
from pathlib import Path
from structpred.comparison.panels import Panel, planned
from structpred.errors import ConfigError
from tests.comparison.test_panels import TINY

ARMS = {"ML": TINY}
for made in sys.argv[1:]:
    try:
        planned(eval(made), Path("runs"))
    except ConfigError as error:
        print(error)
"""


@pytest.mark.slow
def test_values_of_other_kinds_are_refused_in_a_sentence(tmp_path: Path) -> None:
    """In a process of its own, where nothing but the code itself checks types."""
    command = [sys.executable, "-c", TRIED, *WRONG]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == list(WRONG.values())


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one panel, but got none"):
        PanelsReport({})


def test_the_report_has_a_headline_and_every_section_of_every_panel(report: PanelsReport) -> None:
    text = markdown.render(report.document())
    assert text.startswith("# Comparison in 2 panels: with \\<two> metrics and other\n\n## Conclusion\n")
    headlines = [each.conclusion()[0] for each in report.reports.values()]
    assert f"* with \\<two> metrics: {headlines[0]}\n* other: {headlines[1]}\n" in text
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Conclusion", "with \\<two> metrics", "other"]
    assert "* 3 arms under 5 seeds, each compared with ML." in text
    assert "* 2 arms under 3 seeds, each compared with ML." in text
    for name, each in report.reports.items():
        below = [section.title for section in each.document().sections]
        part = text.partition(f"## {name.replace('<', chr(92) + '<')}\n")[2].partition("\n## ")[0]
        assert re.findall(r"^### (.*)", part, re.MULTILINE) == below


@pytest.mark.figures
@pytest.mark.slow
def test_the_picture_is_a_file_of_its_own_and_in_the_page(report: PanelsReport, tmp_path: Path) -> None:
    files = report.write(tmp_path)
    assert [file.name for file in files] == ["results.json", "report.csv", "report.md", "report.html", "report.svg"]
    root = ElementTree.fromstring((tmp_path / "report.svg").read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = {"".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"with <two> metrics", "other", "smoothing", "RML"} <= words
    assert "prefers-color-scheme: dark" in (tmp_path / "report.svg").read_text(encoding="utf-8")
    assert "](report.svg)\n" in (tmp_path / "report.md").read_text(encoding="utf-8")
    page = ElementTree.fromstring((tmp_path / "report.html").read_text(encoding="utf-8").partition("\n")[2])
    assert [level.tag for level in page.iter() if level.tag in ("h2", "h3")].count("h2") == 3
    inside = html.render(report.document())
    assert inside.count("<svg ") == 1 + sum(
        html.render(each.document()).count("<svg ") for each in report.reports.values()
    )


@pytest.mark.figures
def test_better_is_to_the_right_and_a_failure_leaves_the_others_apart() -> None:
    gains = {"good": (0.3, 0.5), "bad": (-0.4, -0.2)}

    def drawn(higher_is_better: bool, more: dict[str, tuple[float, ...]] = {}) -> tuple[dict[str, float], str]:  # noqa: B006
        values = {arm: [each if higher_is_better else -each for each in seeds] for arm, seeds in (gains | more).items()}
        estimates = {arm: estimate(np.array(seeds)) for arm, seeds in values.items()}
        text = plots.strips([plots.Strip("panel", values, estimates, "points", higher_is_better)])
        root = ElementTree.fromstring(standalone(text))
        space = "{http://www.w3.org/2000/svg}"
        dots = [float(use.get("x", "")) for use in root.iter(f"{space}use") if "opacity: 0.55" in use.get("style", "")]
        places = [np.mean(dots[2 * i : 2 * i + 2]) for i in range(len(values))]
        return dict(zip(values, map(float, places), strict=True)), text

    for higher_is_better in (True, False):
        places, text = drawn(higher_is_better)
        assert places["good"] > places["bad"]
        assert "logarithmic" not in text
        places, text = drawn(higher_is_better, {"failed": (-60.0, -62.0)})
        assert places["good"] > places["bad"] > places["failed"]
        assert places["good"] - places["bad"] > 0.2 * (places["bad"] - places["failed"])
        assert "logarithmic beyond 1" in text


def test_one_arm_has_no_picture(tmp_path: Path) -> None:
    alone = PanelsReport({"one": a_report(ML=ML), "two": a_report(ML=NEAR)})
    assert "report.svg" not in [file.name for file in alone.write(tmp_path)]
    assert "1 arm under " in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_caption_of_one_seed_promises_no_interval(report: PanelsReport) -> None:
    one = PanelsReport({"one": a_report(ML=ML[:1], RML=NEAR[:1])})
    several, single = (
        [block.caption for block in each.document().sections[0].blocks if isinstance(block, Figure)]
        for each in (report, one)
    )
    assert "95 % interval" in several[0]
    assert "One seed, no interval" in single[0]
    assert "95 %" not in single[0]


def test_reading_back_gives_the_same_report(report: PanelsReport, tmp_path: Path) -> None:
    report.write(tmp_path)
    metrics = {name: each.metrics for name, each in report.reports.items()}
    again = PanelsReport.read(tmp_path / "results.json", Trial, metrics)
    assert again == report
    assert markdown.render(again.document()) == (tmp_path / "report.md").read_text(encoding="utf-8")
    with pytest.raises(
        RunError, match=r"expected the panels \['other'\], but it has \['with <two> metrics', 'other'\]"
    ):
        PanelsReport.read(tmp_path / "results.json", Trial, {"other": METRICS[:1]})
    (tmp_path / "results.json").write_text('{"format": 1, "arms": {}}', encoding="utf-8")
    with pytest.raises(RunError, match="holds no report"):
        PanelsReport.read(tmp_path / "results.json", Trial, metrics)


def test_the_record_holds_every_panel_as_a_single_record_would(report: PanelsReport, tmp_path: Path) -> None:
    report.write(tmp_path)
    tree = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    (tmp_path / "alone").mkdir()
    report.reports["other"].write(tmp_path / "alone")
    alone = json.loads((tmp_path / "alone" / "results.json").read_text(encoding="utf-8"))
    assert tree.pop("page")[0]["title"] == alone.pop("page")[0]["title"] == "Conclusion"
    assert {"format": 1, **tree["panels"]["other"]} == alone


def test_a_picture_of_a_users_own_is_never_written_over(report: PanelsReport, tmp_path: Path) -> None:
    (tmp_path / "report.svg").write_text("<svg/>", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"report\.svg is not from a report of structpred and would be overwritten"):
        report.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.svg"]
    single = report.reports["other"]
    assert len(single.write(tmp_path)) == 4, "which writes no picture"


def test_a_terminal_shows_tables_and_a_pipe_the_markdown(report: PanelsReport) -> None:
    stream = StringIO()
    report.show(Console(file=stream, force_terminal=True, width=240, color_system=None))
    assert "Comparison in 2 panels" in stream.getvalue()
    assert "](report.svg)" not in stream.getvalue()
    stream = StringIO()
    report.show(Console(file=stream, width=40))
    assert stream.getvalue() == markdown.render(report.document())


def test_the_strip_of_a_report_is_its_differences(report: PanelsReport) -> None:
    strip = layout.strip("x", report.reports["other"])
    assert strip.values["RML"] == pytest.approx(np.array(BETTER[:3]) - ML[:3])
    assert (strip.title, strip.label, strip.higher_is_better) == ("x", "test PER − ML (percentage points)", False)


@pytest.mark.slow
def test_a_picture_of_somebody_else_is_left_alone_and_one_of_an_earlier_report_goes(
    report: PanelsReport, tmp_path: Path
) -> None:
    single = next(iter(report.reports.values()))
    single.write(tmp_path)
    (tmp_path / "report.svg").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"report\.svg is not from a report of structpred and would be overwritten"):
        report.write(tmp_path)
    single.write(tmp_path)
    assert (tmp_path / "report.svg").read_text(encoding="utf-8") == "mine"
    (tmp_path / "report.svg").unlink()
    report.write(tmp_path)
    assert (tmp_path / "report.svg").exists()
    single.write(tmp_path)
    assert not (tmp_path / "report.svg").exists(), "it shows what is not there any more"
