"""The files of a run's folder: where they are, how they are written and checked, and which folder a name means."""

import hashlib
import io
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from structpred.errors import RunError
from structpred.task import Sizes
from structpred.vocabulary import Symbols, Vocabularies, Vocabulary

CHECKSUMS = "SHA256SUMS"
"""The file of checksums, in the format of ``sha256sum --check``."""

KEPT = "kept."
"""How the names of files begin that a task keeps in the folder."""

LAST = "result.json"
"""The file that is written last."""

_LINE = re.compile(r"([0-9a-f]{64})  ([^/\0\n]+)\n")
_HEXADECIMAL = re.compile(r"[0-9a-f]{1,64}…?|[0-9a-f]{1,64}\.{3}")
_FOLDER = re.compile(r"[0-9a-f]{16}")


class _File:
    """A file of a run folder, as an attribute of `Folder`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: "Folder", kind: type) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class Folder:
    """The files of one run; it goes wherever a path goes, as in ``Run.load(run.folder)``.

    Attributes:
        path: the folder.
    """

    path: Path

    experiment = _File("experiment.json")
    """The experiment's canonical JSON."""
    data = _File("data.json")
    """Vocabularies and sizes."""
    record = _File("record.json")
    """Identity, environment and commit."""
    lock = _File(".lock")
    """Locked by the process that trains the run."""
    progress = _File("progress.json")
    """How far the run has come, for other processes to read."""
    checkpoint = _File("checkpoint.pt")
    """Everything needed to resume; its predecessor lies beside it. Both are removed when the run finishes."""
    log = _File("log.jsonl")
    """Numbers of training as lines of JSON."""
    not_finite = _File("not_finite.json")
    """The batch that ended training because its loss or gradient was not finite."""
    weights = _File("weights.pt")
    """The weights that scored best on dev."""
    counts = _File("counts.npz")
    """Per-example counts of every metric, as ``split/metric`` arrays."""
    outputs = _File("outputs.npz")
    """The same outputs as label ids, in arrays ``split/labels`` and ``split/lengths``, for other metrics."""
    traceback = _File("traceback.txt")
    """The traceback of an error in a component's code, if there was one."""
    checksums = _File(CHECKSUMS)
    """SHA-256 of every file that a finished run is read from, in the format of ``sha256sum``."""
    result = _File("result.json")
    """The scores; written last, so its presence means that the run is finished."""

    def __fspath__(self) -> str:
        return str(self.path)

    def predictions(self, split: str) -> Path:
        """The outputs predicted for a split, with sources and references."""
        return self.path / f"{split}.predictions.tsv"

    def kept(self, name: str) -> Path:
        """What the task learnt from its training data and needs for new inputs; see `structpred.task.Splits`."""
        return self.path / f"{KEPT}{name}"

    @property
    def finished(self) -> bool:
        """True once everything is written."""
        return self.result.exists()


def _gone(folder: Path) -> RunError:
    where = "" if folder.is_absolute() else f", in the working directory {Path.cwd()}"
    return RunError(
        f"expected the run folder {folder}{where}, but there is none; if the working directory has changed, change it "
        "back, or name the run, or its root, by the whole path"
    )


def files_of(folder: Folder) -> list[Path]:
    """All files that a run may write into its folder, but for older checkpoints and those of loggers."""
    own = [folder.path / each.name for each in vars(Folder).values() if isinstance(each, _File)]
    return [*own, *map(folder.predictions, ("dev", "test")), *folder.path.glob(f"{KEPT}*")]


def named(path: Path) -> Folder:
    """The folder of the run that a path names, in full or by a prefix that no other run shares.

    Raises:
        RunError: several runs share the prefix.
    """
    if path.is_dir():
        return Folder(path)
    if _HEXADECIMAL.fullmatch(path.name):
        roots = [path.parent] if len(path.parts) > 1 else [path.parent, Path("runs")]
        runs = [run for root in roots if root.is_dir() for run in sorted(root.iterdir()) if _begins(run, path.name)]
        if len(runs) > 1:
            raise RunError(f"{path} may be any of {', '.join(map(str, runs))}; give more digits")
        if runs:
            return Folder(runs[0])
    return Folder(path)


def _begins(run: Path, word: str) -> bool:
    digits = word.rstrip(".…")
    both = min(len(digits), len(run.name))
    return bool(_FOLDER.fullmatch(run.name)) and run.name[:both] == digits[:both] and Folder(run).record.is_file()


@dataclass(frozen=True)
class Files:
    """Reads the files of a finished run and compares each with its checksum.

    Attributes:
        folder: the run's folder.
    """

    folder: Path

    @cached_property
    def checksums(self) -> dict[str, str]:
        """Digests by file name; empty for a run older than checksums.

        Raises:
            RunError: the file of checksums is damaged.
        """
        path = self.folder / CHECKSUMS
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise damaged(path, f"cannot be read ({_short(error)})") from None
        lines = [_LINE.fullmatch(line) for line in text.splitlines(keepends=True)]
        sums = {match[2]: match[1] for match in lines if match}
        if not all(lines) or LAST not in sums:
            raise damaged(path, f"is damaged: expected a checksum and a file name in each line, {LAST} in the last")
        return sums

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            RunError: it is missing, unreadable, empty, or not the file that was written when the run ended.
        """
        path = self.folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            if not self.folder.is_dir():
                raise _gone(self.folder) from None
            raise damaged(path, "is missing") from None
        except OSError as error:
            raise damaged(path, f"cannot be read ({_short(error)})") from None
        expected = self.checksums.get(name)
        if not content:
            raise damaged(path, "is empty")
        if expected is not None and sha256(content) != expected:
            raise damaged(path, f"is not what was written when the run ended (see {CHECKSUMS})")
        return content

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object in a file.

        Raises:
            RunError: as `read`; also if it holds no JSON object.
        """
        try:
            node = json.loads(self.read(name).decode())
        except (ValueError, RecursionError) as error:
            raise damaged(self.folder / name, f"cannot be read as JSON ({_short(error)})") from None
        if not isinstance(node, dict):
            raise damaged(self.folder / name, f"must hold a JSON object, but holds {node!r:.40}")
        return node

    def verify(self) -> None:
        """Compare every file that has a checksum.

        Raises:
            RunError: one has changed.
        """
        for name in self.checksums:
            self.read(name)


def damaged(path: Path, why: str) -> RunError:
    """The error for an unusable file of a finished run, with a way out."""
    return RunError(
        f"{path} {why}; the run cannot be used as it is: move the folder {path.parent} away or delete it, and the "
        "command that began the run trains it again"
    )


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def written(sums: Mapping[str, str]) -> str:
    """The text of `CHECKSUMS`, from digests by file name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sums.items())


def _short(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())


_SIZES = {"num_inputs": "inputs", "num_labels": "labels"}
"""The names of some sizes in ``data.json``."""


def write_data(vocabularies: Vocabularies, sizes: Sizes) -> str:
    """The text of `Folder.data`."""
    sides = {field.name: getattr(vocabularies, field.name).symbols for field in fields(vocabularies)}
    kept = {_SIZES.get(name, name): value for name, value in asdict(sizes).items()}
    return json.dumps({**sides, "sizes": kept}, ensure_ascii=False)


def read_data(folder: Folder) -> tuple[Vocabularies, Sizes]:
    """Read what `write_data` wrote.

    Raises:
        RunError: it is damaged.
    """
    node = Files(folder.path).json(folder.data.name)
    try:
        names = {_SIZES.get(field.name, field.name): field.name for field in fields(Sizes)}
        kept = {names[name]: value for name, value in node["sizes"].items()}
        kept["label_counts"] = tuple(kept["label_counts"])
        kept["columns"] = tuple((symbols, characters) for symbols, characters in kept.get("columns", ()))
        sizes = Sizes(**kept)
        sides = [Vocabulary(tuple(node.get(field.name, ()))) for field in fields(Vocabularies)]
        counts = (sizes.num_inputs, sizes.num_labels, sizes.references, sizes.characters, *sizes.label_counts)
        if not all(isinstance(each, int) for each in (*counts, *itertools.chain(*sizes.columns))):
            raise TypeError
        if not all(isinstance(symbol, str) for side in sides for symbol in side.symbols):
            raise TypeError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise damaged(folder.data, "must hold vocabularies and sizes, but holds something else") from None
    return Vocabularies(*sides), sizes


def encoded(outputs: Sequence[Symbols], labels: Vocabulary) -> dict[str, np.ndarray]:
    """Outputs as label ids, concatenated, and their lengths; `decoded_outputs` is the inverse.

    Examples:
        >>> encoded([("b", "a"), ()], Vocabulary(("a", "b")))
        {'labels': array([1, 0], dtype=int32), 'lengths': array([2, 0], dtype=int32)}
    """
    flat = [label for output in outputs for label in labels.encode(output)]
    return {"labels": np.array(flat, np.int32), "lengths": np.array([len(output) for output in outputs], np.int32)}


def decoded_outputs(ids: np.ndarray, lengths: np.ndarray, labels: Vocabulary) -> list[Symbols]:
    """The inverse of `encoded`.

    Examples:
        >>> decoded_outputs(np.array([1, 0]), np.array([2, 0]), Vocabulary(("a", "b")))
        [('b', 'a'), ()]
    """
    return [labels.decode(row.tolist()) for row in np.split(ids, lengths.cumsum()[:-1])] if len(lengths) else []


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a file of a run.

    Raises:
        RunError: it is damaged.
    """
    try:
        with np.load(io.BytesIO(Files(path.parent).read(path.name)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except RunError:
        raise
    except Exception as error:  # a damaged archive can raise anything
        raise damaged(path, f"cannot be read as {path.stem}") from error
