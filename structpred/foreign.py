"""Components from outside the package: what their source was, as a part of a run's identity.

The package's own components carry a version, raised when their meaning changes. Nobody raises one for a class that a
user edits between two runs, so the identity holds a digest of the source itself: of the whole file that defines the
class, because the functions and base classes beside it count as well, and the same for each base class and metric from
outside. A class of ``__main__``, that is of a script, a notebook or an interactive session, has the source of the class
alone: everything else there is edited all the time. What such a file imports from other files is not followed.
"""

import ast
import hashlib
import inspect
import linecache
import sys
import textwrap
import types
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from weakref import WeakKeyDictionary

UNREADABLE = "unreadable: "
"""How the entry of a class begins whose source could not be read."""

_OURS = {"structpred", "torch", "lightning_fabric", "builtins", *sys.stdlib_module_names}
_MAIN = {"__main__", "__mp_main__"}  # the second is what the first is called in a worker process


class UnreadableSourceWarning(UserWarning):
    """The source of a component cannot be read, so that an edit of it goes unnoticed."""


def is_foreign(cls: type) -> bool:
    """True for a class of a user or another package: neither ours, nor Python's, nor PyTorch's."""
    return cls.__module__ in _MAIN or cls.__module__.partition(".")[0] not in _OURS


def modules_of(classes: Iterable[type]) -> set[str]:
    """The modules in which classes from outside the package, and their bases from outside, are defined."""
    return {base.__module__ for cls in classes for base in cls.__mro__ if is_foreign(base)}


def digests(classes: Iterable[type]) -> tuple[str, ...]:
    """What stands in a run's identity for the source of classes and their bases; nothing for those of the package.

    Warns of a class whose source cannot be read, such as one typed at the prompt of an older Python.
    """
    return tuple(dict.fromkeys(_entry(base) for cls in classes for base in cls.__mro__ if is_foreign(base)))


def remember(cls: type) -> None:
    """Take the digest of a class now, as it is defined: once the file is edited, it says no more what is running."""
    if is_foreign(cls):
        _DIGESTS[cls] = _digest(cls)


_DIGESTS: WeakKeyDictionary[type, str | None] = WeakKeyDictionary()


def _entry(cls: type) -> str:
    if cls not in _DIGESTS:
        remember(cls)
    found = _DIGESTS[cls]
    if found is not None:
        return found
    name = f"{cls.__module__}:{cls.__qualname__}"
    warnings.warn(
        f"the source of {name} cannot be read, so a run made with it is taken for the same after it was edited; "
        "define it in a file",
        UnreadableSourceWarning,
        stacklevel=2,
    )
    return UNREADABLE + name


def _digest(cls: type) -> str | None:
    module = sys.modules.get(cls.__module__)
    source = _class_source(cls) if module is None or cls.__module__ in _MAIN else _module_source(module)
    return None if source is None else hashlib.sha256(source.replace(b"\r\n", b"\n")).hexdigest()


def _module_source(module: types.ModuleType) -> bytes | None:
    try:
        return Path(module.__file__ or "").read_bytes()
    except (AttributeError, OSError, ValueError):  # in no file of its own, such as a module in a zip archive
        pass
    try:
        return inspect.getsource(module).encode()
    except (OSError, TypeError):
        return None


def _class_source(cls: type) -> bytes | None:
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        source = ""
    if _defines(source, cls.__name__):  # from 3.13 on, lines of the main program's file for whatever was typed
        return source.encode()
    # in a notebook only functions know the cell that they stand in
    return next((found for function in _functions(cls) if (found := _around(function, cls.__name__))), None)


def _defines(source: str, name: str) -> bool:
    try:
        body = ast.parse(textwrap.dedent(source)).body
    except (SyntaxError, ValueError):
        return False
    return len(body) == 1 and isinstance(body[0], ast.ClassDef) and body[0].name == name


def _functions(cls: type) -> Iterator[types.FunctionType]:
    for value in vars(cls).values():
        inner = getattr(value, "__func__", getattr(value, "fget", value))
        if isinstance(inner, types.FunctionType):
            yield inner


def _around(function: types.FunctionType, name: str) -> bytes | None:
    """The source of the class of that name around a function, from the cell that both stand in."""
    code = function.__code__
    cell = "".join(linecache.getlines(code.co_filename))
    try:
        nodes = list(ast.walk(ast.parse(cell)))
    except SyntaxError:
        return None
    line = code.co_firstlineno
    around = (node for node in nodes if isinstance(node, ast.ClassDef) and node.name == name)
    found = next((node for node in around if node.lineno <= line <= (node.end_lineno or 0)), None)
    return None if found is None else (ast.get_source_segment(cell, found) or "").encode() or None
