"""A config as Python source that makes it again."""

import itertools
import keyword
import math
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from structpred.config import Config, hints
from structpred.experiment import Experiment


def local_names(classes: Sequence[type], taken: Collection[str]) -> dict[type, str]:
    """What each class is called in a module that has other names already; equal names are told apart by numbers."""
    names: dict[type, str] = {Experiment: "Experiment"}
    for each in classes:
        outer, dot, inner = each.__qualname__.partition(".")
        used = {*taken, *(name.partition(".")[0] for name in names.values())}
        number = next(i for i in itertools.count(1) if (outer if i == 1 else f"{outer}_{i}") not in used)
        names.setdefault(each, f"{outer if number == 1 else f'{outer}_{number}'}{dot}{inner}")
    return names


def imported(each: type, names: Mapping[type, str]) -> tuple[str, str, str]:
    """The module of a class, what to import from it, and under which name."""
    return _home(each), each.__qualname__.partition(".")[0], names[each].partition(".")[0]


def _home(each: type) -> str:
    """The module; a script's own name where the class was defined in the script that runs."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).stem if each.__module__ == "__main__" and file else each.__module__


def expression(value: object, names: Mapping[type, str], indent: int = 0) -> str:
    """Python that makes a config again, with the fields that are not at their defaults."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if not isinstance(value, Config):
        if isinstance(value, tuple) and any(isinstance(item, Config | float) for item in value):
            return f"({', '.join(expression(item, names, indent) for item in value)},)"
        return repr(value)
    given = [each for each in fields(value) if each.name in hints(type(value)) and not _is_default(value, each)]
    inner = " " * (indent + 4)
    lines = [f"{inner}{each.name}={expression(getattr(value, each.name), names, indent + 4)},\n" for each in given]
    flat = ", ".join(line.strip().removesuffix(",") for line in lines)
    name = names[type(value)]
    if len(flat) + len(name) + indent < 90 and "\n" not in flat:
        return f"{name}({flat})"
    return f"{name}(\n{''.join(lines)}{' ' * indent})"


def _is_default(config: Config, field: "Field[Any]") -> bool:
    value = getattr(config, field.name)
    return field.default is not MISSING and value == field.default and type(value) is type(field.default)


def imports(needed: set[tuple[str, str, str]]) -> Iterator[str]:
    """Lines of imports, those of the standard library first, and last what Python's syntax cannot import."""
    by_home: dict[str, list[tuple[str, str]]] = {}
    for home, name, local in sorted(needed):
        by_home.setdefault(home, []).append((name, local))
    unwritable = {home: by_home.pop(home) for home in list(by_home) if not _can_be_written(home)}
    standard = [f"from {home} import {_listed(by_home.pop(home))}" for home in ("dataclasses",) if home in by_home]
    if unwritable:
        standard.append("from importlib import import_module")
    if standard:
        yield from (*standard, "")
    for home, names in by_home.items():
        yield f"from {home} import {_listed(names)}"
    for home, names in unwritable.items():  # such as my-space.py
        yield from ("", *(f"{local} = import_module({home!r}).{name}" for name, local in names))


def _can_be_written(home: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in home.split("."))


def _listed(names: Sequence[tuple[str, str]]) -> str:
    return ", ".join(dict.fromkeys(name if name == local else f"{name} as {local}" for name, local in names))
