"""``structpred evaluate`` and ``structpred predict``: what a finished run is good for."""

import sys
from collections.abc import Iterable, Iterator
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
from structpred.errors import ConfigError, DataError
from structpred.files import write_atomically
from structpred.plain import plain
from structpred.reading import each_line, read_bytes, read_stream
from structpred.recordings import Source
from structpred.runs import Run
from structpred.tables import escaped
from structpred.task import Splits, loaded
from structpred.training.data import warn_of_unknown
from structpred.training.evaluation import n_best, predict


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
        examples = getattr(loaded(task), self.split)
        warn_of_unknown(Splits((), (), examples, ""), run.codec)
        found = run.evaluate(examples, decoding=None if self.beam is None else Decoding(beam=self.beam))
        show_scores({self.split: found}, console)
        for metric in task.metrics:
            console.print(metric.signature, soft_wrap=True)


@dataclass(frozen=True)
class Input:
    """One line to predict from.

    Attributes:
        text: what it says; empty where it cannot be read.
        source: what the task makes of it, or why it makes nothing.
    """

    text: str
    source: Source | DataError


@dataclass(frozen=True)
class Predict:
    """Outputs for inputs, one a line, from a file or the standard input.

    An input that cannot be read gets an empty line, or no row of an n-best list; the standard error says why, and the
    exit status is 2.

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
    """Print the best outputs of each input with log-probabilities: input, output and log p, tab-separated; a tab or a
    backslash in a text is written as \\t or \\\\."""

    beam: int | None = None
    """Width of the beam; the run's own by default."""

    keep_unknown: bool = False
    """Read symbols unknown from training as unknown instead of refusing them."""

    strict: bool = False
    """Stop at the first input that cannot be read, and write nothing."""

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
        elif sys.stdout is None:
            raise ConfigError("predictions go to the standard output, but that is closed; name a file by --output")
        run = Run.load(self.path)
        inputs = list(self._inputs(run))
        text = "".join(f"{line}\n" for line in self._lines(run, inputs))
        if self.output:
            write_atomically(self.output, text)
        else:
            sys.stdout.write(text)
        bad = sum(isinstance(each.source, DataError) for each in inputs)
        if bad:
            raise DataError(
                f"{bad} of {len(inputs)} inputs cannot be read and have {'empty' if self.n_best is None else 'no'} "
                "lines in the output; mend them"
            )

    def _inputs(self, run: Run) -> Iterator[Input]:
        """Every line; a bad one is told of at once, or raised where the command is strict."""
        content, name = self._content()
        for line, where in each_line(content, name):
            try:
                if isinstance(line, DataError):
                    raise line
                yield Input(line, run.read(line, keep_unknown=self.keep_unknown, where=where))
            except DataError as error:
                if self.strict:
                    raise
                if sys.stderr is not None:
                    print(f"structpred: {' '.join(plain(str(error)).split())}", file=sys.stderr)
                yield Input("", error)

    def _content(self) -> tuple[bytes, str]:
        if self.file:
            return read_bytes(self.file), self.file.name
        if sys.stdin is None:
            raise ConfigError("inputs come from the standard input, but that is closed; name a file")
        return read_stream(sys.stdin.buffer.read, "standard input"), "standard input"

    def _lines(self, run: Run, inputs: Iterable[Input]) -> Iterator[str]:
        """What is written, in the order of the inputs."""
        rows = self._rows(run, [each for each in inputs if not isinstance(each.source, DataError)])
        for each in inputs:
            if not isinstance(each.source, DataError):
                yield from next(rows)
            elif self.n_best is None:
                yield ""

    def _rows(self, run: Run, inputs: list[Input]) -> Iterator[list[str]]:
        """What is written for each input."""
        if not inputs:
            return
        sources, render = [each.source for each in inputs], run.experiment.task.render
        if self.n_best is None:
            decoding = run.experiment.decoding if self.beam is None else Decoding(beam=self.beam)
            for output in predict(run.model, run.codec, sources, decoding):
                yield [render(output)]
            return
        for each, hypotheses in zip(inputs, n_best(run.model, run.codec, sources, self.n_best), strict=True):
            yield [
                f"{escaped(each.text)}\t{escaped(render(found.output))}\t{found.log_prob:.4f}" for found in hypotheses
            ]
