"""Turn an exception in a user's code into one sentence with file and line; the exception stays its cause."""

import contextlib
import sys
import sysconfig
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path
from types import FrameType

from structpred.errors import CodeError, StructpredError
from structpred.registry import foreign_classes

TRACEBACK = "STRUCTPRED_TRACEBACK"
"""Environment variable: show the traceback of an error besides its message."""

_HERE = str(Path(__file__).parent)
_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED = {"site-packages", "dist-packages"}
_NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "Storage size calculation overflowed",
)
"""Beginnings of PyTorch's out-of-memory messages without an exception class of their own."""
_GENERATED = ("<frozen ", "<string>", "<__array_function__", "<attrs ")


@contextlib.contextmanager
def blaming(modules: Collection[str]) -> Iterator[None]:
    """Within the block, turn exceptions from a user's code into a `CodeError`.

    Any `StructpredError`, lack of memory, and errors that involve no line of these modules pass through unchanged.

    Args:
        modules: the modules that define the user's components.

    Raises:
        CodeError: an exception or ``SystemExit`` passed through a line of these modules; it is the cause.
    """
    try:
        yield
    except StructpredError:
        raise
    except (Exception, SystemExit) as error:
        said = None if out_of_memory(error) else _sentence(error, modules)
        if said is None:
            raise
        raise CodeError(said) from error


def out_of_memory(error: BaseException) -> bool:
    """True for an error for lack of memory, on a device or in main memory."""
    torch = sys.modules.get("torch")  # not imported here: that takes seconds, and an error of PyTorch implies it
    wanted = isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))
    return wanted or any(words in str(error) for words in _NO_MEMORY)


def users_line(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost line of user code in a traceback: not ours, Python's, or an installed library's.

    A class registered by an installed package counts as the user's. None if there is no such line.
    """
    registered = {getattr(sys.modules.get(cls.__module__), "__file__", None) for cls in foreign_classes()}
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame for frame in reversed(frames) if frame.filename in registered or _users(frame.filename)), None)


def error_message(error: BaseException) -> str:
    """Type, file, line and text of an error, preferably at a line of user code."""
    if isinstance(error, SyntaxError):
        return f"a syntax error in line {error.lineno} of {error.filename}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = users_line(error) or (frames[-1] if frames else None)
    place = "" if frame is None else f" in line {frame.lineno} of {frame.filename}"
    return f"{type(error).__name__}{place}" + (f": {error}" if str(error) else "")


def _sentence(error: BaseException, modules: Collection[str]) -> str | None:
    """None if no line of the modules is involved."""
    called, line, inside = "", 0, False
    frame: FrameType | None = None
    for each, number in traceback.walk_tb(error.__traceback__):
        users = each.f_globals.get("__name__") in modules
        if users:
            called = called if inside else each.f_code.co_qualname  # our own call, not calls further in
            frame, line = each, number
        inside = users
    if frame is None:
        return None
    place = f"{called}, line {line} of {frame.f_code.co_filename},"
    text = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        return f"{place} tried to end the program by SystemExit({text})"
    return f"{place} failed with {type(error).__name__}" + (f": {text}" if text else "")


def _users(filename: str) -> bool:
    path = Path(filename)
    library = any(map(path.is_relative_to, (_HERE, *_STANDARD))) or not _INSTALLED.isdisjoint(path.parts)
    return not filename.startswith(_GENERATED) and not library
