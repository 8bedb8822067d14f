"""Everything needed to go on, in one file that is never half-written and holds no code."""

import io
from pathlib import Path
from typing import Any

import torch

from structpred.errors import RunError
from structpred.files import write_atomically

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Write a checkpoint beside the old one, then take its place."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def load(path: Path) -> State:
    """Read a checkpoint; tensors and plain values only, no pickled code is run.

    Raises:
        RunError: the file is damaged.
    """
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(f"{path}: the checkpoint cannot be read ({error}); delete it to start this run again") from error
    return state
