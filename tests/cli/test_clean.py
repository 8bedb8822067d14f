"""Removing runs that were never finished."""

import io
import json
import re
import shutil
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


def test_clean_keeps_a_run_that_holds_something_of_a_users(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    finished, unfinished = two_runs(tmp_path, capsys)
    (finished / "my_notes.md").write_text("why this run matters\n", encoding="utf-8")
    (unfinished / ".result.json.0123.unfinished").touch()
    assert main(["clean", "--yes"]) == 2
    said = capsys.readouterr()
    assert "it holds my_notes.md, which no run writes; move that away" in said.err
    assert (finished / "my_notes.md").exists()
    assert (finished / "weights.pt").exists()
    assert not unfinished.exists()


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
    assert "there was no answer, so nothing was removed; add --yes" in capsys.readouterr().err
    assert len(list((tmp_path / "runs").iterdir())) == 2


def like_a_run(path: Path, *, identity: str | None = None, experiment: str = "{}", name: str = "0" * 16) -> Path:
    """A folder with the two files that say that it is a run, and a file of somebody's."""
    folder = path / name
    folder.mkdir(parents=True)
    record = {"identity": name.ljust(64, "0") if identity is None else identity}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "experiment.json").write_text(experiment, encoding="utf-8")
    (folder / "log.jsonl").touch()
    return folder


RECORDS = {
    "none": None,
    "empty": "",
    "null": "null",
    "a list": "[1]",
    "no identity": "{}",
    "a number": '{"identity": 5}',
    "of another folder": f'{{"identity": "{"1" * 64}"}}',
    "no whole identity": f'{{"identity": "{"0" * 16}"}}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_clean_leaves_what_is_no_run_alone(record: str | None, tmp_path: Path) -> None:
    folder = like_a_run(tmp_path / "runs")
    (folder / "record.json").unlink()
    if record is not None:
        (folder / "record.json").write_text(record, encoding="utf-8")
    thesis = like_a_run(tmp_path / "runs", name="thesis", identity="thesis" + "0" * 58)
    assert main(["clean", "--yes"]) == 0
    assert (folder / "log.jsonl").exists()
    assert (thesis / "log.jsonl").exists()


def test_clean_goes_on_at_symbolic_links(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    elsewhere = like_a_run(tmp_path / "elsewhere", name="1" * 16)
    run = like_a_run(tmp_path / "runs", name="2" * 16)
    (run / "weights.pt").symlink_to(tmp_path / "nowhere")
    (run / "tensorboard").symlink_to(elsewhere, target_is_directory=True)
    (tmp_path / "runs" / ("1" * 16)).symlink_to(elsewhere, target_is_directory=True)
    assert main(["clean", "--yes"]) == 0
    assert f"Removed {run.name}\nRemoved 1 run," in capsys.readouterr().out
    assert not run.exists()
    assert (elsewhere / "log.jsonl").exists()


DAMAGED = {
    "deep": "[" * 100_000,
    "not UTF-8": "\xff",
    "no task": '{"task": 5}',
    "no names": '{"task": {"type": [1]}, "objective": {"type": "x"}, "seed": {}}',
}


@pytest.mark.parametrize("experiment", DAMAGED.values(), ids=DAMAGED)
def test_clean_shows_a_damaged_experiment_by_question_marks(
    experiment: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = like_a_run(tmp_path / "runs")
    (run / "experiment.json").write_text(experiment, encoding="latin-1")
    assert main(["clean", "--yes"]) == 0
    assert re.search(rf"{run.name}\t\?\t(\?|x)\t\?\tunfinished", capsys.readouterr().out)
    assert not run.exists()


def test_clean_prints_nothing_that_a_terminal_would_obey(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    node = {"task": {"type": "\x1b[2J\ttsv"}, "objective": {"type": "\x07\u202eml"}, "seed": "\r0"}
    run = like_a_run(tmp_path / "runs", experiment=json.dumps(node))
    assert main(["clean", "--older-than", "0", "--yes"]) == 0
    assert f"{run.name}\t\\x1b[2J tsv\t\\x07\\u202eml\t 0\t" in capsys.readouterr().out


def test_clean_says_what_could_not_be_removed_and_removes_the_rest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = (like_a_run(tmp_path / "runs", name=digit * 16) for digit in "12")
    remove = shutil.rmtree

    def refuse(path: Path) -> None:
        if path == Path("runs", first.name):
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    assert main(["clean", "--yes"]) == 2
    shown = capsys.readouterr()
    assert f"Removed {second.name}\nRemoved 1 run," in shown.out
    assert f"1 run could not be removed: runs/{first.name} (Permission denied)" in shown.err
    assert not second.exists()
