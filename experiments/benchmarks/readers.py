"""Small files of every form that tasks and pretrained models read, and what reads them, for `mutated_files`."""

import gzip
import io
import os
import random
import sqlite3
import tempfile
import wave
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from structpred import tasks
from structpred.errors import StructpredError
from structpred.experiments.benchmarks.damage import zipped
from structpred.models import LSTMTagger
from structpred.pretrained import PretrainedEncoder, PretrainedSeq2Seq
from structpred.pretrained.features import VARIABLE as FEATURES
from structpred.pretrained.library import optional, quiet
from structpred.pretrained.tables import word_vectors
from structpred.reading import each_line, read_bytes
from structpred.task import Example, Task
from structpred.tasks.published import PublishedTask
from structpred.tasks.reading import splits_of
from structpred.tasks.translation import ARCHIVE, MEMBER
from structpred.text import Outcome as Row
from structpred.text import predictions_table, read_predictions
from structpred.training.data import EncodedData


@dataclass(frozen=True)
class Reader:
    """Files of one form, and what reads them.

    Attributes:
        files: their content by name, or what makes it.
        read: reads them, given their folder.
    """

    files: Mapping[str, bytes] | Callable[[], Mapping[str, bytes]]
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
PIECES = ("[PAD]", "[UNK]", "[END]", "a", "b", "##a", "##b")
SIZES: Mapping[str, Mapping[str, int]] = {
    "Bert": {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2},
    "T5": {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2},
}
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
    if all(map(find_spec, ("transformers", "pyarrow"))):
        found |= _vectors() | {f"pretrained-{kind.lower()}": _pretrained(kind) for kind in ("Bert", "T5")}
    else:
        print(
            "pretrained networks and vectors are left out, for transformers and pyarrow are not installed: "
            "pip install structpred[pretrained] pyarrow"
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


def _vectors() -> dict[str, Reader]:
    """Word vectors of every form."""
    from safetensors.numpy import save

    words = [f"w{i}é" for i in range(30)]
    vectors = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    text = "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in zip(words, vectors, strict=True)).encode()
    binary = b"".join(word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(words, vectors, strict=True))
    array, column = io.BytesIO(), io.BytesIO()
    np.save(array, vectors)
    optional("pyarrow.parquet").write_table(optional("pyarrow").table({"word": words}), column)

    def reader(name: str, content: bytes, listed: tuple[str, bytes] | None = None) -> Reader:
        def read(folder: Path) -> object:
            found = word_vectors(f"{folder}/{name}", None if listed is None else f"{folder}/{listed[0]}")
            return found.take(list(found.index.values()))

        return Reader(dict([(name, content), *([listed] if listed else [])]), read)

    listed = ("words.txt", "\n".join(words).encode())
    return {
        "vectors-glove": reader("a.txt", text),
        "vectors-word2vec": reader("a.txt", b"30 5\n" + text),
        "vectors-word2vec-gz": reader("a.txt.gz", packed(b"30 5\n" + text)),
        "vectors-word2vec-binary": reader("a.bin", b"30 5\n" + binary),
        "vectors-numpy": reader("a.npy", array.getvalue(), listed),
        "vectors-safetensors": reader("a.safetensors", save({"table": vectors}), listed),
        "vectors-parquet": reader("a.npy", array.getvalue(), ("words.parquet", column.getvalue())),
    }


def _pretrained(kind: str) -> Reader:
    """A tiny network of transformers and its tokenizer, used as an encoder or as a model of sequences."""
    examples = [Example(("a", "b"), (("a", "b"),), ""), Example(("a",), (("b",),), "")]
    splits = splits_of(train=examples, dev=examples, test=examples)

    def read(folder: Path) -> object:
        tagger = LSTMTagger(inputs=PretrainedEncoder(path_or_name=str(folder)))
        model = tagger if kind == "Bert" else PretrainedSeq2Seq(path_or_name=str(folder))
        with patch.dict(os.environ, {FEATURES: f"{folder}/features"}):
            data = EncodedData.of(splits, model)
            return model.build(data.training.sizes)

    return Reader(partial(_network, kind), read)


def _network(kind: str) -> dict[str, bytes]:
    """The files of such a network; importing transformers takes seconds."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    core = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    fast: Any = transformers.PreTrainedTokenizerFast
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(PIECES), pad_token_id=0, decoder_start_token_id=0, eos_token_id=2, **SIZES[kind]
    )
    network = getattr(transformers, "BertModel" if kind == "Bert" else f"{kind}ForConditionalGeneration")(config)
    with tempfile.TemporaryDirectory() as place, quiet():
        network.save_pretrained(place)
        fast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", eos_token="[END]").save_pretrained(place)
        return {path.name: path.read_bytes() for path in Path(place).iterdir()}


def _speech() -> Iterator[tuple[str, bytes]]:
    """Recordings of noise by a training, a dev and a test speaker."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        sound.writeframes(random.Random(1).randbytes(16_000))
    for speaker in ("TRAIN/DR1/FCJF0", "TEST/DR1/FAKS0", "TEST/DR1/MDAB0"):
        yield f"{speaker}/SX1.WAV", stream.getvalue()
        yield f"{speaker}/SX1.PHN", PHONES
