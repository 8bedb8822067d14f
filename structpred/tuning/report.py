"""What tuning found, on a terminal and in files."""

from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from structpred.config import encode
from structpred.experiment import Experiment
from structpred.provenance import environment
from structpred.report import terminal
from structpred.report.document import Document
from structpred.report.files import write_files, written
from structpred.tuning import best, contents, source
from structpred.tuning.analysis import optimum
from structpred.tuning.outcomes import Outcome, Result, conventions
from structpred.tuning.sentences import budget, conclusion

FORMAT = 1


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
        files = list(write_files(folder, self.document(), self._record()))
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

    def _record(self) -> str:
        results = list(self.studies.values())
        tree = {
            "format": FORMAT,
            "studies": {name: _study(result) for name, result in self.studies.items()},
            "conclusion": [sentence for result in results for sentence in conclusion(result)],
            "environment": asdict(environment()),
        }
        return written(tree)


def _study(result: Result) -> dict[str, object]:
    found = {name: optimum(result, name) for name in result.numeric()}
    return {
        "name": result.name,
        "metric": result.metric.name,
        "search": encode(result.search),
        "labels": result.labels,
        "best": None if result.best is None else encode(result.experiment),
        "tied": [each.number for each in result.tied] if len(result.tied) > 1 else [],
        "optima": {name: asdict(each) for name, each in found.items() if each is not None},
        "trials": [_trial(result, each) for each in result.outcomes],
        "given up": result.given_up,
    }


def _trial(result: Result, each: Outcome) -> dict[str, object]:
    tempered = None if each.experiment is None else conventions(each.experiment, result.labels)
    return {
        "number": each.number,
        "parameters": dict(each.parameters),
        "temperature": None if tempered is None else asdict(tempered),
        "state": each.state,
        "scores": {str(seed): score for seed, score in each.scores.items()},
        "epochs": {str(epoch): score for epoch, score in each.epochs.items()},
        "reason": each.reason,
        "seconds": each.seconds,
    }
