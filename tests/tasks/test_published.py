"""Every data set that is at hand, read by the task of its name: the counts are those of the sets' own documents."""

import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import get_args

import pytest

from structpred.downloads import DataSet
from structpred.errors import ConfigError, DataError
from structpred.reading import read_lines
from structpred.registry import tasks
from structpred.sequences import spelt
from structpred.task import Example, Task
from structpred.tasks import (
    Cmudict,
    Conll2000,
    Conll2002,
    EnglishWebTreebank,
    Multi30k,
    Multi30kRaw,
    NcbiDisease,
    Sigmorphon2017,
    Sigmorphon2020,
    Sigmorphon2021,
    Snips,
    Tatoeba,
    Wnut17,
)
from structpred.tasks.morphology import Language
from structpred.tasks.published import PublishedTask

# these data are for some uses only, of which tests are none that is ruled out
# some of them share a few sentences between their parts, or have a rare label in one of them only
pytestmark = [
    pytest.mark.filterwarnings("ignore::structpred.downloads.RestrictedDataWarning"),
    pytest.mark.filterwarnings("ignore::structpred.tasks.published.SharedInputWarning"),
    pytest.mark.filterwarnings("ignore::structpred.tasks.published.NewLabelWarning"),
]

ROOT = os.environ.get("STRUCTPRED_DATA")
needs_data = pytest.mark.skipif(ROOT is None, reason="set STRUCTPRED_DATA to the folder of data sets")


def ready(folder: str) -> bool:
    return ROOT is not None and Path(ROOT, folder).exists()


def symbols(examples: tuple[Example, ...]) -> int:
    return sum(len(example.source) for example in examples)


def labels(*splits: tuple[Example, ...]) -> int:
    return len({label for example in chain(*splits) for reference in example.references for label in reference})


TAGGING: dict[str, tuple[Task, list[int], list[int], int]] = {
    "ud_english_ewt": (EnglishWebTreebank(), [12_544, 2_001, 2_077], [204_577, 25_147, 25_094], 17),
    "ncbi_disease": (NcbiDisease(), [5_432, 923, 940], [136_086, 23_969, 24_497], 3),
    "snips": (Snips(), [13_084, 700, 700], [117_700, 6_384, 6_354], 72),
    "conll2000": (Conll2000(), [8_936 - 893, 893, 2_012], [211_727 - 20_996, 20_996, 47_377], 22),
}


@needs_data
@pytest.mark.parametrize("folder", TAGGING)
def test_sentences_words_and_tags(folder: str) -> None:
    if not ready(folder):
        pytest.skip(f"$STRUCTPRED_DATA/{folder} is absent")
    task, sentences, words, tags = TAGGING[folder]
    splits = task.load()
    parts = (splits.train, splits.dev, splits.test)
    assert [len(part) for part in parts] == sentences
    assert [symbols(part) for part in parts] == words
    assert labels(splits.train) == tags
    assert all(len(example.source) == len(example.references[0]) for example in chain(*parts))


PAIRS: dict[str, tuple[str, Task, list[int]]] = {
    "multi30k": ("multi30k/tok", Multi30k(), [29_000, 1_014, 1_000]),
    "multi30k-raw": ("multi30k/raw", Multi30kRaw(source="en", target="de"), [29_000, 1_014, 1_000]),
    "sigmorphon-2021": ("sigmorphon2021", Sigmorphon2021(), [33_344, 4_168, 4_168]),
    "sigmorphon-2017-low": ("sigmorphon2017", Sigmorphon2017(language="english", size="low"), [100, 1_000, 1_000]),
    "sigmorphon-2017-medium": ("sigmorphon2017", Sigmorphon2017(language="german"), [1_000, 1_000, 1_000]),
    "sigmorphon-2017-high": ("sigmorphon2017", Sigmorphon2017(language="finnish", size="high"), [10_000, 1_000, 1_000]),
}


@needs_data
@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str) -> None:
    folder, task, sizes = PAIRS[name]
    if not ready(folder):
        pytest.skip(f"$STRUCTPRED_DATA/{folder} is absent")
    splits = task.load()
    assert [len(part) for part in (splits.train, splits.dev, splits.test)] == sizes


@needs_data
@pytest.mark.parametrize("language", get_args(Language))
def test_words_of_sigmorphon_2020(language: Language) -> None:
    if not ready(f"sigmorphon2020/train/{language}_train.tsv"):
        pytest.skip(f"$STRUCTPRED_DATA/sigmorphon2020 has no {language}")
    splits = Sigmorphon2020(language=language).load()
    parts = (splits.train, splits.dev, splits.test)
    assert [len(part) for part in parts] == [3_600, 450, 450]
    assert len({example.source for example in chain(*parts)}) == 4_500


@needs_data
def test_words_of_cmudict() -> None:
    if not ready("cmudict_g2p"):
        pytest.skip("$STRUCTPRED_DATA/cmudict_g2p is absent")
    splits = Cmudict(test="held-out").load()
    parts = (splits.train, splits.dev, splits.test)
    assert [len(part) for part in parts] == [106_837 - 2 * 5_341, 5_341, 5_341]
    assert len({example.source for example in chain(*parts)}) == 106_837
    assert labels(*parts) == 39
    assert len({letter for example in chain(*parts) for letter in spelt(example.source)}) == 27
    assert sum(len(example.references) for example in chain(*parts)) == 113_438


@needs_data
@pytest.mark.slow
def test_tatoeba_is_read_in_little_memory() -> None:
    if not ready("tatoeba"):
        pytest.skip("$STRUCTPRED_DATA/tatoeba is absent")
    script = """
import resource, time
from structpred.tasks import Tatoeba
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
splits = Tatoeba().load()
seconds = time.process_time() - start
mebibytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
sides = [{text for each in part for text in (("s", each.source), ("t", each.references[0]))}
         for part in (splits.train, splits.dev, splits.test)]
assert len(set().union(*sides)) == sum(map(len, sides)), "a sentence is on two sides"
print(len(splits.train), len(splits.dev), len(splits.test), mebibytes, seconds)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    train, dev, test, mebibytes, seconds = map(float, done.stdout.split())
    assert (train, dev, test) == (165_813, 2_000, 2_000)
    assert mebibytes < 500
    assert seconds < 10


@needs_data
def test_tatoeba_is_split_as_the_published_list_says() -> None:
    if not ready("tatoeba/split.txt.gz"):
        pytest.skip("$STRUCTPRED_DATA/tatoeba has no split.txt.gz")
    splits = Tatoeba().load()
    found = {e.where: part for part in ("train", "dev", "test") for e in getattr(splits, part)}
    path = Path(os.environ["STRUCTPRED_DATA"], "tatoeba", "split.txt.gz")
    expected = {f"deu-eng.zip/deu.txt line {i}": part for i, (part, _) in enumerate(read_lines(path), start=1)}
    assert found == expected


NAMED = [tasks[name] for name in tasks if hasattr(tasks[name], "origin")]


@pytest.mark.parametrize("cls", NAMED, ids=lambda cls: cls.__name__)
def test_every_origin_has_terms_and_pinned_files(cls: type[PublishedTask]) -> None:
    origin = cls.origin
    assert isinstance(origin, DataSet)
    assert origin.licence
    assert origin.citation
    for published in (origin.files or {}).values():
        assert published.url.startswith("https://")
        assert published.sha256 is None or len(published.sha256) == 64
        assert "/master/" not in published.url, "of a fixed version"
        assert "/main/" not in published.url, "of a fixed version"


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Conll2002(language="esp"), "esp.train of CoNLL-2002 named entities must be at hand, for it has no address"),
        (Wnut17(), "wnut17train.conll of WNUT-17 emerging entities must be at hand, for it has no address"),
        (Cmudict(), "g014b2b.test of CMUdict, split g014b2b must be at hand, for its SHA-256 is not known"),
        (Sigmorphon2020(language="kor"), "train/kor_train.tsv of SIGMORPHON 2020 .* SHA-256 is not known"),
        (Sigmorphon2017(language="welsh"), "welsh-train-medium of CoNLL-SIGMORPHON 2017 inflection must be at hand"),
        (Multi30k(source="fr"), r"tok/train\.lc\.norm\.tok\.fr of Multi30k must be at hand, for its SHA-256 is not"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Task) else "",
)
def test_what_nobody_could_check_must_be_at_hand(
    task: Task, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRUCTPRED_DATA", str(tmp_path))
    for path in ("cmudict_g2p/g014b2b.train",):  # looked for first
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("AB\tAE B\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"^{expected}.* put it at \\$STRUCTPRED_DATA/"):
        task.load()


def test_inputs_and_outputs_need_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRUCTPRED_DATA", raising=False)
    assert Sigmorphon2020(language="fre").parse("abîme") == ("a", "b", "î", "m", "e")
    assert Sigmorphon2020(language="fre").render(("a", "b")) == "a b"
    assert Sigmorphon2017(language="german").parse("gehen\tV;PST") == (*"gehen", "<V>", "<PST>")
    assert Sigmorphon2017(language="german").render(("g", "i", "n", "g")) == "ging"
    assert Multi30k().parse("ein haus .") == ("ein", "haus", ".")
    assert Snips().parse("play it") == ("play", "it")
    assert Tatoeba().parse("Hallo, du! Don't.") == ("Hallo", ",", "du", "!", "Don't", ".")
    assert Cmudict().parse("AB") == ("A", "B")


@pytest.mark.parametrize("cls", [Multi30k, Multi30kRaw, Tatoeba])
def test_a_language_into_itself_is_refused(cls: type[Multi30k]) -> None:
    with pytest.raises(ConfigError, match=rf"^{cls.__name__}\.target must be another language than source='en'"):
        cls(source="en", target="en")


def test_latin_1_is_said_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRUCTPRED_DATA", str(tmp_path))
    (tmp_path / "conll2002").mkdir()
    for part in ("train", "testa", "testb"):
        text = "La O\nCoruña B-LOC\n\nEl O\n\n"
        (tmp_path / "conll2002" / f"esp.{part}").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"^esp\.train line 2 must be UTF-8"):
        Conll2002(language="esp").load()
    splits = Conll2002(language="esp", encoding="latin-1").load()
    assert splits.train[0].source == ("La", "Coruña")
