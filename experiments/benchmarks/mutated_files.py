"""Does any damaged file of any form that tasks read give a traceback, or take more than ten CPU-seconds?

For each reader small files are made, one of them is damaged some thousand times, and each time all are read. The text
is damaged (cut, turned bits, lines doubled and exchanged, unseen characters, fields of a megabyte, other encodings) or,
where a file is packed, its bytes; or a file becomes empty, a folder, or nothing. The reader's name and a number decide
each damage, so that one can be had again: ``--only NAME --first NUMBER --files 1``.
"""

import argparse
import gzip
import io
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import traceback
import warnings
import wave
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

from structpred import tasks
from structpred.downloads import VARIABLE
from structpred.errors import StructpredError
from structpred.experiments.benchmarks.damage import damage, zipped
from structpred.experiments.benchmarks.measuring import Stopwatch, TooLong, limited, report, standalone
from structpred.reading import each_line, read_bytes
from structpred.task import Task
from structpred.tasks.published import PublishedTask
from structpred.tasks.translation import ARCHIVE, MEMBER
from structpred.text import Outcome as Row
from structpred.text import predictions_table, read_predictions

FILES, LIMIT = 2500, 10.0


@dataclass(frozen=True)
class Reader:
    """Files of one form, and what reads them.

    Attributes:
        files: their content by name.
        read: reads them, given their folder.
    """

    files: Mapping[str, bytes]
    read: Callable[[Path], object]


PAIRS = "".join(f"w{i % 17} {i}\tv {i % 5}\n" for i in range(40)).encode()
CHUNKS = (
    b"# id = 1\nThe DT B-NP\ncat NN I-NP\nsat VB O\n\nIt PRP B-NP\n\n-DOCSTART- -X- O\n\n# # B-NP\n5 CD I-NP\n\n" * 4
)
NAMES = "".join(f"#tag\tO\nDr\tB-PER\nNo{i}é\tI-PER\n\n" for i in range(12)).encode()
IOBES = b"a S-X\nb B-Y\nc I-Y\nd E-Y\ne O\n\nf O\n\n" * 6
TREES = b"# text = don't go\n1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n" + b"".join(
    f"{n}\t{word}\t_\t{tag}\t{tag}X\t_\t_\t_\t_\t_\n".encode()
    for n, word, tag in [(1, "do", "AUX"), (2, "n't", "PART")]
) + b"2.1\t_\t_\t_\t_\t_\t_\t_\t_\t_\n3\tgo\t_\tVERB\tVB\t_\t_\t_\t_\t_\n\n"  # fmt: skip
LEMMAS = b"gehen\tging\tV;PST\ngut gehen\tging gut\tV;PST\ngehen\tgehe\tV;PRS;1\nFloh\tFl\xc3\xb6he\tN;PL\n" * 5
OBJECTS = b"".join(
    f'{{"source": "w{i}", "target": {target}, "id": {i}}}\n'.encode()
    for i, target in enumerate(['"x y"', '["x y", "x z"]', '[["x", "y"], ["z"]]', '"\\u00e9"'] * 5)
)
LETTERS = b"".join(
    f"{2 * i + j}\t{'ab'[j]}\t{-1 if j else 2 * i + 1}\t{i}\t1\t{i % 2}\t{chr(9).join(f'{i:0128b}')}\t\n".encode()
    for i in range(30)
    for j in (0, 1)
)
SENTENCES = "".join(f"I see {i}.\tIch sehe {i}.\nGo {i}!\tGeh {i}!\n" for i in range(40)).encode()
TABLE = predictions_table([Row("a b", "x", ("x", "y | z")), Row("c\td", "x\\y", ("\x85",))] * 9).encode()
PHONES = b"0 3050 h#\n3050 4559 iy\n4559 5723 bcl\n5723 8000 h#\n"
PACKINGS = {"deflate": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}


def own(content: bytes, name: str, task: Callable[[str], Task]) -> Reader:
    """A file of a user's own, from which all parts of a task are read."""
    return Reader({name: content}, lambda folder: task(f"{folder}/{name}").load())


def published(task: PublishedTask | tasks.Letters | tasks.Tatoeba | tasks.Timit, *, ending: str = "",
              content: bytes = b"", files: Mapping[str, bytes] | None = None) -> Reader:  # fmt: skip
    """Files of a published data set below ``$STRUCTPRED_DATA``: one content for each part, or files by name."""
    if files is None:
        assert isinstance(task, PublishedTask)
        files = {f"{name}{ending}": content for name in task.parts(str).values()}
    return Reader({f"{task.origin.folder}/{name}": content for name, content in files.items()}, lambda _: task.load())


packed = partial(gzip.compress, mtime=0)


def readers() -> dict[str, Reader]:
    """Every way to read files, by name."""
    slots = {f"{part}/seq.{side}": content for part in ("train", "dev", "test")
             for side, content in (("in", b"add it now\nplay\n"), ("out", b"O B-n I-n\nO\n"))}  # fmt: skip
    texts = {
        f"{side}.{language}": b"ein Satz .\nzwei !\n" * 9 for side in ("train", "dev") for language in ("de", "en")
    }
    captions = {f"{stem}.{language}": b"ein Satz .\nzwei !\n" for stem in ("train", "val", "test_2016_flickr")
                for language in ("de", "en")}  # fmt: skip
    symbols = OBJECTS.replace(b'"x y", "x z"', b'"x", "z"')
    chunks = CHUNKS.replace(b"# id = 1\n", b"")

    def parallel(at: Path) -> object:
        return tasks.Parallel(train=f"{at}/train", dev=f"{at}/dev", source_suffix=".de", target_suffix=".en").load()

    found = {
        "tsv": own(PAIRS, "a.tsv", lambda at: tasks.Tsv(train=at)),
        "tsv-gz": own(packed(PAIRS), "a.tsv.gz", lambda at: tasks.Tsv(train=at)),
        "json-lines": own(OBJECTS, "a.jsonl", lambda at: tasks.JsonLines(train=at)),
        "json-lines-symbols": own(symbols, "a.jsonl", lambda at: tasks.JsonLines(train=at, lists="symbols")),
        "parallel": Reader(texts, parallel),
        "parallel-gz": Reader({f"{name}.gz": packed(content) for name, content in texts.items()}, parallel),
        "conll": own(CHUNKS, "a.txt", lambda at: tasks.Conll(train=at, test=at)),
        "conll-iobes": own(IOBES, "a.txt", lambda at: tasks.Conll(train=at, test=at, scheme="iobes")),
        "conll-written": Reader({"a.txt": CHUNKS}, _written),
        "conllu": own(TREES * 2, "a.conllu", lambda at: tasks.Conllu(train=at, dev=at, test=at)),
        "slots": Reader(slots, lambda at: tasks.Slots(train=f"{at}/train", dev=f"{at}/dev", test=f"{at}/test").load()),
        "inflection": own(LEMMAS, "a", lambda at: tasks.Inflection(train=at)),
        "predict-inputs": Reader({"in.txt": PAIRS}, _inputs),
        "predictions-table": Reader({"a.tsv": TABLE}, lambda at: read_predictions(at / "a.tsv")),
        "pronunciation": _lexicon(tasks.Pronunciation(held_out=5)),
        "letter-tagging": _lexicon(tasks.LetterTagging(held_out=5)),
        "letters": published(tasks.Letters(), files={"letter.data": LETTERS}),
        "cmudict": published(tasks.Cmudict(), files={"g014b2b.train": PAIRS, "g014b2b.test": PAIRS}),
        "sigmorphon-2017": published(tasks.Sigmorphon2017(language="german"), content=LEMMAS),
        "sigmorphon-2020": published(tasks.Sigmorphon2020(language="fre"), content=PAIRS),
        "sigmorphon-2021": published(tasks.Sigmorphon2021(), content=PAIRS),
        "conll-2000": published(tasks.Conll2000(), ending=".gz", content=packed(chunks)),
        "conll-2002": published(tasks.Conll2002(language="ned", encoding="latin-1"), content=chunks),
        "ncbi-disease": published(tasks.NcbiDisease(), content=NAMES),
        "wnut-17": published(tasks.Wnut17(), content=NAMES),
        "ud-english-ewt": published(tasks.EnglishWebTreebank(tag="xpos"), ending=".gz", content=packed(TREES * 3)),
        "snips": published(tasks.Snips(), files={name.replace("dev/", "valid/"): slots[name] for name in slots}),
        "multi30k": published(
            tasks.Multi30k(),
            files={f"tok/{name.replace('.', '.lc.norm.tok.')}": content for name, content in captions.items()},
        ),
        "multi30k-raw": published(
            tasks.Multi30kRaw(), files={f"raw/{name}.gz": packed(content) for name, content in captions.items()}
        ),
    }
    for name, method in PACKINGS.items():
        found[f"tatoeba-{name}"] = published(
            tasks.Tatoeba(held_out=9), files={ARCHIVE: zipped({MEMBER: SENTENCES}, method)}
        )
    if all(map(find_spec, ("soundfile", "kaldi_native_fbank"))):
        found["timit"] = published(tasks.Timit(), files=dict(_speech()))
    else:
        print(
            "timit is left out, for soundfile and kaldi_native_fbank are not installed: pip install structpred[speech]"
        )
    return found


def _written(folder: Path) -> object:
    task = tasks.Conll(train=f"{folder}/a.txt", test=f"{folder}/a.txt")
    outputs = [example.references[0] for example in task.examples(task.train)]
    return task.written(task.train, outputs)


def _inputs(folder: Path) -> object:
    task = tasks.Tsv(train="any", source="spaces")
    for line, _ in each_line(read_bytes(folder / "in.txt"), "in.txt"):
        try:
            if isinstance(line, str):
                task.parse(line)
        except StructpredError:
            pass
    return None


def _lexicon(task: Task) -> Reader:
    """The lexicon of a package that stands in front of the installed one."""
    with tempfile.TemporaryDirectory() as place:
        connection = sqlite3.connect(f"{place}/lexicon.db")
        connection.execute("CREATE TABLE word_phonemes (id INTEGER, word TEXT, pron_order INTEGER, phonemes TEXT)")
        connection.execute("CREATE TABLE g2p_alignments (id INTEGER, word TEXT, alignment TEXT)")
        words = [f"{a}{b}" for a in "abcdef" for b in "ghijk"]
        connection.executemany("INSERT INTO word_phonemes VALUES (?, ?, 0, 'ˈa b')", enumerate(words))
        connection.executemany("INSERT INTO g2p_alignments VALUES (?, ?, 'a}ˈa b|c}b|k')", enumerate(words))
        connection.commit()
        connection.close()
        content = Path(place, "lexicon.db").read_bytes()
    return Reader({"gruut_lang_en/lexicon.db": content}, lambda _: task.load())


def _speech() -> Iterator[tuple[str, bytes]]:
    """Recordings of noise by a training, a dev and a test speaker."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        sound.writeframes(random.Random(1).randbytes(16_000))
    for speaker in ("TRAIN/DR1/FCJF0", "TEST/DR1/FAKS0", "TEST/DR1/MDAB0"):
        yield f"{speaker}/SX1.WAV", stream.getvalue()
        yield f"{speaker}/SX1.PHN", PHONES


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
    for path, content in reader.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    with _found_in(folder):
        reader.read(folder)  # whole it must be read
        for number in numbers:
            chance = random.Random(f"{name} {number}")
            path = chance.choice(sorted(reader.files))
            damage(folder / path, reader.files[path], chance)
            outcome.add(number, lambda: reader.read(folder))
            if (folder / path).is_dir():
                (folder / path).rmdir()
            (folder / path).write_bytes(reader.files[path])
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
    options = argparse.ArgumentParser(description="Read damaged files.")
    options.add_argument("--files", type=int, default=FILES, help="of each reader")
    options.add_argument("--first", type=int, default=0, help="number of the first")
    options.add_argument("--only", metavar="READER", help="one reader")
    given = options.parse_args()
    chosen = {name: reader for name, reader in readers().items() if given.only in (None, name)}
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
