import sqlite3
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from structpred.errors import ConfigError, DataError
from structpred.sequences import spelt
from structpred.task import Example, Splits
from structpred.tasks import Pronunciation


def words(examples: tuple[Example, ...]) -> list[str]:
    return ["".join(spelt(example.source)) for example in examples]


@pytest.fixture(scope="module")
def many() -> Splits:
    return Pronunciation(size=20_000).load()


def test_sizes_and_phones(many: Splits) -> None:
    assert [len(many.train), len(many.dev), len(many.test)] == [20_000, 1000, 1000]
    phones = {phone for example in many.train for reference in example.references for phone in reference}
    assert len(phones) == 40
    assert not any(set(phone) & set("ˈˌ") for phone in phones)


def test_no_word_is_in_two_splits(many: Splits) -> None:
    parts = [set(words(split)) for split in (many.train, many.dev, many.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))


@pytest.mark.slow
def test_a_larger_size_only_adds_training_words(many: Splits) -> None:
    small = Pronunciation(size=50).load()
    assert small.train == many.train[:50]
    assert (small.dev, small.test) == (many.dev, many.test)
    assert small.digest != many.digest


def test_known_words_keep_their_pronunciations_in_order(many: Splits) -> None:
    found = {"".join(spelt(example.source)): example for example in many.train + many.dev + many.test}
    assert found["table"].references == (("t", "eɪ", "b", "ə", "l"),)
    assert found["table"].where == "gruut lexicon: 'table'"
    assert found["lieu"].references == (("l", "u"), ("l", "j", "u"))


@pytest.mark.slow
def test_stress_keeps_the_marks_and_what_they_tell_apart(many: Splits) -> None:
    marked = Pronunciation(stress=True, size=5000).load()
    assert words(marked.train) == words(many.train[:5000])
    assert any("ˈi" in reference for example in marked.train for reference in example.references)
    pairs = zip(marked.train, many.train, strict=False)
    merged = [(one, other) for one, other in pairs if len(one.references) > len(other.references)]
    assert merged, "some word has two pronunciations that differ in stress only"
    assert all(len(set(other.references)) == len(other.references) for _, other in merged)


@pytest.mark.slow
@pytest.mark.skipif(version("gruut-lang-en") != "2.0.1", reason="the counts are those of gruut-lang-en 2.0.1")
@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Pronunciation(size=10**6), "Pronunciation.size must be at most 122359, the words left beside two times"),
        (Pronunciation(held_out=10**5), "Pronunciation.held_out must be at most 62179"),
    ],
)
def test_more_words_than_there_are_is_refused(task: Pronunciation, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        task.load()
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize(("field", "value"), [("size", 0), ("size", True), ("held_out", 0), ("stress", 1)])
def test_bad_fields_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^Pronunciation\.{field} must be "):
        replace(Pronunciation(), **{field: value})


def test_parse_and_render() -> None:
    task = Pronunciation()
    assert task.parse(" Don't\n") == ("d", "o", "n", "'", "t")
    assert task.render(("d", "oʊ", "n", "t")) == "d oʊ n t"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "it is empty"), ("  ", "it is empty"), ("two words", "holds ' '"), ("Café", "'Café' holds 'é'")],
)
def test_parse_refuses_what_is_not_one_word(text: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        Pronunciation().parse(text)
    assert str(error.value).startswith("the input must be one word")
    assert expected in str(error.value)


def lexicon_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("importlib.resources.files", lambda package: folder)
    return folder / "lexicon.db"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "unable to open"), (b"no lexicon" * 99, "not a database"), (b"", "no such table: word_phonemes")],
)
def test_a_damaged_lexicon_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, expected: str
) -> None:
    path = lexicon_at(tmp_path, monkeypatch)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"^(the gruut lexicon|lexicon\.db of gruut-lang-en) must be") as error:
        Pronunciation().load()
    assert expected in str(error.value)
    assert "gruut-lang-en" in str(error.value).rpartition("pip install")[2]


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> Path:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr("importlib.resources.files", missing)
    with pytest.raises(DataError, match=r"pip install gruut-lang-en$"):
        Pronunciation().load()


def test_the_lexicon_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lexicon_at(tmp_path, monkeypatch)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE word_phonemes (id INTEGER, word TEXT, pron_order INTEGER, phonemes TEXT)")
    rows = [(1, "b", 1, "b ˈi"), (2, "b", 0, "b ə"), (3, "b", 2, "b ˌi"), (4, "c", 0, "s i"), (5, "d", 0, "d i")]
    connection.executemany("INSERT INTO word_phonemes VALUES (?, ?, ?, ?)", [*rows, (6, "é", 0, "e"), (7, "B", 0, "b")])
    connection.commit()
    connection.close()
    before = path.read_bytes()
    splits = Pronunciation(held_out=1).load()
    assert sorted(words(splits.train + splits.dev + splits.test)) == ["b", "c", "d"]
    # SHA-256 of the letters: 18ac… for d, 2e7d… for c, 3e23… for b
    assert (words(splits.test), words(splits.dev), words(splits.train)) == (["d"], ["c"], ["b"])
    assert splits.train[0].references == (("b", "ə"), ("b", "i"))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["lexicon.db"]


@pytest.mark.parametrize("row", [(None, "a"), ("a", None), ("", "a"), ("a", " "), (b"\xff", "a"), ("a", 3)])
def test_a_lexicon_with_anything_but_texts_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: tuple[object, object]
) -> None:
    package = tmp_path / "gruut_lang_en"
    package.mkdir()
    with closing(sqlite3.connect(package / "lexicon.db")) as connection:
        connection.execute("CREATE TABLE word_phonemes (id INTEGER, word, pron_order INTEGER, phonemes)")
        connection.execute("INSERT INTO word_phonemes VALUES (0, ?, 0, ?)", row)
        connection.commit()
    monkeypatch.setattr("importlib.resources.files", lambda _: package)
    with pytest.raises(DataError, match=r"^lexicon\.db of gruut-lang-en must .* not two texts; pip"):
        Pronunciation().load()
