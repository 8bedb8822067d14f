"""What people see while they wait."""

import io
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from structpred import forecast
from structpred.display import Overview, details, duration, show_table, sparkline, summary, watching
from structpred.results import Epoch, RunResult
from structpred.training.monitoring import Progress

TRAINING = Progress("training", 2, 5, 0.4, 1234.5, 90.0, 0.5, {"PER": 12.345})


def console(*, terminal: bool, width: int = 120) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    environment = {"TERM": "xterm"}  # whatever the terminal of the test run can do
    return Console(file=text, force_terminal=terminal, width=width, color_system=None, _environ=environment), text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(forecast, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "1 h 30 min"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_sparkline_of_nothing_and_of_equal_values() -> None:
    assert sparkline([]) == ""
    assert sparkline([2.0, 2.0]) == "▁▁"


def test_details_name_epoch_rate_time_left_loss_and_dev() -> None:
    assert details(TRAINING) == "epoch 2/5, step 0 · 2 min left · dev PER 12.35 · loss 0.500 · 1,234 tokens/s"
    assert "time left not known yet" in details(replace(TRAINING, done=0.0))
    assert details(Progress("testing")) == "testing"


def test_a_summary_says_how_long_how_fast_and_what_was_skipped() -> None:
    history = tuple(Epoch(i + 1, 1.0, {}, 0.0, {}) for i in range(4))
    result = RunResult("", {}, {}, 3, 1200, 600.0, 1.0, 5432.1, "cpu", history)
    assert summary(result) == "1,200 steps in 10 min · 5,432 tokens/s · best epoch 3 of 4"
    assert summary(replace(result, skipped=2)).endswith(" · 2 steps skipped, because they were not finite")


def test_without_a_terminal_a_run_prints_a_line_an_epoch_and_no_control_characters() -> None:
    chosen, text = console(terminal=False)
    with watching(chosen, "training [x]") as observer:
        for progress in (Progress("preparing"), TRAINING, replace(TRAINING, loss=0.4), Progress("testing")):
            observer(progress)
    lines = text.getvalue().splitlines()
    assert lines == ["training [x]: preparing", f"training [x]: {details(TRAINING)}", "training [x]: testing"]


def test_on_a_terminal_a_run_is_one_line_whatever_its_name_and_the_width() -> None:
    chosen, text = console(terminal=True, width=60)
    with watching(chosen, "[/RML] [0.8]") as observer:
        observer(TRAINING)
    shown = text.getvalue()
    assert "[/RML] [0.8]" in shown
    assert "40 %" in shown
    assert max(map(len, shown.replace("\r", "\n").splitlines())) < 60 + len("\x1b[2K\x1b[?25l") * 2


def test_a_table_has_tabs_where_another_program_reads_it() -> None:
    chosen, text = console(terminal=False, width=10)
    show_table(chosen, ("arm", "what it is"), [("[bold]", "a sentence that is longer than ten")])
    assert text.getvalue() == "arm\twhat it is\n[bold]\ta sentence that is longer than ten\n"
    chosen, text = console(terminal=True)
    show_table(chosen, ("arm",), [("[bold]",)])
    assert "[bold]" in text.getvalue()
    assert "─" in text.getvalue()


def test_an_overview_prints_a_line_a_run_with_the_time_left(clock: SimpleNamespace) -> None:
    chosen, text = console(terminal=False)
    with Overview(chosen, finished=1, total=3) as shown:
        shown.update({"a": replace(TRAINING, done=0.0)})
        clock.now = 30.0
        shown.end("a", "a: dev PER 1.00", seconds=30.0)
        clock.now = 60.0
        shown.end("b", "b: failed: [no markup]")
    assert text.getvalue().strip().splitlines() == [
        "a: dev PER 1.00 (2 of 3, about 30 s left)",
        "b: failed: [no markup] (3 of 3)",
    ]


def test_what_was_done_before_an_interruption_does_not_make_the_rest_look_short(clock: SimpleNamespace) -> None:
    shown = Overview(console(terminal=False)[0], finished=0, total=2)
    shown.update({"resumed": replace(TRAINING, done=0.8)})
    assert shown.left() == ""
    clock.now = 10.0
    shown.update({"resumed": replace(TRAINING, done=0.9)})  # a tenth of a run in ten seconds, and 1.1 runs are left
    assert shown.left() == "about 2 min left"


def test_on_a_terminal_an_overview_has_a_bar_for_all_runs_and_one_for_each_under_way() -> None:
    chosen, text = console(terminal=True)
    with Overview(chosen, finished=0, total=4) as shown:
        shown.update({"ML, seed 0": TRAINING})
        shown.bars.refresh()
        during = text.getvalue()
        shown.end("ML, seed 0", "ML, seed 0: well")
        before = len(text.getvalue())
        shown.bars.refresh()
        after = text.getvalue()[before:]
    assert re.search(r"4 runs +━*[╸╺]?━* +10 %", during), "two fifths of one of four runs"
    assert "ML, seed 0" in during
    assert "epoch 2/5" in during
    assert "ML, seed 0" not in after
    assert "ML, seed 0: well (1 of 4" in text.getvalue()
