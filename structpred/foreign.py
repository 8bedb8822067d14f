"""Source digests of components from outside the package, as part of a run's identity.

The package's own components carry a version that is raised when their meaning changes. Users do not raise versions when
they edit a class between two runs, so the identity holds a digest of the source instead: of the whole file that defines
the class, because its functions and base classes matter too, and of the files of all base classes and metrics from
outside. For a class of ``__main__`` (a script, a notebook or an interactive session) only the class itself is digested,
because the rest changes all the time. Imports of such a file are not followed.
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
"""Prefix of the entry for a class whose source cannot be read."""

_OURS = {"structpred", "torch", "lightning_fabric", "builtins", *sys.stdlib_module_names}
_MAIN = {"__main__", "__mp_main__"}  # the name of the main module in a worker process


class UnreadableSourceWarning(UserWarning):
    """The source of a component cannot be read, so edits of it go unnoticed."""


def is_foreign(cls: type) -> bool:
    """True for a class of the user or another package, not of this one, Python or PyTorch."""
    return cls.__module__ in _MAIN or cls.__module__.partition(".")[0] not in _OURS


def modules_of(classes: Iterable[type]) -> set[str]:
    """The modules that define the foreign classes and foreign bases among these classes."""
    return {base.__module__ for cls in classes for base in cls.__mro__ if is_foreign(base)}


def digests(classes: Iterable[type]) -> tuple[str, ...]:
    """Source digests of the foreign classes and bases among these classes, for a run's identity.

    Warns about a class whose source cannot be read, such as one typed at the prompt of an older Python.
    """
    return tuple(dict.fromkeys(_entry(base) for cls in classes for base in cls.__mro__ if is_foreign(base)))


def remember(cls: type) -> None:
    """Digest a class as soon as it is defined: once its file is edited, it no longer matches the running code."""
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
        f"the source of {name} cannot be read, so a run made with it counts as the same run after an edit; "
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
    except (AttributeError, OSError, ValueError):  # not a plain file, such as a module in a zip archive
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
    if _defines(source, cls.__name__):  # Python 3.13 returns unrelated lines of the main file for typed code
        return source.encode()
    # in a notebook only functions know their cell
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
    """The source of the class of this name that encloses a function, from their notebook cell."""
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
