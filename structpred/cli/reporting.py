"""``structpred report``: a report anew from its ``results.json``."""

from pathlib import Path

from rich.console import Console

from structpred.cli.commands import RenderReport
from structpred.cli.places import folder_to_write
from structpred.comparison.across import Across
from structpred.comparison.panels import PanelsReport
from structpred.comparison.report import Report
from structpred.experiment import Experiment
from structpred.report.document import Document
from structpred.report.files import RESULTS, results_in, write_files
from structpred.tuning.tuner import Tuning


def run(given: RenderReport, console: Console) -> None:
    """Read the results and write every file of the report; the results stay as they are."""
    file = given.results / RESULTS if given.results.is_dir() else given.results
    folder = given.to or Path("reports", file.resolve().parent.name)
    folder_to_write(folder)
    document = document_of(file)
    written = write_files(folder, document, file.read_text(encoding="utf-8"))
    console.print("Report: " + ", ".join(map(str, written)), soft_wrap=True)


def document_of(file: Path) -> Document:
    """What a report shows, from the results that were written beside it.

    Raises:
        RunError: the file cannot be read, or no report wrote it.
        ConfigError: an experiment in it cannot be made by this version of the code.
    """
    tree = results_in(file)
    if "studies" in tree:
        return Tuning.read(file).document()
    if "panels" in tree:
        return PanelsReport.read(file, Experiment).document()
    if "tasks" in tree:
        return Across.read(file, Experiment).document()
    return Report.read(file, Experiment).document()
