"""An error in a user's code, as one sentence with file and line; the error itself stays the sentence's cause."""

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
"""The environment variable that shows the traceback of an error beside its sentence."""

_HERE = str(Path(__file__).parent)
_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED = {"site-packages", "dist-packages"}
_NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "Storage size calculation overflowed",
)
"""How PyTorch's errors without a class of their own begin to say it."""
_GENERATED = ("<frozen ", "<string>", "<__array_function__", "<attrs ")


@contextlib.contextmanager
def blaming(modules: Collection[str]) -> Iterator[None]:
    """Turn an exception that comes from a user's code into a sentence, for the time of a block.

    What `StructpredError` says already, a lack of memory, and errors that no line of these modules had a part in are
    left as they are.

    Args:
        modules: where the user's components are defined.

    Raises:
        CodeError: an exception, or ``SystemExit``, left a line of these modules; it is the cause.
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
    """True where memory was wanted, of a device or of the machine."""
    torch = sys.modules.get("torch")  # an error of PyTorch's needs it imported; nobody else need wait for that
    wanted = isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))
    return wanted or any(words in str(error) for words in _NO_MEMORY)


def users_line(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost line of the traceback that a user wrote: neither ours, nor Python's, nor of an installed library.

    A class that an installed package registered counts as the user's. None where no such line was involved.
    """
    registered = {_file_of(cls) for cls in foreign_classes()}
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame for frame in reversed(frames) if frame.filename in registered or _users(frame.filename)), None)


def told(error: BaseException) -> str:
    """Type, file, line and text of an error, preferably of the line that the user wrote."""
    if isinstance(error, SyntaxError):
        return f"a syntax error in line {error.lineno} of {error.filename}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    frame = users_line(error) or (frames[-1] if frames else None)
    place = "" if frame is None else f" in line {frame.lineno} of {frame.filename}"
    return f"{type(error).__name__}{place}" + (f": {error}" if str(error) else "")


def _sentence(error: BaseException, modules: Collection[str]) -> str | None:
    """None where no line of the modules had a part in the error."""
    called, line, inside = "", 0, False
    frame: FrameType | None = None
    for each, number in traceback.walk_tb(error.__traceback__):
        users = each.f_globals.get("__name__") in modules
        if users:
            called = called if inside else each.f_code.co_qualname  # what we called, not what that calls in turn
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


def _file_of(cls: type) -> str | None:
    return getattr(sys.modules.get(cls.__module__), "__file__", None)
