"""The lexicon read once in a process, for tests of all that is not the reading of it, which takes a second."""

from pathlib import Path

from structpred.reading import note_file, noting_files
from structpred.task import Splits
from structpred.tasks.lexicon import LexiconTask

READ = LexiconTask.load
_KEPT: dict[LexiconTask, tuple[Splits, tuple[Path, ...]]] = {}


def load_once(task: LexiconTask) -> Splits:
    """What `LexiconTask.load` gave for an equal task; the files that it read are noted as they were."""
    if task not in _KEPT:
        with noting_files() as files:
            splits = READ(task)
        _KEPT[task] = splits, tuple(files)
    splits, paths = _KEPT[task]
    for path in paths:
        note_file(path)
    return splits
