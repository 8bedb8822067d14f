"""``structpred diagnose``: compute, show and write."""

import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TaskID

from structpred.cli.run_commands import Diagnose
from structpred.diagnosis import Settings, diagnose
from structpred.diagnosis.findings import as_json, document, is_ours
from structpred.diagnosis.picture import pictures
from structpred.display import bars
from structpred.errors import ConfigError
from structpred.files import folder_to_write, write_atomically
from structpred.report.terminal import show
from structpred.runs import Run

JSON, SVG, PNG = "diagnosis.json", "diagnosis.svg", "diagnosis.png"
PATIENCE = 2.0
"""Seconds before progress is shown."""


def run(given: Diagnose, console: Console) -> None:
    """Diagnose a run, print the tables, and write the numbers and the picture."""
    settings = Settings(
        objectives=given.objectives,
        batch=given.batch,
        draws=given.draws,
        seed=given.seed,
        edit_rate=given.edit_rate,
    )
    subject = Run.load(given.path)
    folder = given.to or Path("reports", "diagnosis", subject.folder.path.resolve().name)
    check_folder(folder, subject.folder.path)
    torch.set_num_threads(given.threads)
    with _Watch(Console(stderr=True, highlight=False, markup=False)) as watch:
        found = diagnose(subject, settings, watch=watch)
    svg, png = pictures(found)
    folder.mkdir(parents=True, exist_ok=True)
    written = [write_atomically(folder / name, text) for name, text in ((JSON, as_json(found)), (SVG, svg), (PNG, png))]
    show(document(found), console)
    console.print("\nDiagnosis: " + ", ".join(map(str, written)), soft_wrap=True)


def check_folder(folder: Path, run_folder: Path) -> None:
    """Refuse a place for the files where something of the user's would be lost or mixed up.

    Raises:
        ConfigError: it is a file, inside the run's folder, or holds something other than an earlier diagnosis.
    """
    place, home = folder.resolve(), run_folder.resolve()
    if place == home or home in place.parents:
        raise ConfigError(f"--to must be outside the run's folder, {run_folder}, but got {folder}; name another place")
    folder_to_write(folder)
    if not folder.is_dir():
        return
    others = sorted(each.name for each in folder.iterdir() if each.name not in (JSON, SVG, PNG))
    if others or (any(folder.iterdir()) and not _earlier(folder / JSON)):
        what = others[0] if others else "files that are not from a diagnosis"
        raise ConfigError(
            f"--to must be a new folder or hold an earlier diagnosis, but {folder} holds {what}; name another"
        )


def _earlier(file: Path) -> bool:
    try:
        return is_ours(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return False


class _Watch:
    """A bar on a terminal, once the work has taken two seconds; nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self.bars: Bars | None = bars(console) if console.is_terminal and not console.is_dumb_terminal else None
        self.task: TaskID | None = None
        self.begun = time.monotonic()

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *details: object) -> None:
        if self.bars is not None:
            self.bars.stop()

    def __call__(self, share: float, what: str) -> None:
        if self.bars is None or time.monotonic() - self.begun < PATIENCE:
            return
        if self.task is None:
            self.task = self.bars.add_task("diagnosing", total=1.0, details=what)
            self.bars.start()
        self.bars.update(self.task, completed=share, details=what)
