"""Models on the hub of Hugging Face, in its cache."""

import contextlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from structpred.errors import AbsentError
from structpred.pretrained.library import optional


def is_a_name(text: str) -> bool:
    """True if a model on the hub may be called so, as ``bert-base-cased`` or ``google/flan-t5-small``."""
    return re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", text) is not None


@cache
def downloaded(name: str, revision: str | None, files: tuple[str, ...]) -> Path:
    """The folder of a model in the hub's cache, downloaded unless it is there.

    Args:
        name: of the model on the hub.
        revision: branch, tag or commit; None takes the main branch.
        files: patterns of the files to download, which leave out any code.

    Raises:
        AbsentError: it cannot be downloaded.
    """
    hub = optional("huggingface_hub")
    bars = optional("huggingface_hub.utils")
    try:
        with _bars_in_a_terminal(bars):
            return Path(hub.snapshot_download(name, revision=revision, allow_patterns=[*files]))
    except (OSError, ValueError, RuntimeError) as error:  # those of the hub and of its connections are among them
        branch = revision or "its main branch"
        raise AbsentError(
            f"{name} must be a folder here or a model on the hub, but there is no such folder and {branch} cannot be "
            f"downloaded ({type(error).__name__}); give the path of a folder, or download it where there is a network"
        ) from None


@contextlib.contextmanager
def _bars_in_a_terminal(bars: ModuleType) -> Iterator[None]:
    hushed = not sys.stderr.isatty() and not bars.are_progress_bars_disabled()
    if hushed:
        bars.disable_progress_bars()
    try:
        yield
    finally:
        if hushed:
            bars.enable_progress_bars()
