"""``structpred train``, ``evaluate``, ``predict`` and ``clean``: commands on single runs."""

import contextlib
import os
import stat
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.prompt import Confirm

from structpred.cli import assignments
from structpred.cli.commands import Train
from structpred.cli.run_commands import Clean, Evaluate, Predict
from structpred.display import show_table, summary, watching
from structpred.distributions.decoding import BOUNDS
from structpred.distributions.protocols import Argmax, Decoding
from structpred.errors import AbsentError, Busy, ConfigError, DataError, RunError
from structpred.experiment import Experiment
from structpred.files import file_to_write, folder_to_write, write_atomically
from structpred.reading import each_line, read_bytes, read_stream
from structpred.runs import Ensemble, Reranked, Run, named, train
from structpred.runs.folder import Folder
from structpred.runs.listing import identity_of, read_json
from structpred.runs.lock import remove, strangers, tidy
from structpred.runs.predictor import Predictor, with_kept
from structpred.sequences import Source
from structpred.task import Example, Splits, loaded
from structpred.text import counted, escaped, plain
from structpred.training.data import warn_of_unknown
from structpred.training.distributed import in_first
from structpred.training.evaluation import check_metrics, score_counts, scores
from structpred.training.monitoring import Observer, Progress, TensorBoard, ignore
from structpred.training.searching import Searched, warn_of_search
from structpred.training.trainer import GREEDY


def train_one(given: Train, console: Console) -> None:
    """Train and print the scores and the folder."""
    folder_to_write(given.root, of_runs=True)
    torch.set_num_threads(given.threads)
    experiment = assignments.experiment(given.words) if given.start is None else _continued(given, given.start)
    if given.devices * given.nodes > 1 and not in_first():
        _train(given, experiment, ignore)
        return
    errors, phases = Console(stderr=True, highlight=False, markup=False), set()
    with watching(errors, "training") as observer:

        def follow(progress: Progress) -> None:
            phases.add(progress.phase)
            observer(progress)

        finished = _train(given, experiment, follow)
    if "testing" in phases:  # it was trained just now
        errors.print(summary(finished.result), soft_wrap=True)
    wanted = [metric.name for metric in experiment.reported]
    shown = {split: {name: each[name] for name in wanted} for split, each in finished.result.scores.items()}
    show_scores(shown, console)
    console.print(f"Run: {finished.folder.path}", soft_wrap=True)


def _train(given: Train, experiment: Experiment, observer: Observer) -> Run:
    return train(
        experiment,
        root=given.root,
        device=given.device,
        devices=given.devices,
        nodes=given.nodes,
        observer=observer,
        loggers=() if given.logger is None else (TensorBoard,),
    )


def _continued(given: Train, path: Path) -> Experiment:
    """The experiment of a finished run with assignments, and with that run as its start.

    Raises:
        ConfigError: the run is in another root or out of date, or an assignment contradicts it.
    """
    for word in given.words:
        if word.partition("=")[0].partition(".")[0] in ("task", "model", "start", "start_seed"):
            raise ConfigError(
                f"task, model and the seed of the start are those of --start, but got {word!r}; leave it out"
            )
    start = Run.load(named(path if len(path.parts) > 1 or path.is_dir() else given.root / path).path)
    path = start.folder.path
    if path.resolve().parent != given.root.resolve():
        raise ConfigError(f"the run to start from must be in {given.root}, but got {path}; add --root {path.parent}")
    if start.experiment.identity(loaded(start.experiment.task).digest) != start.result.identity:
        raise ConfigError(f"{path}: its data or its components have changed since this run; train it again first")
    built = assignments.experiment(given.words, replace(start.experiment, start=start.experiment))
    return built if built.seed == start.experiment.seed else replace(built, start_seed=start.experiment.seed)


def show_scores(found: dict[str, dict[str, float]], console: Console) -> None:
    """Print metrics by split in percent."""
    names = list(next(iter(found.values())))
    rows = [(split, *(f"{values[name]:.2f}" for name in names)) for split, values in found.items()]
    show_table(console, ("split", *names), rows)


class OtherDataWarning(UserWarning):
    """A run is scored on other data than those it was trained on, though nothing was assigned to its task."""


class RepeatedRunWarning(UserWarning):
    """An ensemble holds a run more than once."""


CANDIDATES = 32
"""How many outputs --rerank-by chooses among by default."""


def evaluate(given: Evaluate, console: Console) -> None:
    """Predict, score and print."""
    words = [*given.words, *([] if given.beam is None else [f"decoding.beam={given.beam}"])]
    for word in given.words:
        if not word.startswith(("task.", "metrics=", "decoding.")):
            raise ConfigError(
                "only the task, the decoding and the metrics of a finished run may be assigned to, because nothing is "
                f"trained, but got {word!r}; use task.…, decoding.… or metrics="
            )
    if given.candidates is not None and given.rerank is None:
        raise ConfigError("--candidates says how many outputs --rerank-by chooses among, so give both or neither")
    first = _predictor(given.path, given.others)
    run: Predictor = first
    scored = [*first.runs] if isinstance(first, Ensemble) else [first]
    if given.rerank is not None:
        scored.append(Run.load(given.rerank))
        run = Reranked(run, by=scored[-1], candidates=given.candidates or CANDIDATES)
    wanted = with_kept(assignments.experiment(words, run.experiment), run.kept)
    splits = loaded(wanted.task)
    if not any(word.startswith("task.") for word in given.words):
        _warn_of_changed_data(scored, splits.digest)
    examples = getattr(splits, given.split)
    check_metrics(wanted.metrics, Splits((), (), examples, ""), wanted.task)
    warn_of_unknown(Splits((), (), examples, ""), run.codec)
    found = _searched(run, examples, wanted, wanted.decoding)
    show_scores({given.split: {metric.name: found.scores[metric.name] for metric in wanted.reported}}, console)
    for metric in wanted.reported:
        console.print(metric.signature, soft_wrap=True)
    if isinstance(first, Ensemble) and len(first.runs) > 1:
        console.print(f"Ensemble of {len(first.runs)} runs: the mean of {first.averages}", soft_wrap=True)
    search, ratio = run.search(wanted.decoding), found.shape["length_ratio"]
    console.print(
        f"Search: {search}; outputs are {ratio:.3f} times as long as references, ends counted", soft_wrap=True
    )
    if wanted.decoding != GREEDY and not issubclass(wanted.model.distribution, Argmax):
        greedy = _searched(first, examples, wanted, GREEDY)
        reranked = given.rerank is not None
        warn_of_search(search, wanted.decoding, wanted.reported[0], found, greedy, reranked=reranked)


def _warn_of_changed_data(runs: Iterable[Run], digest: str) -> None:
    """Say so where the files of the task are no longer those that a run was trained on."""
    for run in runs:
        if run.data != digest:
            warnings.warn(
                f"{run.folder.path}: the task's data have changed since the run, so these may be scores on other "
                "examples than its own; put the files back to be sure",
                OtherDataWarning,
                stacklevel=2,
            )


def _predictor(path: Path, others: Sequence[Path]) -> Run | Ensemble:
    if not others:
        return Run.load(path)
    ensemble = Ensemble([path, *others])
    times = Counter(run.folder.path.resolve() for run in ensemble.runs)
    for folder, count in times.items():
        if count > 1:
            warnings.warn(
                f"{folder} is given {count} times, so it counts as much as {count} runs in the ensemble; give each run "
                "once",
                RepeatedRunWarning,
                stacklevel=2,
            )
    return ensemble


def _searched(run: Predictor, examples: Sequence[Example], wanted: Experiment, decoding: Decoding) -> Searched:
    outputs = run.decode([example.source for example in examples], decoding)
    metrics = wanted.scored
    return Searched.of(scores(metrics, score_counts(metrics, examples, outputs)), outputs, examples)


@dataclass(frozen=True)
class Input:
    """One line of input.

    Attributes:
        text: the line; empty if it cannot be read.
        source: the parsed line, or the error.
    """

    text: str
    source: Source | DataError


def write_predictions(given: Predict) -> None:
    """Read everything, predict everything, then write."""
    if given.n_best is not None and given.beam is not None:
        raise ConfigError("--n-best searches with a beam as wide as the list, so give it or --beam, not both")
    if given.output:
        file_to_write(given.output)
        if given.file and given.file.is_file() and given.output.exists() and given.output.samefile(given.file):
            raise ConfigError(f"--output must be another file than the inputs, {given.file}, which would be lost")
    elif sys.stdout is None:
        raise ConfigError("predictions go to the standard output, but that is closed; name a file by --output")
    run = _predictor(given.path, given.others)
    decoding = _decoding(given, run.experiment)
    inputs = list(_inputs(given, run))
    text = "".join(f"{line}\n" for line in _lines(given, run, inputs, decoding))
    if given.output:
        write_atomically(given.output, text)
    else:
        sys.stdout.write(text)
    bad = sum(isinstance(each.source, DataError) for each in inputs)
    if bad:
        raise DataError(
            f"{bad} of {len(inputs)} inputs cannot be read and have {'empty' if given.n_best is None else 'no'} "
            "lines in the output; correct them"
        )


def _inputs(given: Predict, run: Predictor) -> Iterator[Input]:
    """Every line; an unreadable one is reported at once, or raised if the command is strict."""
    content, name = _content(given)
    for line, where in each_line(content, name):
        try:
            if isinstance(line, DataError):
                raise line
            yield Input(line, run.read(line, keep_unknown=given.keep_unknown, where=where))
        except DataError as error:
            if given.strict or isinstance(error, AbsentError):
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


def _lines(given: Predict, run: Predictor, inputs: Iterable[Input], decoding: Decoding) -> Iterator[str]:
    """The output lines, in the order of the inputs."""
    rows = _rows(given, run, [each for each in inputs if not isinstance(each.source, DataError)], decoding)
    for each in inputs:
        if not isinstance(each.source, DataError):
            yield from next(rows)
        elif given.n_best is None:
            yield ""


def _rows(given: Predict, run: Predictor, inputs: list[Input], decoding: Decoding) -> Iterator[list[str]]:
    """The output lines of each input."""
    if not inputs:
        return
    sources = [each.source for each in inputs if not isinstance(each.source, DataError)]
    render = run.experiment.task.render
    if given.n_best is None:
        for output in run.decode(sources, decoding):
            yield [render(output)]
        return
    for each, hypotheses in zip(inputs, run.hypotheses(sources, given.n_best, decoding), strict=True):
        yield [f"{escaped(each.text)}\t{escaped(render(found.output))}\t{found.log_prob:.4f}" for found in hypotheses]


def _decoding(given: Predict, experiment: Experiment) -> Decoding:
    words = [f"decoding.{word}" for word in given.decoding]
    words += [] if given.beam is None else [f"decoding.beam={given.beam}"]
    for word in given.decoding if given.n_best is not None else ():
        if not word.startswith(BOUNDS):
            raise ConfigError(
                f"--n-best lists the most probable outputs, so {word!r} has no effect on it, nor has any field of the "
                f"decoding but {' and '.join(BOUNDS)}; leave one out"
            )
    return assignments.experiment(words, experiment).decoding


BUSY = "a process is training it"


def clean(given: Clean, console: Console) -> None:
    """Show, ask, remove."""
    runs = _runs(given.root)
    for folder in runs:
        tidy(folder)
    before = time.time() - given.older_than * 86400
    old = [folder for folder in runs if _touched(folder) <= before]
    chosen = [folder for folder in old if not (given.unfinished and folder.finished)]
    if not chosen:
        console.print("Nothing to remove")
        return
    sizes = {folder.path: _size(folder) for folder in chosen}
    rows = [_row(folder, sizes[folder.path]) for folder in chosen]
    show_table(console, ("run", "task", "objective", "seed", "state", "size", "last touched"), rows)
    if given.yes or _agreed(f"Remove {counted(len(chosen), 'run')} ({_megabytes(sum(sizes.values()))})?", console):
        kept = {folder.path: reason for folder in chosen if (reason := _removed(folder, console))}
        removed = [path for path in sizes if path not in kept]
        console.print(f"Removed {counted(len(removed), 'run')}, {_megabytes(sum(sizes[path] for path in removed))}")
        if failures := [f"{path} ({reason})" for path, reason in kept.items() if reason != BUSY]:
            raise RunError(f"{counted(len(failures), 'run')} could not be removed: {', '.join(failures)}")


def _runs(root: Path) -> list[Folder]:
    if not root.is_dir():
        raise RunError(f"{root}: there is no such folder; name the folder of run folders with --root")
    return [Folder(path) for path in sorted(root.iterdir()) if _is_run(path)]


def _is_run(path: Path) -> bool:
    """True for a folder whose name is a prefix of the identity in its record; no other folder is ever removed."""
    whole = len(path.name) == len("0123456789abcdef") and path.is_dir() and not path.is_symlink()
    return whole and identity_of(Folder(path)) is not None


def _agreed(question: str, console: Console) -> bool:
    try:
        return Confirm.ask(question, default=False, console=console)
    except EOFError:
        raise ConfigError("there was no answer, so nothing was removed; add --yes to remove without asking") from None


def _removed(folder: Folder, console: Console) -> str:
    """Remove a run and say so; returns the reason if it holds other files, is in use, or the system refuses."""
    if others := strangers(folder):
        return f"it holds {', '.join(plain(name)[:60] for name in others[:3])}, which no run writes; move that away"
    try:
        remove(folder)
    except Busy:
        console.print(f"Kept {folder.path.name}: {BUSY}")
        return BUSY
    except OSError as error:
        return error.strerror or str(error)
    console.print(f"Removed {folder.path.name}")
    return ""


def _row(folder: Folder, size: int) -> tuple[str, ...]:
    state = "finished" if folder.finished else "unfinished"
    touched = time.strftime("%Y-%m-%d %H:%M", time.localtime(_touched(folder)))
    return (folder.path.name, *_names(folder), state, _megabytes(size), touched)


def _names(folder: Folder) -> tuple[str, str, str]:
    experiment = read_json(folder.experiment)
    try:
        found = (experiment["task"]["type"], experiment["objective"]["type"], experiment["seed"])
    except (KeyError, TypeError, IndexError):  # damaged, so worth removing
        return "?", "?", "?"
    task, objective, seed = (plain(str(each))[:60] if isinstance(each, str | int) else "?" for each in found)
    return task, objective, seed


def _size(folder: Folder) -> int:
    return sum(entry.st_size for entry in _entries(folder) if stat.S_ISREG(entry.st_mode))


def _touched(folder: Folder) -> float:
    return max((entry.st_mtime for entry in _entries(folder)), default=0.0)


def _entries(folder: Folder) -> list[os.stat_result]:
    """Status of everything in a folder; symbolic links are not followed, and vanished files not counted."""
    found = []
    for path in folder.path.rglob("*"):
        with contextlib.suppress(OSError):
            found.append(path.lstat())
    return found


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
