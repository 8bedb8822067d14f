"""The report of a comparison, on a terminal and in files."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from structpred.comparison import contents, record
from structpred.comparison.findings import Findings
from structpred.comparison.plots import standalone
from structpred.config import Config
from structpred.errors import ConfigError
from structpred.files import write_atomically
from structpred.metrics import Metric
from structpred.report import html, markdown, terminal
from structpred.report.document import Document

RESULTS, MARKDOWN, HTML = "results.json", "report.md", "report.html"
PICTURE = "report.svg"
"""Only beside reports of several panels."""

PANELS = {"format", "panels"}
_KEYS = ({"format", "arms"}, PANELS, {"format", "studies"}, {"average", "tasks"})
"""What the results of a comparison, of tuning, and of arms across tasks have in common with those of nobody else."""


@dataclass(frozen=True)
class Report(Findings):
    """Findings that can be shown and written; see `Findings` for the fields and what they must agree in."""

    @classmethod
    def read(cls, file: Path | str, kind: type[Config], metrics: tuple[Metric, ...]) -> "Report":
        """The report whose `write` left ``file``; its tests are computed anew from the scores.

        Args:
            file: the ``results.json``.
            kind: the class of the arms' configs, `Experiment` as a rule.
            metrics: the task's metrics; their names must be the file's.

        Raises:
            RunError: the file cannot be read, is no report, or has other metrics.
            ConfigError: an arm cannot be made by this version of the code.
        """
        return cls.of(record.decode(Path(file), kind, metrics))

    @classmethod
    def of(cls, findings: Findings) -> "Report":
        """A report of what was found."""
        return cls(findings.arms, findings.seeds, findings.baseline, findings.results, findings.metrics)

    def document(self) -> Document:
        """Everything that `show` and `write` render."""
        return contents.document(self)

    def show(self, console: Console | None = None) -> None:
        """Print the report: coloured tables on a terminal, Markdown into a file or a pipe."""
        terminal.show(self.document(), console or Console())

    def write(self, folder: Path | str) -> tuple[Path, ...]:
        """Write ``results.json``, ``report.md`` and ``report.html`` into ``folder``, each whole or not at all.

        Returns:
            The paths of the files.
        """
        return write_files(folder, self.document(), record.encode(self))


def write_files(folder: Path | str, document: Document, results: str) -> tuple[Path, ...]:
    """Write a document as ``report.md`` and ``report.html``, and beside them ``results.json`` and its pictures.

    Raises:
        ConfigError: a file that is not from an earlier report would be overwritten; see `refuse_others`.
    """
    pictures = {name: standalone(figure.draw()) for name, figure in document.pictures.items()}
    refuse_others(folder, *pictures)
    files = {RESULTS: results, MARKDOWN: markdown.render(document), HTML: html.render(document), **pictures}
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    if PICTURE not in files and _report(place / RESULTS).keys() >= PANELS:
        (place / PICTURE).unlink(missing_ok=True)  # that of the report which this one replaces
    return tuple(write_atomically(place / name, text) for name, text in files.items())


def refuse_others(folder: Path | str, *pictures: str) -> None:
    """Refuse a folder whose files of a report's names are not from a report: they would be lost.

    Args:
        folder: where a report is to be written.
        pictures: names of the files that hold its pictures, if any.

    Raises:
        ConfigError: there is such a file; the message names it.
    """
    place, report = Path(folder), _report(Path(folder) / RESULTS)
    known = any(keys <= report.keys() for keys in _KEYS)
    ours = {*([RESULTS, MARKDOWN, HTML] if known else []), *([PICTURE] if report.keys() >= PANELS else [])}
    names = [name for name in (RESULTS, MARKDOWN, HTML, *pictures) if name not in ours]
    there = [place / name for name in names if os.path.lexists(place / name)]
    if there:
        raise ConfigError(
            f"{there[0]} is not from a report of structpred and would be overwritten; move it away, or name another "
            "folder for the report"
        )


def _report(results: Path) -> dict[str, object]:
    """What is kept of a report; empty where there is none."""
    try:
        tree = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}
