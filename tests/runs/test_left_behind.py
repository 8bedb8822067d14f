"""What a run leaves in its folder when it fails, when it is killed, and when it may not write."""

import errno
import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from structpred import compare
from structpred.distributions.protocols import LogProb
from structpred.engine.coordination import ProgressFile
from structpred.engine.worker import Request, train_run
from structpred.errors import CodeError, Interrupted, RunError
from structpred.experiment import Experiment
from structpred.files import os_error_message, write_atomically
from structpred.models import Seq2Seq
from structpred.objective import Losses, Objective, StepContext
from structpred.objectives import LabelSmoothing, MaximumLikelihood
from structpred.registry import objectives, tasks
from structpred.runs import Folder, Run, tidy, train
from structpred.runs.lock import strangers
from structpred.sequences import Sequences
from structpred.task import Splits
from structpred.training import Trainer
from structpred.training.checkpoint import DamagedCheckpointWarning
from structpred.training.monitoring import JsonlLogger, Progress
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=4, hidden=8),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1, batch_tokens=40),
)


@objectives.register("test-mistaken")
@dataclass(frozen=True, kw_only=True)
class Mistaken(Objective):
    requires = (LogProb,)

    def losses(self, p: LogProb, targets: Sequences, context: StepContext) -> Losses:
        raise ZeroDivisionError


FAILING = replace(TINY, objective=Mistaken())


def folder_of(experiment: Experiment, root: Path) -> Folder:
    return Folder(root / experiment.identity(experiment.task.load().digest)[:16])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(TINY, root=tmp_path_factory.mktemp("original")).folder.path


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Folder:
    return Folder(Path(shutil.copytree(original, tmp_path / original.name)))


def fail(root: Path) -> None:
    with pytest.raises(CodeError):
        train(FAILING, root=root)


@pytest.mark.parametrize("workers", [None, 1])
def test_what_stands_in_the_way_of_a_run_is_named_and_stays(workers: int | None, tmp_path: Path) -> None:
    def again(root: Path) -> None:
        if workers is None:
            train(TINY, root=root)
        else:
            compare({"tiny": TINY, "other": replace(TINY, objective=LabelSmoothing())}, seeds=[0], root=root, workers=1)

    place = Folder(train(TINY, root=tmp_path / "first").folder.path)
    root = tmp_path / "second"
    root.mkdir()
    file = root / place.path.name
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=r"must be the folder of a run, but it is something else; move it away"):
        again(root)
    assert file.read_text(encoding="utf-8") == "mine"
    file.unlink()
    for name in (".lock", "log.jsonl", "checkpoint.pt"):
        (file / name).mkdir(parents=True)
        with pytest.raises(RunError, match=rf"{re.escape(name)} must be a file of the run, but it is a folder; move"):
            again(root)
        (file / name).rmdir()
    again(root)


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(TINY, root=tmp_path)

    def refused(path: Path, *arguments: object, **more: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    other = replace(TINY, trainer=Trainer(epochs=2))
    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(RunError, match=r"cannot be made \(Read-only file system\); name another root"):
        train(other, root=tmp_path)
    with pytest.raises(RunError, match=r"no run can be trained there \(Read-only file system\); name another root"):
        compare({"tiny": other}, seeds=[0], root=tmp_path, workers=1)
    assert compare({"tiny": TINY}, seeds=[0], root=tmp_path).results["tiny"] == (run.result,)
    monkeypatch.undo()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    run.folder.result.unlink()
    with pytest.raises(RunError, match=r"must be a folder that can be written, but it is read-only; name another"):
        train(TINY, root=tmp_path)


def test_a_run_resumes_from_the_checkpoint_before_if_the_newest_is_gone(tmp_path: Path) -> None:
    looks = iter(range(6))
    long = replace(TINY, trainer=Trainer(epochs=6, batch_tokens=40))
    with pytest.raises(Interrupted):
        train(long, root=tmp_path / "one", stopping=lambda: next(looks) == 5, checkpoint_every=0.0)
    (folder,) = (tmp_path / "one").iterdir()
    assert (folder / "checkpoint.1.pt").exists()
    (folder / "checkpoint.pt").unlink()
    with pytest.warns(DamagedCheckpointWarning, match=r"checkpoint\.1\.pt"):
        resumed = train(long, root=tmp_path / "one")
    undisturbed = train(long, root=tmp_path / "two")
    assert [each.loss for each in resumed.result.history] == [each.loss for each in undisturbed.result.history]


def test_a_run_that_fails_at_once_leaves_no_folder(tmp_path: Path) -> None:
    fail(tmp_path)
    assert list(tmp_path.iterdir()) == []


@tasks.register("test-keeping")
@dataclass(frozen=True, kw_only=True)
class Keeping(Copying):
    """A task that learns something from its training data."""

    def load(self) -> Splits:
        return replace(super().load(), kept={"learnt": b"abc"})


def test_what_a_task_has_learnt_is_kept_with_a_finished_run_and_no_other(tmp_path: Path) -> None:
    keeping = replace(FAILING, task=Keeping())
    with pytest.raises(CodeError):
        train(keeping, root=tmp_path)
    assert list(tmp_path.iterdir()) == []
    run = train(replace(keeping, objective=MaximumLikelihood(), trainer=Trainer(epochs=1, max_steps=1)), root=tmp_path)
    assert run.kept("learnt") == b"abc"
    assert strangers(run.folder) == []
    run.folder.kept("learnt").write_bytes(b"abx")
    with pytest.raises(RunError, match=r"kept\.learnt is not what was written when the run ended"):
        run.kept("learnt")


def test_what_lay_there_before_a_failed_run_stays(tmp_path: Path) -> None:
    folder = folder_of(FAILING, tmp_path).path
    (folder / "mine").mkdir(parents=True)
    for name in ("notes.txt", "mine/more.txt", "weights.pt", "traceback.txt"):
        (folder / name).write_text("precious", encoding="utf-8")
    before = contents(folder)
    fail(tmp_path)
    assert contents(folder) == before


def test_what_a_killed_attempt_left_goes_with_the_next_that_fails(tmp_path: Path) -> None:
    """Before its first checkpoint it has written nothing that anybody could use."""
    folder = folder_of(FAILING, tmp_path).path
    folder.mkdir()
    for name in ("record.json", "experiment.json", "data.json", "log.jsonl", ".lock", ".record.json.0.unfinished"):
        (folder / name).touch()
    fail(tmp_path)
    assert not folder.exists()


LEFT = ("checkpoint.pt", "checkpoint.1.pt", ".checkpoint.1.pt.unfinished", ".checkpoint.pt.0f.unfinished", ".lock")


def leave(run: Folder) -> None:
    """As a process leaves it that is killed at the very end."""
    for name in LEFT:
        (run.path / name).write_bytes(b"left")


@pytest.mark.parametrize("visit", ["train", "compare", "clean"])
def test_the_next_visit_removes_what_a_kill_at_the_very_end_left(
    visit: str, run: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    from structpred.cli import main

    before = contents(run.path)
    leave(run)
    if visit == "train":
        train(TINY, root=run.path.parent)
    elif visit == "compare":
        compare({"tiny": TINY}, seeds=(0,), root=run.path.parent)
    else:
        assert main(["clean", "--root", str(run.path.parent), "--older-than", "1"]) == 0
    assert contents(run.path) == before
    del capsys


def test_what_somebody_is_at_is_left_alone(run: Folder) -> None:
    leave(run)
    with FileLock(run.path / ".lock"):
        tidy(run)
        assert {*LEFT} <= {*contents(run.path)}


def test_a_traceback_of_an_earlier_attempt_goes_with_success(tmp_path: Path) -> None:
    folder = folder_of(TINY, tmp_path)
    folder.path.mkdir()
    folder.traceback.write_text("of an earlier attempt", encoding="utf-8")
    train(TINY, root=tmp_path)
    assert not folder.traceback.exists()


def test_a_finished_run_needs_no_write_access(run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom no permission stops: so the calls themselves are refused."""
    leave(run)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(arguments[0]))

    before, opened = contents(run.path), os.open
    for name in ("unlink", "mkdir", "rmdir", "touch"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "open", lambda path, flags, *rest, **options: (
        refuse(path) if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else opened(path, flags, *rest, **options)
    ))  # fmt: skip
    assert train(TINY, root=run.path.parent).result == Run.load(run.path).result
    monkeypatch.undo()
    assert contents(run.path) == before


def test_a_full_disk_is_named_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "a.json", "{}")
    assert os_error_message(caught.value) == f"{tmp_path / 'a.json'}: No space left on device"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_log_and_progress_on_a_full_disk() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        JsonlLogger(Path("/dev/full")).log_metrics({"loss": 1.0}, 1)
    assert os_error_message(caught.value) == "/dev/full: No space left on device"


def test_progress_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    ProgressFile(Folder(tmp_path / "nowhere"))(Progress("testing"))


def test_a_log_that_was_damaged_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1, "epoch": 1}\nnull\n\xff\n{"step"\n[1]\n{"step": 9, "epoch": 1}\n{"step": 2')
    JsonlLogger(path).rewind(5, 1)
    assert path.read_text(encoding="utf-8") == '{"step": 1, "epoch": 1}\n'


def test_a_damaged_run_stops_a_comparison_before_it_begins(run: Folder) -> None:
    run.result.write_text("null", encoding="utf-8")
    with pytest.raises(RunError, match=r"result\.json"):
        compare({"tiny": TINY}, seeds=(0, 1), root=run.path.parent)
    assert json.loads(run.record.read_text(encoding="utf-8"))["identity"].startswith(run.path.name)
    assert [path.name for path in run.path.parent.iterdir()] == [run.path.name]


def test_a_worker_with_other_code_than_the_comparison_says_so(tmp_path: Path) -> None:
    """As on a cluster whose workers imported a file before it was edited: their identity is another."""
    permit = tmp_path / "permit"
    permit.touch()
    outcome = train_run(Request(TINY, tmp_path, "cpu", Folder(tmp_path / ("0" * 16)), permit))
    assert re.search("instead of .*, because its code or data differ from the driver's", outcome.failure)
