"""What messages are made of: an error of a user's own code with file and line, and text that a terminal only shows."""

import sys
import sysconfig
import traceback
from pathlib import Path

from structpred.registry import foreign_classes

TRACEBACK = "STRUCTPRED_TRACEBACK"
"""The environment variable that shows the traceback of an error beside its sentence."""

_HERE = str(Path(__file__).parent)
_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_INSTALLED = {"site-packages", "dist-packages"}
_GENERATED = ("<frozen ", "<string>", "<__array_function__", "<attrs ")


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


def printable(text: str) -> str:
    r"""The text with escapes for what a terminal would obey or UTF-8 cannot write.

    >>> print(printable("caf\xe9 \x1b[31m"))
    café \x1b[31m
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def _users(filename: str) -> bool:
    path = Path(filename)
    library = any(map(path.is_relative_to, (_HERE, *_STANDARD))) or not _INSTALLED.isdisjoint(path.parts)
    return not filename.startswith(_GENERATED) and not library


def _file_of(cls: type) -> str | None:
    return getattr(sys.modules.get(cls.__module__), "__file__", None)
