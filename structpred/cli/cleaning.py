"""``structpred clean``."""

import contextlib
import json
import os
import stat
import time
from pathlib import Path

from rich.console import Console
from rich.prompt import Confirm

from structpred.cli.commands import Clean
from structpred.display import show_table
from structpred.errors import Busy, ConfigError, RunError
from structpred.plain import plain
from structpred.runs.folder import Folder
from structpred.runs.lock import remove, strangers, tidy

BUSY = "a process is training it"


def run(given: Clean, console: Console) -> None:
    """Show, ask, remove."""
    runs = _runs(given.root)
    for folder in runs:
        tidy(folder)
    chosen = [folder for folder in runs if _matches(given, folder)]
    if not chosen:
        console.print("Nothing to remove")
        return
    sizes = {folder.path: _size(folder) for folder in chosen}
    rows = [_row(folder, sizes[folder.path]) for folder in chosen]
    show_table(console, ("run", "task", "objective", "seed", "state", "size", "last touched"), rows)
    if given.yes or _agreed(f"Remove {_counted(len(chosen))} ({_megabytes(sum(sizes.values()))})?", console):
        kept = {folder.path: reason for folder in chosen if (reason := _remove(folder, console))}
        removed = [path for path in sizes if path not in kept]
        console.print(f"Removed {_counted(len(removed))}, {_megabytes(sum(sizes[path] for path in removed))}")
        if failures := [f"{path} ({reason})" for path, reason in kept.items() if reason != BUSY]:
            raise RunError(f"{_counted(len(failures))} could not be removed: {', '.join(failures)}")


def _runs(root: Path) -> list[Folder]:
    if not root.is_dir():
        raise RunError(f"{root}: there is no such folder; name the folder of run folders with --root")
    return [Folder(path) for path in sorted(root.iterdir()) if _is_run(path)]


def _matches(given: Clean, folder: Folder) -> bool:
    old = time.time() - _touched(folder) >= given.older_than * 86400
    return old and not (given.unfinished and folder.finished)


def _is_run(path: Path) -> bool:
    """True for a folder whose record has an identity that begins with its name: nothing else is ever removed."""
    if path.is_symlink() or not path.is_dir() or len(path.name) != len("0123456789abcdef"):
        return False
    record = _json(Folder(path).record)
    identity = record.get("identity") if isinstance(record, dict) else None
    return isinstance(identity, str) and len(identity) == 64 and identity.startswith(path.name)


def _json(path: Path) -> object:
    """What a file holds; None where it holds no JSON, or nested so deeply that nobody of us wrote it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _agreed(question: str, console: Console) -> bool:
    try:
        return Confirm.ask(question, default=False, console=console)
    except EOFError:
        raise ConfigError("nobody answered, so nothing was removed; add --yes to remove without asking") from None


def _remove(folder: Folder, console: Console) -> str:
    """Remove a run and say so; returns the reason if it holds other files, is in use, or the system refuses."""
    if others := strangers(folder):
        return f"it holds {', '.join(plain(name)[:60] for name in others[:3])}, which no run writes; move that away"
    try:
        remove(folder)
    except Busy:
        console.print(f"Kept {folder.path.name}: {BUSY}")
        return BUSY
    except OSError as error:
        return error.strerror or str(error)
    console.print(f"Removed {folder.path.name}")
    return ""


def _row(folder: Folder, size: int) -> tuple[str, ...]:
    state = "finished" if folder.finished else "unfinished"
    touched = time.strftime("%Y-%m-%d %H:%M", time.localtime(_touched(folder)))
    return (folder.path.name, *_names(folder), state, _megabytes(size), touched)


def _names(folder: Folder) -> tuple[str, str, str]:
    experiment = _json(folder.experiment)
    try:
        found = (experiment["task"]["type"], experiment["objective"]["type"], experiment["seed"])  # type: ignore[index]
    except (KeyError, TypeError, IndexError):  # damaged, and so all the more worth removing
        return "?", "?", "?"
    task, objective, seed = (plain(str(each))[:60] if isinstance(each, str | int) else "?" for each in found)
    return task, objective, seed


def _size(folder: Folder) -> int:
    return sum(entry.st_size for entry in _entries(folder) if stat.S_ISREG(entry.st_mode))


def _touched(folder: Folder) -> float:
    return max((entry.st_mtime for entry in _entries(folder)), default=0.0)


def _entries(folder: Folder) -> list[os.stat_result]:
    """What is known of everything in a folder; symbolic links are not followed, and what vanishes is not counted."""
    found = []
    for path in folder.path.rglob("*"):
        with contextlib.suppress(OSError):
            found.append(path.lstat())
    return found


def _counted(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
