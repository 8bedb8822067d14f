"""Does any damaged file of any form that tasks read give a traceback, or take more than ten seconds of a processor?

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
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
import warnings
import wave
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from structpred import tasks
from structpred.downloads import VARIABLE
from structpred.errors import StructpredError
from structpred.experiments.benchmarks.damage import damage, zipped
from structpred.experiments.benchmarks.standalone import standalone
from structpred.experiments.benchmarks.timing import Stopwatch, report
from structpred.reading import each_line, read_bytes
from structpred.task import Task
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


def own(files: Mapping[str, bytes], task: Callable[[Path], Task]) -> Reader:
    """Files of a user's own."""
    return Reader(files, lambda folder: task(folder).load())


def published(task: Task, files: Mapping[str, bytes], folder: str) -> Reader:
    """Files of a published data set below ``$STRUCTPRED_DATA``."""
    return Reader({f"{folder}/{name}": content for name, content in files.items()}, lambda _: task.load())


def readers() -> dict[str, Reader]:
    """Every way to read files, by name."""
    three = ("train", "dev", "test")
    parts = {part: {f"{part}/seq.in": b"add it now\nplay\n", f"{part}/seq.out": b"O B-n I-n\nO\n"} for part in three}
    slots = {name: content for part in parts.values() for name, content in part.items()}
    snips = {name.replace("dev/", "valid/"): content for name, content in slots.items()}
    texts = {
        f"{side}.{language}": b"ein Satz .\nzwei !\n" * 9 for side in ("train", "dev") for language in ("de", "en")
    }
    captions = {f"{stem}.{language}": b"ein Satz .\nzwei !\n" for stem in ("train", "val", "test_2016_flickr")
                for language in ("de", "en")}  # fmt: skip
    found = {
        "tsv": own({"a.tsv": PAIRS}, lambda at: tasks.Tsv(train=f"{at}/a.tsv")),
        "tsv-gz": own({"a.tsv.gz": gzip.compress(PAIRS, mtime=0)}, lambda at: tasks.Tsv(train=f"{at}/a.tsv.gz")),
        "json-lines": own({"a.jsonl": OBJECTS}, lambda at: tasks.JsonLines(train=f"{at}/a.jsonl")),
        "json-lines-symbols": own(
            {"a.jsonl": OBJECTS.replace(b'"x y", "x z"', b'"x", "z"')},
            lambda at: tasks.JsonLines(train=f"{at}/a.jsonl", lists="symbols"),
        ),
        "parallel": own(
            texts,
            lambda at: tasks.Parallel(train=f"{at}/train", dev=f"{at}/dev", source_suffix=".de", target_suffix=".en"),
        ),
        "parallel-gz": own(
            {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in texts.items()},
            lambda at: tasks.Parallel(train=f"{at}/train", dev=f"{at}/dev", source_suffix=".de", target_suffix=".en"),
        ),
        "conll": own({"a.txt": CHUNKS}, lambda at: tasks.Conll(train=f"{at}/a.txt", test=f"{at}/a.txt")),
        "conll-iobes": own(
            {"a.txt": IOBES}, lambda at: tasks.Conll(train=f"{at}/a.txt", test=f"{at}/a.txt", scheme="iobes")
        ),
        "conll-written": Reader({"a.txt": CHUNKS}, _written),
        "conllu": own(
            {f"{each}.conllu": TREES * 2 for each in three},
            lambda at: tasks.Conllu(train=f"{at}/train.conllu", dev=f"{at}/dev.conllu", test=f"{at}/test.conllu"),
        ),
        "slots": own(slots, lambda at: tasks.Slots(train=f"{at}/train", dev=f"{at}/dev", test=f"{at}/test")),
        "inflection": own({"a": LEMMAS}, lambda at: tasks.Inflection(train=f"{at}/a")),
        "predict-inputs": Reader({"in.txt": PAIRS}, _inputs),
        "predictions-table": Reader({"a.tsv": TABLE}, lambda at: read_predictions(at / "a.tsv")),
        "pronunciation": _lexicon(tasks.Pronunciation(held_out=5)),
        "letter-tagging": _lexicon(tasks.LetterTagging(held_out=5)),
        "letters": published(tasks.Letters(), {"letter.data": LETTERS}, "letters"),
        "cmudict": published(tasks.Cmudict(), {"g014b2b.train": PAIRS, "g014b2b.test": PAIRS}, "cmudict_g2p"),
        "sigmorphon-2017": published(
            tasks.Sigmorphon2017(language="german"),
            {f"german-{part}": LEMMAS for part in ("train-medium", "dev", "uncovered-test")},
            "sigmorphon2017",
        ),
        "sigmorphon-2020": published(
            tasks.Sigmorphon2020(language="fre"), {f"{part}/fre_{part}.tsv": PAIRS for part in three}, "sigmorphon2020"
        ),
        "sigmorphon-2021": published(
            tasks.Sigmorphon2021(), {f"eng_us_{part}.tsv": PAIRS for part in three}, "sigmorphon2021"
        ),
        "conll-2000": published(
            tasks.Conll2000(), {f"{part}.txt.gz": gzip.compress(CHUNKS.replace(b"# id = 1\n", b""), mtime=0) for part in
                                ("train", "test")}, "conll2000"
        ),
        "conll-2002": published(
            tasks.Conll2002(language="ned", encoding="latin-1"),
            {f"ned.{part}": CHUNKS.replace(b"# id = 1\n", b"") for part in ("train", "testa", "testb")},
            "conll2002",
        ),
        "ncbi-disease": published(
            tasks.NcbiDisease(), {f"{part}.tsv": NAMES for part in ("train", "devel", "test")}, "ncbi_disease"
        ),
        "wnut-17": published(
            tasks.Wnut17(),
            {name: NAMES for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")},
            "wnut17",
        ),
        "ud-english-ewt": published(
            tasks.EnglishWebTreebank(tag="xpos"),
            {f"en_ewt-ud-{part}.conllu.gz": gzip.compress(TREES * 3, mtime=0) for part in three},
            "ud_english_ewt",
        ),
        "snips": published(tasks.Snips(), snips, "snips"),
        "multi30k": published(
            tasks.Multi30k(),
            {f"tok/{name.replace('.', '.lc.norm.tok.')}": content for name, content in captions.items()},
            "multi30k",
        ),
        "multi30k-raw": published(
            tasks.Multi30kRaw(),
            {f"raw/{name}.gz": gzip.compress(content, mtime=0) for name, content in captions.items()},
            "multi30k",
        ),
    }  # fmt: skip
    for name, method in PACKINGS.items():
        archive = zipped({MEMBER: SENTENCES}, method)
        found[f"tatoeba-{name}"] = published(tasks.Tatoeba(held_out=9), {ARCHIVE: archive}, "tatoeba")
    if all(map(find_spec, ("soundfile", "kaldi_native_fbank"))):
        found["timit"] = published(tasks.Timit(), dict(_speech()), "timit")
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


class TooLong(BaseException):
    """Reading takes more of a processor than it may."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Stop what takes more seconds of a processor; other work on the machine does not count."""

    def stop(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@dataclass
class Outcome:
    """What came of the files of one reader.

    Attributes:
        counts: of ``read``, ``refused`` (in one sentence), ``tracebacks`` and ``too long``.
        slowest: seconds of a processor that the slowest took.
        faults: what went wrong, with the number of the file.
    """

    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, read: Callable[[], object]) -> None:
        """Read, and note how it went."""
        began = time.process_time()
        try:
            with limited(LIMIT):
                read()
            kind = "read"
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
        self.slowest = max(self.slowest, time.process_time() - began)


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
    before, path, modules = os.environ.get(VARIABLE), list(sys.path), dict(sys.modules)
    os.environ[VARIABLE] = str(folder)
    if (package := folder / "gruut_lang_en").exists():
        (package / "__init__.py").touch()
        sys.path.insert(0, str(folder))
        sys.modules.pop("gruut_lang_en", None)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        sys.path[:] = path
        sys.modules.pop("gruut_lang_en", None)
        if "gruut_lang_en" in modules:
            sys.modules["gruut_lang_en"] = modules["gruut_lang_en"]
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


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
    figures: dict[str, float | int | str] = {
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
    report(figures, "Damaged files")
    assert not figures["tracebacks"]
    assert not figures["over_ten_seconds"]


if __name__ == "__main__":
    standalone(main)
