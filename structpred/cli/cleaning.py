"""``structpred clean``."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.prompt import Confirm

from structpred.config import coerce
from structpred.display import show_table
from structpred.errors import ConfigError, RunError
from structpred.runs import Folder


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
        """Show, ask, remove."""
        coerce(self.older_than, float, "--older-than")
        chosen = [folder for folder in self._runs() if self._matches(folder)]
        if not chosen:
            console.print("Nothing to remove")
            return
        sizes = {folder.path: _size(folder) for folder in chosen}
        rows = [_row(folder, sizes[folder.path]) for folder in chosen]
        show_table(console, ("run", "task", "objective", "seed", "state", "size", "last touched"), rows)
        if self.yes or _agreed(f"Remove {_runs(len(chosen))} ({_megabytes(sum(sizes.values()))})?", console):
            removed = [folder.path for folder in chosen if _remove(folder, console)]
            console.print(f"Removed {_runs(len(removed))}, {_megabytes(sum(sizes[path] for path in removed))}")

    def _runs(self) -> list[Folder]:
        if not self.root.is_dir():
            raise RunError(f"{self.root}: there is no such folder; name the folder of run folders with --root")
        return [Folder(path) for path in sorted(self.root.iterdir()) if Folder(path).experiment.exists()]

    def _matches(self, folder: Folder) -> bool:
        old = time.time() - _touched(folder) >= self.older_than * 86400
        return old and not (self.unfinished and folder.finished)


def _agreed(question: str, console: Console) -> bool:
    try:
        return Confirm.ask(question, default=False, console=console)
    except EOFError:
        raise ConfigError("nobody answered, so nothing was removed; add --yes to remove without asking") from None


def _remove(folder: Folder, console: Console) -> bool:
    """Remove a run, unless a process is training it."""
    try:
        with FileLock(folder.path / ".lock", timeout=0):
            shutil.rmtree(folder.path)
    except Timeout:
        console.print(f"Kept {folder.path.name}: a process is training it")
        return False
    return True


def _row(folder: Folder, size: int) -> tuple[str, ...]:
    state = "finished" if folder.finished else "unfinished"
    touched = time.strftime("%Y-%m-%d %H:%M", time.localtime(_touched(folder)))
    return (folder.path.name, *_names(folder), state, _megabytes(size), touched)


def _names(folder: Folder) -> tuple[str, str, str]:
    try:
        experiment = json.loads(folder.experiment.read_text(encoding="utf-8"))
        return experiment["task"]["type"], experiment["objective"]["type"], str(experiment["seed"])
    except (ValueError, KeyError, TypeError):  # damaged, and so all the more worth removing
        return "?", "?", "?"


def _size(folder: Folder) -> int:
    return sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())


def _touched(folder: Folder) -> float:
    return max(path.stat().st_mtime for path in folder.path.iterdir())


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
