"""Which runs a folder holds, from a few small files of each; a damaged one is told, never an error."""

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from structpred.errors import RunError
from structpred.registry import tasks
from structpred.results import Measure, RunResult
from structpred.runs.folder import Files, Folder

State = Literal["finished", "unfinished", "damaged"]
UNKNOWN = "?"
_NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Listed:
    """A run as a list shows it.

    Attributes:
        folder: its files.
        identity: all 64 digits, or the folder's name where its record is damaged.
        task, model, objective: registered names; ``"?"`` where the experiment is damaged.
        seed: its seed, or None likewise.
        state: how far it is.
        scores: as of `RunResult`, by the present names of metrics; empty unless finished.
        touched: when its newest file of note was written, in seconds since 1970.
        trouble: what is damaged, as a sentence.
    """

    folder: Folder
    identity: str
    task: str = UNKNOWN
    model: str = UNKNOWN
    objective: str = UNKNOWN
    seed: int | None = None
    state: State = "unfinished"
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    touched: float = 0.0
    trouble: str = ""

    @property
    def age(self) -> float:
        """Seconds since it was touched."""
        return max(0.0, time.time() - self.touched)


def listed(root: Path) -> list[Listed]:
    """The runs in a folder, by name; folders that are no run are left out.

    Raises:
        RunError: there is no such folder.
    """
    if not root.is_dir():
        raise RunError(f"{root}: there is no such folder; name the folder of run folders with --root")
    return [_listed(Folder(path)) for path in sorted(root.iterdir()) if _NAME.fullmatch(path.name) and _has_files(path)]


def is_run(path: Path) -> bool:
    """True for a folder with a record or an experiment in it."""
    return path.is_dir() and _has_files(path)


def _has_files(path: Path) -> bool:
    return any(file.is_file() for file in (Folder(path).record, Folder(path).experiment, Folder(path).result))


def identity_of(folder: Folder) -> str | None:
    """The identity in a run's record, if the folder is called by its beginning."""
    record = read_json(folder.record)
    identity = record.get("identity") if isinstance(record, dict) else None
    fits = isinstance(identity, str) and len(identity) == 64 and identity.startswith(folder.path.name)
    return str(identity) if fits else None


def read_json(path: Path) -> Any:
    """The JSON in a file; None if it is unreadable or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def measures_of(experiment: object) -> tuple[Measure, ...]:
    """The metrics of the task in an experiment's JSON; none where the task is not known here."""
    name = _parts(experiment).get("task", UNKNOWN)
    found = getattr(tasks[name], "metrics", ()) if name in tasks else ()
    return tuple(each for each in found if isinstance(each, Measure))


def _listed(folder: Folder) -> Listed:
    identity, trouble = identity_of(folder), []
    if identity is None:
        trouble.append(f"{folder.record.name} is damaged or of another run")
    experiment = read_json(folder.experiment)
    parts = _parts(experiment)
    if not parts:
        trouble.append(f"{folder.experiment.name} is damaged")
    scores: dict[str, dict[str, float]] = {}
    if folder.finished:
        try:
            result = RunResult.of(read_json(folder.result)).known_by(measures_of(experiment))
            scores = result.scores
            if identity not in (None, result.identity):
                trouble.append(f"{folder.result.name} is of another run")
        except (ValueError, TypeError):
            trouble.append(f"{folder.result.name} is damaged")
        trouble = trouble or troubles(folder)
    state: State = "damaged" if trouble else "finished" if folder.finished else "unfinished"
    name = folder.path.name
    return Listed(
        folder,
        identity or name,
        **parts,
        state=state,
        scores=scores,
        touched=_touched(folder),
        trouble="; ".join(trouble),
    )


def troubles(folder: Folder) -> list[str]:
    """What is wrong with the files of a finished run, as far as it shows without reading the large ones."""
    files = Files(folder.path)
    try:
        names = files.checksums
    except RunError:
        return [f"{folder.checksums.name} is damaged"]
    if not names:
        record = read_json(folder.record)
        return [f"{folder.checksums.name} is missing"] if isinstance(record, dict) and "checksums" in record else []
    found = [f"{name} is missing" for name in names if not (folder.path / name).is_file()]
    for path in (folder.record, folder.experiment, folder.result):
        try:
            files.read(path.name)
        except RunError:
            found += [f"{path.name} is not what was written when the run ended"] if path.is_file() else []
    return found


def _parts(experiment: object) -> dict[str, Any]:
    """Task, model, objective and seed of an experiment's JSON; nothing where it is something else."""
    try:
        names = {part: experiment[part]["type"] for part in ("task", "model", "objective")}  # type: ignore[index]
        seed = experiment["seed"]  # type: ignore[index]
    except (LookupError, TypeError):
        return {}
    whole = isinstance(seed, int) and all(isinstance(name, str) for name in names.values())
    return {**names, "seed": seed} if whole else {}


def _touched(folder: Folder) -> float:
    """When the result was written, or what is written while the run is trained."""
    latest = 0.0
    files = (folder.result,) if folder.finished else (folder.record, folder.log, folder.progress, folder.checkpoint)
    for file in (*files, folder.path):
        with suppress(OSError):
            latest = max(latest, file.stat().st_mtime)
            if folder.finished:
                break
    return latest
