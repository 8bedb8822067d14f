"""Does any damaged file give a traceback, or take more than ten CPU-seconds, whatever reads it?

For each reader small files are made, one of them is damaged some thousand times, and each time all are read. The text
is damaged (cut, turned bits, lines doubled and exchanged, unseen characters, fields of a megabyte, other encodings) or,
where a file is packed, its bytes; or a file becomes empty, a folder, or nothing. The reader's name and a number decide
each damage, so that one can be had again: ``--only NAME --first NUMBER --files 1``.
"""

import os
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from structpred.cli.arguments import Parser
from structpred.downloads import VARIABLE
from structpred.errors import ConfigError, StructpredError
from structpred.experiments.benchmarks.damage import damage
from structpred.experiments.benchmarks.measuring import Stopwatch, TooLong, limited, report, standalone
from structpred.experiments.benchmarks.readers import Reader, readers
from structpred.registry import nearest

FILES, LIMIT = 2500, 10.0


@dataclass
class Outcome:
    """What came of the files of one reader.

    Attributes:
        counts: of ``read``, ``refused`` (in one sentence), ``tracebacks`` and ``too long``.
        slowest: CPU-seconds of the slowest file.
        faults: what went wrong, with the number of the file.
    """

    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, read: Callable[[], object]) -> None:
        """Read, and note how it went."""
        kind, watch = "read", Stopwatch()
        try:
            with watch.running(), limited(LIMIT):
                read()
        except StructpredError as error:
            kind = "refused" if str(error).strip() and "\n" not in str(error) else "tracebacks"
            if kind == "tracebacks":
                self.faults.append(f"file {number}: not one line: {error}")
        except TooLong:
            kind = "too long"
            self.faults.append(f"file {number}: more than {LIMIT:.0f} seconds")
        except Exception:  # noqa: BLE001 - whatever it is, it is what this looks for
            kind = "tracebacks"
            self.faults.append(f"file {number}: {traceback.format_exc(limit=-3)}")
        self.counts[kind] += 1
        self.slowest = max(self.slowest, watch.cpu)


def survived(name: str, reader: Reader, place: Path, numbers: range) -> Outcome:
    """Damage files in a folder and read them, once for each number."""
    outcome, folder = Outcome(), place / name
    files = reader.files() if callable(reader.files) else reader.files
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    with _found_in(folder):
        reader.read(folder)  # whole it must be read
        for number in numbers:
            chance = random.Random(f"{name} {number}")
            path = chance.choice(sorted(files))
            damage(folder / path, files[path], chance)
            outcome.add(number, lambda: reader.read(folder))
            if (folder / path).is_dir():
                (folder / path).rmdir()
            (folder / path).write_bytes(files[path])
    shutil.rmtree(folder)
    return outcome


@contextmanager
def _found_in(folder: Path) -> Iterator[None]:
    """Published data, and the package with the lexicon, are looked for in a folder; nothing else is."""
    package, path = folder / "gruut_lang_en", list(sys.path)
    installed = sys.modules.pop(package.name, None)
    if package.exists():
        (package / "__init__.py").touch()
        path.insert(0, str(folder))
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            patch.dict(os.environ, {VARIABLE: str(folder)}),
            patch.object(sys, "path", path),
        ):
            yield
    finally:
        sys.modules.pop(package.name, None)
        if installed is not None:
            sys.modules[package.name] = installed


def main() -> None:
    """Damage everything; the last line is one JSON object."""
    options = Parser("python -m structpred.experiments.benchmarks.mutated_files", "Read damaged files.")
    options.add_argument("--files", type=int, default=FILES, help="of each reader")
    options.add_argument("--first", type=int, default=0, help="number of the first")
    options.add_argument("--only", metavar="READER", help="one reader")
    given = options.read()
    known = readers()
    if given.only not in (None, *known):
        raise ConfigError(f"there is no reader {given.only!r}; {nearest(given.only, [*known])}")
    chosen = {name: reader for name, reader in known.items() if given.only in (None, name)}
    outcomes: dict[str, Outcome] = {}
    watch = Stopwatch()
    with watch.running(), tempfile.TemporaryDirectory() as place:
        for name, reader in chosen.items():
            outcome = survived(name, reader, Path(place), range(given.first, given.first + given.files))
            outcomes[name] = outcome
            counts = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.counts.items()))
            print(f"{name}: {counts}; the slowest took {outcome.slowest:.2f} s", flush=True)
            for fault in outcome.faults[:3]:
                print(fault)
    total = sum((outcome.counts for outcome in outcomes.values()), Counter[str]())
    figures = {
        "readers": len(outcomes),
        "files_of_each": given.files,
        "read": total["read"],
        "refused_in_one_line": total["refused"],
        "tracebacks": total["tracebacks"],
        "over_ten_seconds": total["too long"],
        "slowest_cpu_seconds": max(outcome.slowest for outcome in outcomes.values()),
        "cpu_seconds": watch.cpu,
        "seconds": watch.wall,
    }
    report(figures, __doc__)
    assert not figures["tracebacks"]
    assert not figures["over_ten_seconds"]


if __name__ == "__main__":
    standalone(main)
