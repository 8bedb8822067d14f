"""The commands that look around and tidy up."""

import inspect
import json
import shutil
import time
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.prompt import Confirm
from rich.table import Table

from structpred.config import hints
from structpred.errors import ConfigError, RunError
from structpred.registry import FAMILIES, nearest
from structpred.runs import Folder


@dataclass(frozen=True)
class List:
    """List every task, model, objective, reward and payoff that is installed, with the names to use.

    Examples:
      structpred list
      structpred list objective
    """

    family: Annotated[str | None, tyro.conf.Positional] = None
    """Only this family."""

    def run(self, console: Console) -> None:
        """Print a table."""
        families = {registry.family: registry for registry in FAMILIES}
        if self.family is not None and self.family not in families:
            raise ConfigError(f"there is no family named {self.family!r}; {nearest(self.family, list(families))}")
        table = Table(box=None)
        table.add_column("family")
        table.add_column("name", style="bold", no_wrap=True)
        table.add_column("what it is")
        for registry in [families[self.family]] if self.family else FAMILIES:
            for name in registry:
                table.add_row(registry.family, name, escape(_first_line(registry[name])))
        console.print(table)


@dataclass(frozen=True)
class Describe:
    """Explain one task, model, objective, reward or payoff: what it computes, its fields and their defaults.

    Examples:
      structpred describe rml
    """

    name: Annotated[str, tyro.conf.Positional]
    """A name from `structpred list`."""

    def run(self, console: Console) -> None:
        """Print every family's class of that name."""
        found = [(registry.family, registry[self.name]) for registry in FAMILIES if self.name in registry]
        if not found:
            names = sorted({name for registry in FAMILIES for name in registry})
            raise ConfigError(f"nothing is named {self.name!r}; {nearest(self.name, names)}")
        for family, cls in found:
            console.print(f"[bold]{self.name}[/bold] ({family}, {cls.__module__}.{cls.__qualname__})\n")
            console.print(escape(inspect.getdoc(cls) or ""), soft_wrap=True)
            console.print()
            console.print(_fields(cls))


@dataclass(frozen=True)
class Clean:
    """Remove run folders; shows them with their sizes and asks first.

    Examples:
      structpred clean
      structpred clean --older-than 30
      structpred clean --unfinished --yes
    """

    root: Path = Path("runs")
    """The folder of run folders."""

    older_than: float = 0.0
    """Only runs untouched for so many days."""

    unfinished: bool = False
    """Only runs that were not finished."""

    yes: bool = False
    """Do not ask."""

    def run(self, console: Console) -> None:
        """List, ask, remove."""
        chosen = [folder for folder in self._runs() if self._matches(folder)]
        if not chosen:
            console.print(f"{self.root}: no such runs")
            return
        table = Table("run", "task", "objective", "seed", "state", "size", "last touched")
        for folder in chosen:
            table.add_row(*_row(folder))
        console.print(table)
        total = sum(map(_size, chosen))
        if self.yes or Confirm.ask(f"Remove these {len(chosen)} runs ({_megabytes(total)})?", default=False):
            for folder in chosen:
                shutil.rmtree(folder.path)
            console.print(f"Removed {len(chosen)} runs, {_megabytes(total)}")

    def _runs(self) -> list[Folder]:
        if not self.root.is_dir():
            raise RunError(f"{self.root}: there is no such folder; name the folder of run folders with --root")
        return [Folder(path) for path in sorted(self.root.iterdir()) if Folder(path).experiment.exists()]

    def _matches(self, folder: Folder) -> bool:
        old = time.time() - _touched(folder) >= self.older_than * 86400
        return old and not (self.unfinished and folder.finished)


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def _fields(cls: type) -> Table:
    table = Table("field", "type", "default")
    for field in fields(cls):  # type: ignore[arg-type]  # every registered class is a dataclass
        hint = hints(cls)[field.name]
        shown = inspect.formatannotation(hint).replace("typing.", "").replace("structpred.config.", "")
        table.add_row(field.name, escape(shown), "required" if field.default is MISSING else escape(str(field.default)))
    return table


def _row(folder: Folder) -> tuple[str, ...]:
    experiment = json.loads(folder.experiment.read_text(encoding="utf-8"))
    state = "finished" if folder.finished else "unfinished"
    touched = time.strftime("%Y-%m-%d %H:%M", time.localtime(_touched(folder)))
    names = (experiment["task"]["type"], experiment["objective"]["type"], str(experiment["seed"]))
    return (folder.path.name, *names, state, _megabytes(_size(folder)), touched)


def _size(folder: Folder) -> int:
    return sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())


def _touched(folder: Folder) -> float:
    return max(path.stat().st_mtime for path in folder.path.iterdir())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
