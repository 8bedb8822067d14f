"""Everything needed to go on, in files that are never half-written, hold no code and notice any damage."""

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
    """The newest checkpoint cannot be read, and the one before it is used."""


def save(path: Path, state: State, *, keep: int = 2) -> None:
    """Write a checkpoint beside the old one, then take its place; the old one becomes the one before it.

    Args:
        path: the newest checkpoint.
        state: tensors and plain values.
        keep: how many of the latest are kept, this one included.

    Raises:
        RunError: the file system refuses, as when the disk is full; what was there before is still there.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    try:
        with replacing(path) as stream:
            stream.write(_HEADER + hashlib.sha256(content).hexdigest().encode() + b"\n")
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())  # the new one is safe before anything happens to the older ones
            _age(path, keep)
    except OSError as error:
        raise RunError(
            f"{path}: the checkpoint cannot be written ({error.strerror}); the one before it is kept, and once there "
            "is room the same command goes on from there"
        ) from error


def newest(path: Path) -> State:
    """The newest checkpoint that is whole; warns where that is not the very newest.

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
            warnings.warn(f"{problem.args[0].partition(';')[0]}; going on from {each}", DamagedCheckpointWarning, 2)
        return state
    assert problem is not None
    raise problem


def load(path: Path) -> State:
    """Read a checkpoint; tensors and plain values only, no pickled code is run.

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
    """What `torch.save` wrote; tensors and plain values only, no pickled code is run.

    Raises:
        ValueError: it is damaged, or is something else.
    """
    if not content:
        raise ValueError("it is empty")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, whose words are for those who wrote the file: some say to run its code
        raise ValueError("it is damaged, or holds something other than tensors and plain values") from error
    if not isinstance(state, dict):
        raise ValueError("it holds something other than tensors by name")
    return state


def remove(path: Path) -> None:
    """Remove the newest checkpoint and all before it."""
    for each in all_of(path):
        each.unlink(missing_ok=True)


def all_of(path: Path) -> list[Path]:
    """The newest checkpoint and those before it, as far as there are any, the oldest first."""
    return sorted(path.parent.glob(f"{path.stem}*{path.suffix}"), key=lambda each: each.name == path.name)


def _checked(content: bytes) -> bytes:
    """The content without its header, which files of weights do not have; `torch.load` finds out about those."""
    if not content.startswith(_HEADER):
        return content
    start = len(_HEADER) + _DIGITS + 1
    if hashlib.sha256(content[start:]).hexdigest().encode() != content[len(_HEADER) : start - 1]:
        raise ValueError("its content is not what was written")
    return content[start:]


def _older(path: Path) -> Iterator[Path]:
    """The checkpoints before the newest that there are, the youngest first."""
    return itertools.takewhile(Path.exists, (_before(path, age) for age in itertools.count(1)))


def _before(path: Path, age: int) -> Path:
    return path if age == 0 else path.with_suffix(f".{age}{path.suffix}")


def _age(path: Path, keep: int) -> None:
    """Give every checkpoint the name of the one before it; there is one called ``path`` at any moment."""
    for surplus in list(_older(path))[keep - 1 :]:
        surplus.unlink()
    for age in range(keep - 1, 0, -1):
        younger = _before(path, age - 1)
        if younger.exists():
            _copy(younger, _before(path, age))


def _copy(source: Path, target: Path) -> None:
    """A second name for the same content, or a copy where the file system knows no second names."""
    beside = target.with_name(f".{target.name}.unfinished")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:
        shutil.copyfile(source, beside)
    beside.replace(target)
