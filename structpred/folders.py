"""The files of a run's folder, and which folder a name means."""

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from structpred.errors import RunError
from structpred.integrity import CHECKSUMS, Files, damaged
from structpred.task import Sizes
from structpred.vocabulary import Vocabularies, Vocabulary


@dataclass(frozen=True)
class Folder:
    """The files of one run.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def experiment(self) -> Path:
        """The experiment's canonical JSON."""
        return self.path / "experiment.json"

    @property
    def data(self) -> Path:
        """Vocabularies and sizes."""
        return self.path / "data.json"

    @property
    def record(self) -> Path:
        """Identity, environment and commit."""
        return self.path / "record.json"

    @property
    def progress(self) -> Path:
        """Where the run stands, for whoever watches from another process."""
        return self.path / "progress.json"

    @property
    def checkpoint(self) -> Path:
        """Everything needed to go on, with the one before it beside it; both are gone once the run is finished."""
        return self.path / "checkpoint.pt"

    @property
    def log(self) -> Path:
        """Numbers of training as lines of JSON."""
        return self.path / "log.jsonl"

    @property
    def not_finite(self) -> Path:
        """The examples of a batch that ended training, because its loss or gradient was not finite."""
        return self.path / "not_finite.json"

    @property
    def weights(self) -> Path:
        """The weights that scored best on dev."""
        return self.path / "weights.pt"

    @property
    def counts(self) -> Path:
        """Per-example counts of every metric, as ``split/metric`` arrays."""
        return self.path / "counts.npz"

    def predictions(self, split: str) -> Path:
        """The outputs predicted for a split, with sources and references."""
        return self.path / f"{split}.predictions.tsv"

    @property
    def outputs(self) -> Path:
        """The label ids of the same outputs, as ``split/labels`` and ``split/lengths`` arrays, for other metrics."""
        return self.path / "outputs.npz"

    @property
    def traceback(self) -> Path:
        """Where a mistake in the code of a component was, if there was one."""
        return self.path / "traceback.txt"

    @property
    def checksums(self) -> Path:
        """SHA-256 of every file that a finished run is read from, as ``sha256sum`` writes it."""
        return self.path / CHECKSUMS

    @property
    def result(self) -> Path:
        """The scores; written last, so that its presence means the run is finished."""
        return self.path / "result.json"

    @property
    def finished(self) -> bool:
        """True once everything is written."""
        return self.result.exists()


def write_data(vocabularies: Vocabularies, sizes: Sizes) -> str:
    """The text of `Folder.data`."""
    sides = {field.name: getattr(vocabularies, field.name).symbols for field in fields(vocabularies)}
    return json.dumps({**sides, "sizes": asdict(sizes)}, ensure_ascii=False)


def read_data(folder: Folder) -> tuple[Vocabularies, Sizes]:
    """What `write_data` wrote.

    Raises:
        RunError: it is damaged.
    """
    node = Files(folder.path).json(folder.data.name)
    try:
        sizes = Sizes(**node["sizes"] | {"label_counts": tuple(node["sizes"]["label_counts"])})
        sides = [Vocabulary(tuple(node.get(field.name, ()))) for field in fields(Vocabularies)]
    except (KeyError, TypeError, ValueError):
        raise damaged(folder.data, "must hold vocabularies and sizes, but holds something else") from None
    return Vocabularies(*sides), sizes


def named(path: Path) -> Folder:
    """The folder of the run that a path names, by its whole name or any beginning that no other run's name has.

    Raises:
        RunError: several have it.
    """
    if path.is_dir():
        return Folder(path)
    if _HEXADECIMAL.fullmatch(path.name):
        roots = [path.parent] if len(path.parts) > 1 else [path.parent, Path("runs")]
        found = [run for root in roots if root.is_dir() for run in sorted(root.iterdir()) if _begins(run, path.name)]
        if len(found) > 1:
            raise RunError(f"{path} may be any of {', '.join(map(str, found))}; give more digits")
        if found:
            return Folder(found[0])
    return Folder(path)


_HEXADECIMAL = re.compile(r"[0-9a-f]{1,64}…?|[0-9a-f]{1,64}\.{3}")
_FOLDER = re.compile(r"[0-9a-f]{16}")


def _begins(run: Path, word: str) -> bool:
    digits = word.rstrip(".…")
    both = min(len(digits), len(run.name))
    return bool(_FOLDER.fullmatch(run.name)) and run.name[:both] == digits[:both] and Folder(run).record.is_file()
