"""Checkpoints: whole or not at all, damage noticed, the one before as a fallback; and runs that are killed."""

import errno
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from structpred.errors import Interrupted, RunError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq
from structpred.objectives import MaximumLikelihood
from structpred.runs import Run, train
from structpred.training import Adam, Trainer, checkpoint
from structpred.training.checkpoint import DamagedCheckpointWarning
from tests.support.forked import forks
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.3),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=1e-2),
    trainer=Trainer(epochs=3, batch_tokens=40),
)


def flip(path: Path, place: float) -> None:
    """Change one bit, as disks do."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def numbered(number: int) -> checkpoint.State:
    return {"number": number, "weights": torch.full((100,), float(number))}


def weights(run: Run) -> dict[str, torch.Tensor]:
    return checkpoint.load(run.folder.weights)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def stop_after(steps: int) -> Callable[[], bool]:
    taken = iter(range(steps))
    return lambda: next(taken, None) is None


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_few_are_kept(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for number in range(5):
        checkpoint.save(path, numbered(number), keep=keep)
    names = ["checkpoint.pt", "checkpoint.1.pt", "checkpoint.2.pt"][:keep]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(names)
    assert [checkpoint.load(tmp_path / name)["number"] for name in names] == [4, 3, 2][:keep]
    checkpoint.remove(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_a_flipped_bit_anywhere_is_reported_and_the_one_before_is_used(place: float, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for number in range(2):
        checkpoint.save(path, numbered(number))
    flip(path, place)
    with pytest.warns(DamagedCheckpointWarning, match=r"checkpoint\.pt: .* cannot be read .*resuming from .*\.1\.pt"):
        assert checkpoint.newest(path)["number"] == 0
    flip(tmp_path / "checkpoint.1.pt", place)
    with pytest.raises(RunError, match=r"/checkpoint\.pt: the checkpoint cannot be read.*delete it"):
        checkpoint.newest(path)


def test_checkpoints_without_a_checksum_can_still_be_read(tmp_path: Path) -> None:
    torch.save(numbered(7), tmp_path / "checkpoint.pt")
    assert checkpoint.newest(tmp_path / "checkpoint.pt")["number"] == 7


def test_where_files_cannot_have_two_names_they_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for number in range(3):
        checkpoint.save(tmp_path / "checkpoint.pt", numbered(number))
    assert checkpoint.load(tmp_path / "checkpoint.1.pt")["number"] == 1


def test_a_full_disk_is_one_clear_line_and_leaves_the_older_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    for number in range(2):
        checkpoint.save(path, numbered(number))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"checkpoint\.pt: .*cannot be written \(No space left on device\).* resumes"):
        checkpoint.save(path, numbered(2))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint.1.pt", "checkpoint.pt"]
    assert [checkpoint.newest(path)["number"], checkpoint.load(tmp_path / "checkpoint.1.pt")["number"]] == [1, 0]


def test_a_run_goes_on_from_the_one_before_to_the_same_weights(tmp_path: Path) -> None:
    undisturbed = weights(train(TINY, root=tmp_path / "undisturbed"))
    for steps in (3, 4):
        with pytest.raises(Interrupted):
            train(TINY, root=tmp_path / "damaged", stopping=stop_after(steps))
    (folder,) = (tmp_path / "damaged").iterdir()
    flip(folder / "checkpoint.pt", 0.5)
    with pytest.warns(DamagedCheckpointWarning, match="its content does not match its checksum"):
        resumed = train(TINY, root=tmp_path / "damaged")
    assert equal(undisturbed, weights(resumed))
    assert not list(folder.glob("checkpoint*"))


def test_a_run_whose_disk_fills_up_goes_on_once_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = weights(train(TINY, root=tmp_path / "undisturbed"))
    with pytest.raises(Interrupted):
        train(TINY, root=tmp_path / "full", stopping=stop_after(3))
    sync, calls = os.fsync, iter(range(100))

    def full(descriptor: int) -> None:
        if next(calls) > 10:  # some checkpoints fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="No space left on device"):
            train(TINY, root=tmp_path / "full", checkpoint_every=0.0)
    (folder,) = (tmp_path / "full").iterdir()
    assert not list(folder.glob(".*.unfinished"))
    assert equal(undisturbed, weights(train(TINY, root=tmp_path / "full")))


HALF_WRITTEN = "*/.checkpoint.pt.*.unfinished"
LONGER = replace(TINY, trainer=Trainer(epochs=40, batch_tokens=40))


def train_longer(root: Path, begun: Event) -> None:
    begun.set()
    train(LONGER, root=root, checkpoint_every=0.0)


def killed(root: Path, wait: float, *, in_a_write: bool) -> bool:
    """Train in a process of its own and kill it after so many seconds, or once it writes; False where it ended before.

    A server that has no threads forks it: a fork of this process could wait for ever for a lock of one of its threads.
    """
    context = forks()
    before, begun = set(root.glob(HALF_WRITTEN)), context.Event()
    child = context.Process(target=train_longer, args=(root, begun))
    child.start()
    try:
        assert begun.wait(300), "the process never began"
        end, deadline = time.monotonic() + wait, time.monotonic() + 300
        while not set(root.glob(HALF_WRITTEN)) - before if in_a_write else time.monotonic() < end:
            if not child.is_alive():
                return False
            assert time.monotonic() < deadline, "the run neither writes nor ends"
        return True
    finally:
        child.kill()
        child.join()


@pytest.mark.slow(seconds=30)
@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="processes cannot be forked here"
)
def test_a_run_that_is_killed_at_random_moments_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed = weights(train(LONGER, root=tmp_path / "undisturbed"))
    root = tmp_path / "killed"
    moments = random.Random(0)
    for number in range(6):
        ended_too_early = "the run ended too early; give it more epochs"
        assert killed(root, moments.uniform(0.0, 0.6), in_a_write=bool(number % 2)), ended_too_early
    assert equal(undisturbed, weights(train(LONGER, root=root)))
