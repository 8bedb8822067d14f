"""What tuning found, on a terminal and in files."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from structpred.experiment import Experiment
from structpred.report import terminal
from structpred.report.document import Document
from structpred.report.files import write_files
from structpred.tuning import best, contents, record, source
from structpred.tuning.outcomes import Result
from structpred.tuning.sentences import budget


@dataclass(frozen=True)
class Tuning:
    """Studies that are over, or as far as they have come.

    Attributes:
        studies: what each study found, by its name among those that were tuned together.
        importances: how much each parameter matters, by name in the storage.
        storage: where the studies are.
    """

    studies: dict[str, Result]
    importances: contents.Importances
    storage: str

    @property
    def best(self) -> Experiment:
        """The best experiment of the only study.

        Raises:
            ConfigError: no trial finished.
        """
        (result,) = self.studies.values()
        return result.experiment

    def document(self) -> Document:
        """Everything that `show` and `write` render."""
        return contents.document(tuple(self.studies.values()), self.importances)

    @classmethod
    def read(cls, file: Path | str) -> "Tuning":
        """The report whose `write` left ``file``, as far as the file goes: see `structpred.tuning.record`.

        Raises:
            RunError: the file cannot be read, or holds no report of tuning.
            ConfigError: an experiment cannot be made by this version of the code.
        """
        studies, importances = record.decode(Path(file))
        return cls(studies, importances, str(file))

    def show(self, console: Console | None = None) -> None:
        """Print the report: coloured tables on a terminal, Markdown into a file or a pipe."""
        terminal.show(self.document(), console or Console())

    def write(self, folder: Path | str) -> tuple[Path, ...]:
        """Write ``results.json``, ``report.md``, ``report.html``, and for each study its best experiment.

        The best experiment is ``best_NAME.json``, its canonical JSON, and ``best_NAME.py``, a module whose
        ``experiments()`` a comparison takes. Those that an earlier report left there are removed.

        Returns:
            The paths of the files.

        Raises:
            ConfigError: the folder has a file of one of these names that no report wrote, or that was changed since.
        """
        stems = best.stems(self.studies)
        modules = {stem: each for stem, each in zip(stems, self.studies.values(), strict=True) if each.best is not None}
        best.refuse_others(Path(folder), list(modules))
        files = list(write_files(folder, self.document(), record.encode(self.studies, self.importances)))
        for stem, result in modules.items():
            text = source.module(
                result.experiment,
                name=result.name,
                stem=stem,
                budget=budget((result,))[0],
                seeds=(*result.search.seeds, *result.search.later_seeds),
            )
            files += best.write(Path(folder), stem, module=text, config=f"{result.experiment.to_json()}\n")
        best.remove_others(Path(folder), list(modules))
        return tuple(files)
