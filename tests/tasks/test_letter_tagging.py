import sqlite3
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from structpred.errors import ConfigError, DataError
from structpred.metrics import Accuracy
from structpred.sequences import spelt
from structpred.task import Example, Splits
from structpred.tasks import LetterTagging, Pronunciation, lexicon
from structpred.tasks.letters import CONTINUED, letter_labels
from structpred.vocabulary import Symbols


def words(examples: tuple[Example, ...]) -> list[str]:
    return ["".join(spelt(example.source)) for example in examples]


def alignment(letters: Symbols, labels: Symbols) -> str:
    """The lexicon's alignment, had back from labels."""
    pairs: list[tuple[list[str], str]] = []
    for letter, label in zip(letters, labels, strict=True):
        if label == CONTINUED:
            pairs[-1][0].append(letter)
        else:
            pairs.append(([letter], label))
    return " ".join(f"{'|'.join(chunk)}}}{label}" for chunk, label in pairs)


@pytest.fixture(scope="module")
def many() -> Splits:
    return LetterTagging(size=20_000).load()


def test_every_letter_has_one_label(many: Splits) -> None:
    assert [len(many.train), len(many.dev), len(many.test)] == [20_000, 1000, 1000]
    for example in many.train + many.dev + many.test:
        (labels,) = example.references
        assert len(labels) == len(example.source)
        assert labels[0] != CONTINUED


def test_alignments_can_be_had_back_from_labels() -> None:
    rows = list(lexicon._rows(LetterTagging.query))
    kept = [(word, entry) for word, entry in rows if lexicon.LETTERS.issuperset(word)]
    for word, entry in kept[::50]:
        labels = letter_labels(entry)
        assert len(labels) == len(word)
        assert alignment(tuple(word), labels) == entry
    pairs = {pair for _, entry in kept for pair in entry.split()}
    for pair in pairs:  # each by itself: no two have the same labels for the same letters
        letters = tuple(pair.partition("}")[0].split("|"))
        assert alignment(letters, letter_labels(pair)) == pair
    if version("gruut-lang-en") == "2.0.1":
        assert (len(rows), len(kept)) == (124_368, 124_337)
        marked = {label for pair in pairs for label in letter_labels(pair)}
        assert len(marked) == 210
        assert len({label.translate(lexicon._NO_STRESS) for label in marked}) == 161


def test_phones_are_those_of_a_pronunciation(many: Splits) -> None:
    pronunciations = lexicon._lexicon(Pronunciation.query)
    for example in many.dev + many.test:
        phones = " ".join(phone for label in example.references[0] for phone in label.split("|") if phone not in "_+")
        known = [entry.translate(lexicon._NO_STRESS) for entry in pronunciations["".join(spelt(example.source))]]
        assert phones in known or "".join(spelt(example.source)) == "reading"


@pytest.mark.parametrize(
    ("word", "labels"),
    [
        ("phone", "f + oʊ n _"),
        ("foxes", "f ɑ k|s ɪ z"),
        ("aisle", "_ aɪ _ l _"),
        ("the", "ð + i"),
    ],
)
def test_words_by_hand(word: str, labels: str) -> None:
    (entry,) = lexicon._lexicon(LetterTagging.query)[word]
    task = LetterTagging()
    assert task.render(task.reference(entry.translate(lexicon._NO_STRESS))) == labels


@pytest.mark.slow
def test_no_word_is_in_two_splits_and_size_only_adds(many: Splits) -> None:
    parts = [set(words(split)) for split in (many.train, many.dev, many.test)]
    assert len(set.union(*parts)) == sum(map(len, parts))
    small = LetterTagging(size=50).load()
    assert small.train == many.train[:50]
    assert (small.dev, small.test) == (many.dev, many.test)
    assert small.digest != many.digest


@pytest.mark.slow
def test_stress_is_kept_if_asked_for() -> None:
    marked = LetterTagging(stress=True, size=100).load()
    assert any("ˈ" in label for example in marked.train for label in example.references[0])
    plain = LetterTagging(size=100).load()
    assert words(marked.train) == words(plain.train)
    assert not any("ˈ" in label for example in plain.train for label in example.references[0])


def test_the_first_metric_is_accuracy_of_letters() -> None:
    assert LetterTagging.metrics[0] == Accuracy()
    assert LetterTagging().parse(" Box\n") == ("b", "o", "x")


@pytest.mark.slow
def test_more_words_than_there_are_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^LetterTagging\.size must be at most \d+"):
        LetterTagging(size=10**6).load()
    with pytest.raises(ConfigError, match=r"^LetterTagging\.held_out must be "):
        replace(LetterTagging(), held_out=0)


def test_a_lexicon_without_alignments_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    connection = sqlite3.connect(tmp_path / "lexicon.db")
    connection.execute("CREATE TABLE word_phonemes (id INTEGER)")
    connection.close()
    with pytest.raises(DataError, match=r"no such table: g2p_alignments.*pip install"):
        LetterTagging().load()
