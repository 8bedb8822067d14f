"""Readers of the output that go away, and outputs that are full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from structpred.cli import main
from structpred.cli.commands import COMMANDS
from tests.support.forked import python

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_reader_that_has_seen_enough() -> None:
    line = f"{sys.executable} -m structpred list | head -n 1; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["family\tname\twhat it is", "0"]
    assert run.stderr == ""


@pytest.mark.parametrize(("command", "status"), [("train", 141), ("compare", 141), ("list", 0), ("runs", 0)])
def test_work_that_its_reader_has_left_is_not_done(command: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell says of a program that SIGPIPE ended; what only prints has printed what was read."""

    def left(self: object, console: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(COMMANDS[command], "run", left)
    assert main([command]) == status


CLOSED = "import os; reader, output = os.pipe(); os.close(reader)"
FULL = "import os; output = os.open('/dev/full', os.O_WRONLY)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "output", "status", "said"),
    [
        (["list"], CLOSED, 0, ""),
        (["describe", "rml"], CLOSED, 0, ""),
        (["list"], FULL, 2, "structpred: the standard output: No space left on device\n"),
    ],
    ids=["list, closed", "describe, closed", "list, full"],
)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")  # noqa: PTH110
def test_a_closed_pipe_and_a_full_output(words: list[str], output: str, status: int, said: str, tmp_path: Path) -> None:
    start = f"import sys; from structpred.cli import main; sys.stdout = open(output, 'w'); sys.exit(main({words}))"
    run = python(["-c", f"{output}; {start}"], tmp_path)
    assert (run.returncode, run.stderr) == (status, said)
