"""Checkpoints: files that are never half-written, contain no code and detect damage."""

import hashlib
import io
import itertools
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from structpred.errors import RunError
from structpred.files import replacing

State = dict[str, Any]

_HEADER = b"structpred checkpoint, SHA-256 "
_DIGITS = 64


class DamagedCheckpointWarning(RuntimeWarning):
    """The newest checkpoint cannot be read, so the one before it is used."""


def save(path: Path, state: State, *, keep: int = 2) -> None:
    """Write a checkpoint beside the newest one, then replace it; the old one is kept as its predecessor.

    Args:
        path: the path of the latest checkpoint.
        state: tensors and plain values.
        keep: the number of checkpoints to keep, including this one.

    Raises:
        RunError: the file system refuses, as on a full disk; the earlier checkpoints are still there.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    try:
        with replacing(path) as stream:
            stream.write(_HEADER + hashlib.sha256(content).hexdigest().encode() + b"\n")
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())  # the new checkpoint is on disk before the older ones are touched
            _age(path, keep)
    except OSError as error:
        raise RunError(
            f"{path}: the checkpoint cannot be written ({error.strerror}); the one before it is kept, and once there "
            "is room the same command resumes from there"
        ) from error


def newest(path: Path) -> State:
    """The newest undamaged checkpoint; warns if that is not the newest one.

    Raises:
        RunError: all are damaged.
    """
    problem: RunError | None = None
    for each in itertools.chain([path], _older(path)):
        try:
            state = load(each)
        except RunError as error:
            problem = problem or error
            continue
        if problem is not None:
            warnings.warn(f"{problem.args[0].partition(';')[0]}; resuming from {each}", DamagedCheckpointWarning, 2)
        return state
    assert problem is not None
    raise problem


def load(path: Path) -> State:
    """Read a checkpoint of tensors and plain values; no pickled code is run.

    Raises:
        RunError: the file is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: the checkpoint cannot be read ({error.strerror})") from error
    try:
        return decoded(_checked(content))
    except ValueError as error:
        raise RunError(f"{path}: the checkpoint cannot be read ({error}); delete it to start this run again") from error


def decoded(content: bytes) -> State:
    """Load what `torch.save` wrote: tensors and plain values only, no pickled code is run.

    Raises:
        ValueError: it is damaged or something else.
    """
    if not content:
        raise ValueError("it is empty")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of any class; some messages suggest running code from the file
        raise ValueError("it is damaged, or holds something other than tensors and plain values") from error
    if not isinstance(state, dict):
        raise ValueError("it holds something other than tensors by name")
    return state


def remove(path: Path) -> None:
    """Remove all checkpoints."""
    for each in all_of(path):
        each.unlink(missing_ok=True)


def all_of(path: Path) -> list[Path]:
    """All existing checkpoints, the newest last."""
    return sorted(path.parent.glob(f"{path.stem}*{path.suffix}"), key=lambda each: each.name == path.name)


def _checked(content: bytes) -> bytes:
    """Verify the content and strip the header; files of weights have none, and `torch.load` checks those."""
    if not content.startswith(_HEADER):
        return content
    start = len(_HEADER) + _DIGITS + 1
    if hashlib.sha256(content[start:]).hexdigest().encode() != content[len(_HEADER) : start - 1]:
        raise ValueError("its content does not match its checksum")
    return content[start:]


def _older(path: Path) -> Iterator[Path]:
    """The existing checkpoints before the newest, the latest first."""
    return itertools.takewhile(Path.exists, (_before(path, age) for age in itertools.count(1)))


def _before(path: Path, age: int) -> Path:
    return path if age == 0 else path.with_suffix(f".{age}{path.suffix}")


def _age(path: Path, keep: int) -> None:
    """Rename every checkpoint to its predecessor's name; ``path`` exists at any moment."""
    for surplus in list(_older(path))[keep - 1 :]:
        surplus.unlink()
    for age in range(keep - 1, 0, -1):
        younger = _before(path, age - 1)
        if younger.exists():
            _copy(younger, _before(path, age))


def _copy(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if the file system has no hard links."""
    beside = target.with_name(f".{target.name}.unfinished")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:
        shutil.copyfile(source, beside)
    beside.replace(target)
