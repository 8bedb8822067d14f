"""Removing runs that were never finished."""

import io
import re
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from structpred.cli import main
from structpred.runs import Run
from tests.support.commands import FILES, SMALL

pytestmark = pytest.mark.usefixtures("own_folder")


def two_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, Path]:
    """A finished run and one that was never finished."""
    for seed in ("0", "1"):
        assert main(["train", *FILES, *SMALL, f"seed={seed}"]) == 0
    capsys.readouterr()
    finished, unfinished = sorted((folder / "runs").iterdir(), key=lambda path: Run.load(path).experiment.seed)
    (unfinished / "result.json").unlink()
    return finished, unfinished


def test_clean_shows_asks_and_removes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finished, unfinished = two_runs(tmp_path, capsys)
    assert main(["clean", "--older-than", "1"]) == 0
    assert capsys.readouterr().out == "Nothing to remove\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert main(["clean"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"{finished.name}\ttsv\tmaximum-likelihood\t0\tfinished\t\d\.\d MB\t", shown)
    assert "Remove 2 runs" in shown
    assert finished.exists()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["clean", "--unfinished"]) == 0
    assert "Removed 1 run," in capsys.readouterr().out
    assert (finished.exists(), unfinished.exists()) == (True, False)
    assert main(["clean", "--yes"]) == 0
    assert not finished.exists()


def test_clean_keeps_what_is_being_trained_and_shows_what_is_damaged(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    finished, unfinished = two_runs(tmp_path, capsys)
    (finished / "experiment.json").write_text("{", encoding="utf-8")
    with FileLock(unfinished / ".lock"):
        assert main(["clean", "--yes"]) == 0
    shown = capsys.readouterr().out
    assert f"{finished.name}\t?\t?\t?\tfinished" in shown
    assert f"Kept {unfinished.name}" in shown
    assert (finished.exists(), unfinished.exists()) == (False, True)


def test_clean_removes_nothing_when_nobody_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    two_runs(tmp_path, capsys)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["clean"]) == 2
    assert "nobody answered, so nothing was removed; add --yes" in capsys.readouterr().err
    assert len(list((tmp_path / "runs").iterdir())) == 2
