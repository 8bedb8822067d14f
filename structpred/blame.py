"""Turn an exception in a user's code into one sentence with file and line; the exception stays its cause."""

import contextlib
import re
import sys
import sysconfig
import traceback
from collections.abc import Collection
from pathlib import Path
from types import FrameType, TracebackType

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
_CALL = re.compile(r"(?P<function>[\w.<>]+)\(\) (takes|missing|got an unexpected|got multiple)\b")
"""The beginning of Python's message about a call that does not fit a function's parameters."""
_GENERATED = ("<frozen ", "<string>", "<__array_function__", "<attrs ")


class blaming(contextlib.AbstractContextManager[None]):
    """Within the block, turn exceptions from a user's code into a `CodeError`.

    Any `StructpredError`, lack of memory, Ctrl-C and errors that involve no line of these modules pass through
    unchanged. A call that does not fit the parameters of a method of these modules is blamed as well, although the
    line of the call is ours. (This context is no generator, because `contextlib` lets a ``StopIteration`` pass if the
    exception that replaces it has it for a cause.)

    Args:
        modules: the modules that define the user's components.

    Raises:
        CodeError: an exception, ``SystemExit`` included, passed through a line of these modules; it is the cause.
    """

    def __init__(self, modules: Collection[str]) -> None:
        self.modules = modules

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Replace the exception, if there is one to replace."""
        if error is None or isinstance(error, StructpredError) or _interrupts(error) or out_of_memory(error):
            return
        said = _sentence(error, self.modules) or _misfit(error, self.modules)
        if said is not None:
            raise CodeError(said) from error


def _interrupts(error: BaseException) -> bool:
    """True for Ctrl-C, also within a group of exceptions."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)


def _misfit(error: BaseException, modules: Collection[str]) -> str | None:
    """The sentence for a call that does not fit the parameters of a function of these modules; None for others.

    Python raises this error in the line of the call, which is ours, so that only its text names the function.
    """
    found = _CALL.match(str(error)) if isinstance(error, TypeError) else None
    if found is None or not any(_defines(name, found["function"]) for name in modules):
        return None
    return (
        f"{found['function']} cannot be called as it is: {' '.join(str(error).split())}; give it the parameters that "
        "the method of its base class has"
    )


def _defines(module: str, function: str) -> bool:
    """Whether a module, or a registered class of it, has a function of this qualified name."""
    owner, _, name = function.rpartition(".")
    classes = [cls for cls in foreign_classes() if cls.__module__ == module and cls.__qualname__ == owner]
    if any(name in vars(cls) for cls in classes):
        return True
    found: object = sys.modules.get(module)
    for part in function.split("."):
        found = getattr(found, part, None)
    return getattr(found, "__module__", None) == module


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
