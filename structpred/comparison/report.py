"""The report of a comparison, on a terminal and in files."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from structpred.comparison import export, layout, record
from structpred.comparison.disagreements import Disagreement, between
from structpred.comparison.export import Format
from structpred.comparison.findings import ComparisonResult
from structpred.comparison.looks import after_looks, looks_in
from structpred.config import Config
from structpred.report import notebook
from structpred.report.document import Document
from structpred.report.files import results_file, write_files
from structpred.report.terminal import Printable
from structpred.results import Measure
from structpred.runs.run import Split


@dataclass(frozen=True)
class Report(ComparisonResult, Printable):
    """Findings that can be shown and written; see `ComparisonResult` for the fields and what they must agree in."""

    @classmethod
    def read(
        cls, file: Path | str, kind: type[Config] | None = None, metrics: tuple[Measure, ...] | None = None
    ) -> "Report":
        """The report whose `write` left ``file``; its tests are computed anew from the scores.

        Args:
            file: the ``results.json``, or the folder that holds it.
            kind: the class of the arms' configs. By default they are Experiments; where one of them cannot be made
                here, as without the module of its components, all are `KeptArm`, which shows all that is stored.
            metrics: the task's metrics, whose names must be the file's; as the file describes them by default.

        Raises:
            RunError: the file cannot be read, is no report, or has other metrics.
            ConfigError: an arm is not of the given kind.
        """
        return cls.of(record.decode(results_file(file), kind, metrics))

    @classmethod
    def of(cls, findings: ComparisonResult) -> "Report":
        """A report of what was found."""
        return cls(**{field.name: getattr(findings, field.name) for field in fields(ComparisonResult)})

    def document(self) -> Document:
        """Everything that `show` and `write` render."""
        return layout.document(self)

    def after_looks(self, folder: Path | str) -> "Report":
        """The report, decided by the anytime-valid test if ``folder`` holds a report of fewer or more of its seeds."""
        return after_looks(self, looks_in(Path(folder)))

    def write(self, folder: Path | str, figures: Sequence[Format] = ()) -> tuple[Path, ...]:
        """Write ``results.json``, ``report.csv``, ``report.md`` and ``report.html``, each whole or not at all.

        If the folder holds an earlier report of these runs with other seeds, results had been seen before seeds were
        chosen, and what is written is that of `after_looks`.

        Args:
            folder: where.
            figures: what else, for papers: ``"pdf"`` and ``"svg"`` write every figure into ``figures``, ``"tex"`` the
                table of `to_latex` as ``report.tex``.

        Returns:
            The paths of the files.

        Raises:
            ConfigError: a file that is not from an earlier report would be overwritten.
        """
        report = self.after_looks(folder)
        document = report.document()
        return write_files(folder, document, record.encode(report, document), report.extras(document, figures))

    def extras(self, document: Document, figures: Sequence[Format] = ()) -> dict[str, str | bytes]:
        """The files of `write` that other programs read, by name."""
        return export.extras(document, self.rows(), {"report.tex": self.to_latex()}, figures)

    def rows(self) -> list[dict[str, Any]]:
        """One tidy row for each arm, seed, split and metric: score, direction, and the run's identity and costs."""
        return export.rows(self)

    def to_frame(self) -> Any:
        """`rows` as a pandas DataFrame; the rows themselves where pandas is not installed."""
        return export.frame(self.rows())

    def to_csv(self) -> str:
        """`rows` as CSV, as in ``report.csv``."""
        return export.as_csv(self.rows())

    def to_latex(self) -> str:
        """The test scores as a LaTeX table for the package booktabs, significance marked."""
        return export.as_latex(self)

    def disagreements(
        self, one: str, other: str, *, split: Split = "test", seed: int | None = None, root: Path | str = "runs"
    ) -> list[Disagreement]:
        """The examples on which the models of two arms differ, from their run folders.

        Args:
            one: an arm.
            other: another arm.
            split: ``"dev"`` or ``"test"``.
            seed: whose models; the first seed by default.
            root: the folder of run folders.

        Returns:
            Source, references, both outputs and both scores on the first metric, sorted by the gain of ``other`` over
            ``one``, the largest first.

        Raises:
            ConfigError: there is no such arm, seed or split.
            RunError: a run is missing from the root or damaged.
        """
        return between(self, (one, other), split, seed, Path(root))

    def _repr_html_(self) -> str:
        return notebook.fragment(self.document())
