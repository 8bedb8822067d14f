"""``structpred evaluate`` and ``structpred predict``: what a finished run is good for."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console

from structpred.cli import assignments
from structpred.cli.commands import Evaluate, Predict
from structpred.cli.places import file_to_write
from structpred.cli.training import show_scores
from structpred.decoding import Decoding
from structpred.errors import ConfigError, DataError
from structpred.files import write_atomically
from structpred.plain import plain
from structpred.reading import each_line, read_bytes, read_stream
from structpred.runs import Run
from structpred.sequences import Source
from structpred.tables import escaped
from structpred.task import Splits, loaded
from structpred.training.data import warn_of_unknown
from structpred.training.evaluation import check_metrics, n_best
from structpred.training.evaluation import predict as predictions


def evaluate(given: Evaluate, console: Console) -> None:
    """Predict, score and print."""
    for word in given.words:
        if not word.startswith(("task.", "metrics=")):
            raise ConfigError(
                f"only the task and the metrics of a finished run may be assigned to, but got {word!r}; use task.… or "
                "metrics="
            )
    run = Run.load(given.path)
    wanted = assignments.experiment(given.words, run.experiment)
    examples = getattr(loaded(wanted.task), given.split)
    check_metrics(wanted.metrics, Splits((), (), examples, ""), wanted.task)
    warn_of_unknown(Splits((), (), examples, ""), run.codec)
    found = run.evaluate(
        examples, decoding=None if given.beam is None else Decoding(beam=given.beam), metrics=wanted.reported
    )
    show_scores({given.split: found}, console)
    for metric in wanted.reported:
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


def predict(given: Predict) -> None:
    """Read everything, predict everything, then write."""
    if given.n_best is not None and given.beam is not None:
        raise ConfigError("--n-best searches with a beam as wide as the list, so give it or --beam, not both")
    if given.output:
        file_to_write(given.output)
    elif sys.stdout is None:
        raise ConfigError("predictions go to the standard output, but that is closed; name a file by --output")
    run = Run.load(given.path)
    inputs = list(_inputs(given, run))
    text = "".join(f"{line}\n" for line in _lines(given, run, inputs))
    if given.output:
        write_atomically(given.output, text)
    else:
        sys.stdout.write(text)
    bad = sum(isinstance(each.source, DataError) for each in inputs)
    if bad:
        raise DataError(
            f"{bad} of {len(inputs)} inputs cannot be read and have {'empty' if given.n_best is None else 'no'} "
            "lines in the output; mend them"
        )


def _inputs(given: Predict, run: Run) -> Iterator[Input]:
    """Every line; a bad one is told of at once, or raised where the command is strict."""
    content, name = _content(given)
    for line, where in each_line(content, name):
        try:
            if isinstance(line, DataError):
                raise line
            yield Input(line, run.read(line, keep_unknown=given.keep_unknown, where=where))
        except DataError as error:
            if given.strict:
                raise
            if sys.stderr is not None:
                print(f"structpred: {' '.join(plain(str(error)).split())}", file=sys.stderr)
            yield Input("", error)


def _content(given: Predict) -> tuple[bytes, str]:
    if given.file:
        return read_bytes(given.file), given.file.name
    if sys.stdin is None:
        raise ConfigError("inputs come from the standard input, but that is closed; name a file")
    return read_stream(sys.stdin.buffer.read, "standard input"), "standard input"


def _lines(given: Predict, run: Run, inputs: Iterable[Input]) -> Iterator[str]:
    """What is written, in the order of the inputs."""
    rows = _rows(given, run, [each for each in inputs if not isinstance(each.source, DataError)])
    for each in inputs:
        if not isinstance(each.source, DataError):
            yield from next(rows)
        elif given.n_best is None:
            yield ""


def _rows(given: Predict, run: Run, inputs: list[Input]) -> Iterator[list[str]]:
    """What is written for each input."""
    if not inputs:
        return
    sources = [each.source for each in inputs if not isinstance(each.source, DataError)]
    render = run.experiment.task.render
    if given.n_best is None:
        decoding = run.experiment.decoding if given.beam is None else Decoding(beam=given.beam)
        for output in predictions(run.model, run.codec, sources, decoding):
            yield [render(output)]
        return
    for each, hypotheses in zip(inputs, n_best(run.model, run.codec, sources, given.n_best), strict=True):
        yield [f"{escaped(each.text)}\t{escaped(render(found.output))}\t{found.log_prob:.4f}" for found in hypotheses]
