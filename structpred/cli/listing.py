"""``structpred runs`` and ``structpred show``: finding runs again."""

import csv
import io
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from structpred.cli.run_commands import Runs, Show
from structpred.config import Json
from structpred.display import duration, scores, show_table
from structpred.errors import ConfigError, RunError
from structpred.metrics import Metric
from structpred.registry import Registry, metrics, models, nearest, objectives, tasks
from structpred.results import RunResult
from structpred.runs import named
from structpred.runs.folder import Files, Folder
from structpred.runs.listing import Listed, is_run, listed, measures_of, troubles
from structpred.text import counted, plain

FIELDS = ("run", "task", "model", "objective", "seed", "state", "age")
FAMILIES: dict[str, Registry] = {"task": tasks, "model": models, "objective": objectives}
DAY = 86400


def show_runs(given: Runs, console: Console) -> None:
    """Print the runs that match, in order."""
    every = listed(given.root)
    _check(given, every)
    chosen = _sorted([run for run in every if _matches(run, given)], given)
    if given.format == "table":
        _show_table(chosen, given.root, console)
    else:
        text = _as_json(chosen) if given.format == "json" else _as_csv(chosen)
        console.file.write(text)


def _check(given: Runs, every: Sequence[Listed]) -> None:
    """Refuse names that no run can have."""
    for field, registry in FAMILIES.items():
        wanted = getattr(given, field)
        if wanted is not None and wanted not in registry and all(getattr(each, field) != wanted for each in every):
            raise ConfigError(f"there is no {field} named {wanted!r}; {nearest(wanted, list(registry))}")
    known = [*FIELDS, *_columns(every)]
    some_score = not every and given.sort.startswith(("dev.", "test."))
    if not some_score and not any(name in known for name in _also_called(given.sort)):
        raise ConfigError(f"--sort is one of {', '.join(known)}, but got {given.sort!r}; {nearest(given.sort, known)}")


def _matches(run: Listed, given: Runs) -> bool:
    wanted = {field: getattr(given, field) for field in ("task", "model", "objective", "seed", "state")}
    return all(value is None or getattr(run, field) == value for field, value in wanted.items())


def _sorted(chosen: list[Listed], given: Runs) -> list[Listed]:
    """In the order that is asked for; runs without the value come last."""
    values = {run.folder: _sorting_value(run, given.sort) for run in chosen}
    having = [run for run in chosen if values[run.folder] is not None]
    having.sort(key=lambda run: values[run.folder], reverse=given.reverse)
    return [*having, *(run for run in chosen if values[run.folder] is None)]


def _value(run: Listed, field: str) -> Any:
    if field == "run":
        return run.folder.path.name
    if field in FIELDS:
        return getattr(run, field)
    split, _, metric = field.partition(".")
    return run.scores.get(split, {}).get(metric)


def _sorting_value(run: Listed, field: str) -> Any:
    """The value to sort by; a score counts under a former or a present name of its metric too."""
    values = (_value(run, name) for name in _also_called(field))
    return next((value for value in values if value is not None), None)


def _also_called(field: str) -> list[str]:
    """A field, and scores of the metric under its other names, such as ``test.SER`` for ``test.PER``."""
    split, dot, metric = field.partition(".")
    families = [
        (cls.name, *cls.former) for cls in metrics.classes() if issubclass(cls, Metric) and hasattr(cls, "name")
    ]
    others = [name for family in families if metric in family for name in family]
    return list(dict.fromkeys([field, *(f"{split}{dot}{name}" for name in others)]))


def _columns(runs: Sequence[Listed]) -> list[str]:
    """Every score that one of the runs has, such as ``dev.PER``."""
    names = (f"{split}.{metric}" for run in runs for split, of in run.scores.items() for metric in of)
    return list(dict.fromkeys(names))


def _show_table(runs: Sequence[Listed], root: Path, console: Console) -> None:
    if not runs:
        console.print(f"No such runs in {root}", soft_wrap=True)
        return
    rows = [(*_names(run), *(_scores(run, split) for split in ("dev", "test")), _age(run.age)) for run in runs]
    show_table(console, ("run", "task", "model", "objective", "seed", "state", "dev", "test", "age"), rows)
    for run in runs:
        if run.trouble:
            console.print(f"{run.folder.path.name}: {run.trouble}", soft_wrap=True)


def _names(run: Listed) -> tuple[str, ...]:
    seed = "?" if run.seed is None else str(run.seed)
    return tuple(
        plain(name)[:60] for name in (run.folder.path.name, run.task, run.model, run.objective, seed, run.state)
    )


def _scores(run: Listed, split: str) -> str:
    return plain(scores(dict(run.scores.get(split, {}))))[:60]


def _age(seconds: float) -> str:
    return duration(seconds) if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"


def _fields(run: Listed) -> dict[str, Any]:
    return {
        "run": run.folder.path.name,
        "folder": str(run.folder.path),
        "identity": run.identity,
        "task": run.task,
        "model": run.model,
        "objective": run.objective,
        "seed": run.seed,
        "state": run.state,
        "touched": datetime.fromtimestamp(run.touched, UTC).isoformat(timespec="seconds"),
        "age_seconds": round(run.age),
        "trouble": run.trouble,
    }


def _as_json(runs: Sequence[Listed]) -> str:
    return json.dumps([{**_fields(run), "scores": run.scores} for run in runs], indent=1) + "\n"


def _as_csv(runs: Sequence[Listed]) -> str:
    columns = _columns(runs)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_fields(Listed(Folder(Path()), "")), *columns])
    for run in runs:
        cells = [*_fields(run).values(), *(_value(run, column) for column in columns)]
        writer.writerow([plain(cell) if isinstance(cell, str) else cell for cell in cells])
    return stream.getvalue()


def show_run(given: Show, console: Console) -> None:
    """Print everything about one run."""
    folder = named(given.path)
    if not is_run(folder.path):
        raise RunError(f"{given.path}: expected the folder of a run, but there is no experiment.json in it")
    files = Files(folder.path)
    record, experiment = files.json(folder.record.name), files.json(folder.experiment.name)
    result = _result(files, folder).known_by(measures_of(experiment)) if folder.finished else None
    state = "finished" if result else "unfinished: the command that began it resumes it"
    if result and (found := troubles(folder)):
        state = f"damaged: {'; '.join(found)}"
    _say(console, f"Run {folder.path}, {state}")
    _say(console, f"Identity {record.get('identity', '?')}")
    _heading(console, "Experiment")
    for word in words(experiment):
        _say(console, f"  {shlex.quote(word)}")
    if record.get("start"):
        _say(console, f"  starts from the run {str(record['start'])[:16]}")
    if result is not None:
        _show_result(result, console)
    _heading(console, "Files")
    paths = sorted(path for path in folder.path.rglob("*") if path.is_file())
    rows = [(plain(str(path.relative_to(folder.path))), f"{path.stat().st_size:,}") for path in paths]
    show_table(console, ("file", "bytes"), rows)
    _heading(console, "How it was made")
    for name, value in _made(record, result):
        _say(console, f"  {name}: {value}")


def _result(files: Files, folder: Folder) -> RunResult:
    try:
        return RunResult.of(files.json(folder.result.name))
    except ValueError as error:
        raise RunError(f"{folder.result}: {error}, but it holds something else; see structpred clean") from None


def _show_result(result: RunResult, console: Console) -> None:
    _heading(console, "Scores (%)")
    metrics = list(result.scores["test"])
    rows = [(split, *(_number(of.get(name)) for name in metrics)) for split, of in result.scores.items()]
    show_table(console, ("split", *map(plain, metrics)), rows)
    _heading(console, "History")
    of_dev = list(dict.fromkeys(name for epoch in result.history for name in epoch.dev))
    show_table(
        console,
        ("epoch", "loss", *(plain(f"dev {name}") for name in of_dev), "seconds", ""),
        [
            (
                str(epoch.epoch),
                f"{epoch.loss:.4f}",
                *(_number(epoch.dev.get(name)) for name in of_dev),
                f"{epoch.seconds:,.1f}",
                "kept" if epoch.epoch == result.best_epoch else "",
            )
            for epoch in result.history
        ],
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def words(tree: Mapping[str, Json], place: str = "") -> Iterator[str]:
    """An experiment's JSON as assignments that make it again; its start and its metrics are left out.

    Examples:
        >>> list(words({"objective": {"type": "rml", "payoff": {"type": "hamming"}}, "seed": 3}))
        ['objective=rml', 'objective.payoff=hamming', 'seed=3']
    """
    for name, value in tree.items():
        field = f"{place}{name}"
        if name == "type" or field in ("start", "metrics"):
            continue
        if isinstance(value, dict):
            if "type" in value:
                yield f"{field}={value['type']}"
            yield from words(value, f"{field}.")
        else:
            yield f"{field}={value if isinstance(value, str) else json.dumps(value)}"


def _made(record: Mapping[str, Any], result: RunResult | None) -> Iterator[tuple[str, str]]:
    """What made a run, by name."""
    if result is not None:
        yield (
            "training",
            (
                f"{result.steps:,} steps, {result.skipped:,} skipped, {duration(result.seconds)} "
                f"({result.cpu_seconds:,.0f} CPU-seconds) on {result.device}"
            ),
        )
        yield "epoch kept", str(result.best_epoch)
        yield "Trainer", f"version {result.trainer}, {counted(result.processes, 'process', 'processes')}"
        for signature in result.signatures.values():
            yield "scored by", signature
    yield "data", str(record.get("data", "?"))
    if record.get("commit"):
        yield "commit", f"{record['commit']}{', with changes that were not committed' if record.get('changed') else ''}"
    yield "Python", f"{record.get('python', '?')} on {record.get('platform', '?')}"
    packages = record.get("packages")
    if isinstance(packages, dict):
        yield "packages", ", ".join(f"{name} {version}" for name, version in packages.items())
    if record.get("threads"):
        yield "threads", str(record["threads"])
    if record.get("imports"):
        yield "components from", ", ".join(map(str, record["imports"]))


def _heading(console: Console, text: str) -> None:
    console.print(Text(f"\n{text}", style="bold"))


def _say(console: Console, line: str) -> None:
    console.print(Text(plain(line) if not line.startswith("  ") else f"  {plain(line[2:])}"), soft_wrap=True)
