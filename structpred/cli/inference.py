"""``structpred evaluate`` and ``structpred predict``: what a finished run is good for."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from structpred.cli import assignments
from structpred.cli.places import Imports, RunPath, Words, file_to_write
from structpred.cli.training import show_scores
from structpred.config import Count, coerce
from structpred.decoding import Decoding
from structpred.errors import ConfigError
from structpred.files import write_atomically
from structpred.reading import lines_of, read_lines
from structpred.runs import Run
from structpred.task import Splits
from structpred.training.data import warn_of_unknown


@dataclass(frozen=True)
class Evaluate:
    """Score a run again, also on other data or with another search.

    Examples:
      structpred evaluate runs/3f0c…
      structpred evaluate runs/3f0c… --beam 10 --split dev
      structpred evaluate runs/3f0c… task.test=other.tsv
    """

    path: RunPath
    """The run's folder."""

    words: Words = ()
    """Assignments to the task, such as task.test=other.tsv."""

    split: Literal["train", "dev", "test"] = "test"
    """Which part."""

    beam: int | None = None
    """Width of the beam; the run's own by default."""

    imports: Imports = ()
    """Import this module or .py file first, for components of your own; may be given several times."""

    def run(self, console: Console) -> None:
        """Predict, score and print."""
        coerce(self.beam, Count | None, "--beam")
        for word in self.words:
            if not word.startswith("task."):
                raise ConfigError(f"only the task of a finished run may be assigned to, but got {word!r}; use task.…")
        run = Run.load(self.path)
        task = assignments.experiment(self.words, run.experiment).task
        examples = getattr(task.load(), self.split)
        warn_of_unknown(Splits((), (), examples, ""), run.codec)
        found = run.evaluate(examples, decoding=None if self.beam is None else Decoding(beam=self.beam))
        show_scores({self.split: found}, console)
        for metric in task.metrics:
            console.print(metric.signature, soft_wrap=True)


@dataclass(frozen=True)
class Predict:
    """Outputs for inputs, one a line, from a file or the standard input.

    Examples:
      structpred predict runs/3f0c… words.txt
      structpred predict runs/3f0c… words.txt --output outputs.txt
      echo newcomer | structpred predict runs/3f0c… --n-best 3
    """

    path: RunPath
    """The run's folder."""

    file: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[FILE]")] = None
    """Inputs, one a line; the standard input by default."""

    n_best: int | None = None
    """Print the best outputs of each input with log-probabilities: input, output and log p, tab-separated."""

    beam: int | None = None
    """Width of the beam; the run's own by default."""

    keep_unknown: bool = False
    """Read symbols unknown from training as unknown instead of refusing them."""

    output: Path | None = None
    """Write here instead of to the standard output."""

    imports: Imports = ()
    """Import this module or .py file first, for components of your own; may be given several times."""

    def run(self, console: Console) -> None:
        """Read everything, predict everything, then write."""
        del console
        coerce(self.n_best, Count | None, "--n-best")
        coerce(self.beam, Count | None, "--beam")
        if self.n_best is not None and self.beam is not None:
            raise ConfigError("--n-best searches with a beam as wide as the list, so give it or --beam, not both")
        if self.output:
            file_to_write(self.output)
        run = Run.load(self.path)
        lines = read_lines(self.file) if self.file else lines_of(sys.stdin.buffer.read(), "standard input")
        text = "".join(f"{line}\n" for line in self._predict(run, lines))
        if self.output:
            write_atomically(self.output, text)
        else:
            sys.stdout.write(text)

    def _predict(self, run: Run, lines: list[tuple[str, str]]) -> list[str]:
        texts, where = [text for text, _ in lines], [place for _, place in lines]
        if self.n_best is None:
            decoding = None if self.beam is None else Decoding(beam=self.beam)
            return run.predict(texts, decoding=decoding, keep_unknown=self.keep_unknown, where=where)
        render = run.experiment.task.render
        lists = run.n_best(texts, self.n_best, keep_unknown=self.keep_unknown, where=where)
        return [
            f"{text}\t{render(each.output)}\t{each.log_prob:.4f}"
            for text, hypotheses in zip(texts, lists, strict=True)
            for each in hypotheses
        ]
