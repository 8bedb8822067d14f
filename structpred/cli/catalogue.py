"""``structpred list`` and ``structpred describe``."""

import inspect
import shlex
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, get_args, get_origin

from rich.console import Console
from rich.text import Text

from structpred.capabilities import Grid, grid
from structpred.cli.commands import Describe, List
from structpred.config import Config, hints, registered_name
from structpred.display import show_table
from structpred.downloads import DataSet
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.registry import FAMILIES, nearest
from structpred.report.document import Column, Table
from structpred.report.markdown import table as markdown_table
from structpred.values import Interval


def show_list(given: List, console: Console) -> None:
    """Print a table of names."""
    if given.grid or given.markdown:
        if given.family is not None:
            raise ConfigError(f"the grid is of objectives, models and rewards, so leave out {given.family!r} or --grid")
        return show_grid(console, grid(), markdown=given.markdown)
    families = {registry.family: registry for registry in FAMILIES}
    if given.family is not None and given.family not in families:
        raise ConfigError(f"there is no family named {given.family!r}; {nearest(given.family, list(families))}")
    chosen = [families[given.family]] if given.family else FAMILIES
    rows = [(registry.family, name, _first_line(registry[name])) for registry in chosen for name in registry]
    return show_table(console, ("family", "name", "what it is"), rows)


def show_grid(console: Console, shown: Grid, *, markdown: bool) -> None:
    """Print which components can be combined, then why the others cannot."""
    heading, rows, notes = shown.table()
    if markdown:
        columns = tuple(Column(title, numeric=False) for title in heading)
        reasons = "".join(f"{number}. {reason}\n" for number, reason in enumerate(notes, start=1))
        console.file.write(f"{markdown_table(Table(columns, tuple(rows)))}\n")
        console.file.write(f"<details><summary>Why the rest cannot</summary>\n\n{reasons}\n</details>\n")
        return
    show_table(console, heading, rows)
    for number, reason in enumerate(notes, start=1):
        console.file.write(f"[{number}] {reason}\n")


def describe(given: Describe, console: Console) -> None:
    """Print the classes of that name in all families."""
    for name, family, cls in _named(given.name):
        console.print(Text(f"{name} ({family}, {cls.__module__}:{cls.__qualname__})\n", style="bold"), soft_wrap=True)
        console.print(Text(f"{inspect.getdoc(cls) or ''}\n"), soft_wrap=True)
        for base in cls.__mro__[1:]:
            if {field.name for field in fields(cls)} & set(vars(base).get("__annotations__", {})):
                console.print(Text(f"{base.__name__}: {inspect.getdoc(base) or ''}\n"), soft_wrap=True)
        if isinstance(origin := getattr(cls, "origin", None), DataSet):
            console.print(Text(f"Licence: {origin.licence}\nCite: {origin.citation}\n"), soft_wrap=True)
        rows = [(field.name, _kind(hints(cls)[field.name]), _shown(field.default)) for field in fields(cls)]
        if rows:
            show_table(console, ("field", "type", "default"), rows)


def _named(wanted: str) -> list[tuple[str, str, type[Config]]]:
    """Name, family and class of every component of this name, or else of this class name in any case.

    Raises:
        ConfigError: there is none.
    """
    registered = [(name, registry.family, registry[name]) for registry in FAMILIES for name in registry]
    exact = [entry for entry in registered if entry[0] == wanted]
    if exact:
        return exact
    settings = [(cls.__name__, "settings", cls) for cls in _settings()]
    spelt = [
        entry for entry in [*registered, *settings] if _plain(wanted) in map(_plain, (entry[0], entry[2].__name__))
    ]
    if spelt:
        return spelt
    families = [registry.family for registry in FAMILIES]
    if wanted.lower() in families:
        raise ConfigError(f"{wanted!r} is a whole family; see structpred list {shlex.quote(wanted.lower())}")
    names = sorted({name for name, _, _ in [*registered, *settings]})
    raise ConfigError(f"nothing is named {wanted!r}; {nearest(wanted, names)}")


def _settings() -> list[type[Config]]:
    """Every public config of this package without a family, such as `Trainer`."""
    found: list[type[Config]] = [Experiment]
    left: list[type[Config]] = [Config]
    while left:
        for cls in left.pop().__subclasses__():
            left.append(cls)
            own = cls.__module__.startswith("structpred.") and not cls.__name__.startswith("_")
            if own and cls.family is None and cls not in found:
                found.append(cls)
    return sorted(found, key=lambda cls: cls.__name__)


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _kind(hint: Any) -> str:
    """A readable name of a field's type."""
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        limits = [str(limit) for limit in arguments[1:] if isinstance(limit, Interval)]
        return " ".join([_kind(arguments[0]), *limits])
    if get_origin(hint) is Literal:
        return " or ".join(map(str, arguments))
    if get_origin(hint) is tuple:
        return f"several {_kind(arguments[0])}"
    if arguments:
        return " or ".join(_kind(each) for each in arguments)
    if isinstance(hint, type) and issubclass(hint, Config):
        return hint.__name__ if hint.family is None else hint.family.family
    return _WORDS[hint]


_WORDS: dict[Any, str] = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "null"}


def _shown(default: object) -> str:
    """A default as it is written on the command line."""
    if default is MISSING:
        return "required"
    if isinstance(default, Config):
        changed = ", ".join(f"{name}={_shown(value)}" for name, value in vars(default).items() if value is not None)
        name = type(default).__name__ if default.family is None else registered_name(default)
        return f"{name}({changed})" if changed else name
    return "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
