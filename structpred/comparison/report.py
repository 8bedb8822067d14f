"""The report of a comparison, on a terminal and in files."""

from dataclasses import dataclass, fields
from pathlib import Path

from rich.console import Console

from structpred.comparison import layout, record
from structpred.comparison.findings import ComparisonResult
from structpred.config import Config
from structpred.report import terminal
from structpred.report.document import Document
from structpred.report.files import write_files
from structpred.results import Measure


@dataclass(frozen=True)
class Report(ComparisonResult):
    """Findings that can be shown and written; see `ComparisonResult` for the fields and what they must agree in."""

    @classmethod
    def read(cls, file: Path | str, kind: type[Config], metrics: tuple[Measure, ...] | None = None) -> "Report":
        """The report whose `write` left ``file``; its tests are computed anew from the scores.

        Args:
            file: the ``results.json``.
            kind: the class of the arms' configs, `Experiment` as a rule.
            metrics: the task's metrics, whose names must be the file's; as the file describes them by default.

        Raises:
            RunError: the file cannot be read, is no report, or has other metrics.
            ConfigError: an arm cannot be made by this version of the code.
        """
        return cls.of(record.decode(Path(file), kind, metrics))

    @classmethod
    def of(cls, findings: ComparisonResult) -> "Report":
        """A report of what was found."""
        return cls(**{field.name: getattr(findings, field.name) for field in fields(ComparisonResult)})

    def document(self) -> Document:
        """Everything that `show` and `write` render."""
        return layout.document(self)

    def show(self, console: Console | None = None) -> None:
        """Print the report: coloured tables on a terminal, Markdown into a file or a pipe."""
        terminal.show(self.document(), console or Console())

    def write(self, folder: Path | str) -> tuple[Path, ...]:
        """Write ``results.json``, ``report.md`` and ``report.html`` into ``folder``, each whole or not at all.

        Returns:
            The paths of the files.
        """
        return write_files(folder, self.document(), record.encode(self))
