"""An error in a user's component, as one sentence that names it; the error itself stays the sentence's cause."""

import contextlib
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator
from types import FrameType

import torch

from structpred.errors import CodeError, StructpredError

_OURS = {"structpred", "torch", "lightning_fabric", "builtins", *sys.stdlib_module_names}


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


def foreign(classes: Iterable[type]) -> set[str]:
    """The modules of classes and their bases that are of a user: neither ours, nor Python's, nor PyTorch's."""
    names = {base.__module__ for cls in classes for base in cls.__mro__}
    return {name for name in names if name.partition(".")[0] not in _OURS}


def out_of_memory(error: BaseException) -> bool:
    """True where memory was wanted, of a device or of the machine."""
    wanted = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return wanted or "DefaultCPUAllocator: can't allocate memory" in str(error)


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
