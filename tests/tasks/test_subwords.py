"""Sentence pairs in pieces of words: what is learnt, what metrics and rewards see, and what a run keeps."""

import io
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from structpred.cli import main
from structpred.errors import ConfigError, DataError
from structpred.metrics import Bleu, Chrf
from structpred.rewards import Context, FunctionReward, SentenceBleu, TextBleu, bind
from structpred.runs import Run
from structpred.sequences import Sequences, spelt
from structpred.task import Task
from structpred.tasks import Multi30k, Parallel, Subwords, Tatoeba, Tsv, pieces
from structpred.tasks.pieces import Learning, PieceModel, PiecesCacheWarning, learnt
from structpred.tasks.subwords import SOURCE, TARGET

pytestmark = pytest.mark.usefixtures("cache")

WHO = ("A man", "The woman", "A young girl", "Two dogs", "An old sailor")
WHAT = ("walks across the street.", "plays the guitar, slowly.", "sleeps in the sunny park!", "waits for the  train…")
WER = ("Ein Mann", "Die Frau", "Ein junges Mädchen", "Zwei Hunde", "Ein alter Matrose")
WAS = ("geht über die Straße.", "spielt langsam Gitarre.", "schläft im sonnigen Park!", "wartet auf den Zug…")
ENGLISH = [f"{who} {what}" for who in WHO for what in WHAT]
GERMAN = [f"{wer} {was}" for wer in WER for was in WAS]


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache(module_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of these tests."""
    monkeypatch.setattr("pooch.os_cache", lambda name: module_cache / name)
    return module_cache


def write(folder: Path) -> Parallel:
    """Two files for training, and the same pairs in another order for dev and test; a task that reads them."""
    for name, part in {"train": slice(0, 20), "dev": slice(3, 20, 4), "test": slice(2, 20, 4)}.items():
        for suffix, lines in ((".de", GERMAN), (".en", ENGLISH)):
            (folder / f"{name}{suffix}").write_text("".join(f"{line}\n" for line in lines[part]), encoding="utf-8")
    train, dev, test = (str(folder / part) for part in ("train", "dev", "test"))
    return Parallel(train=train, dev=dev, test=test, source_suffix=".de", target_suffix=".en")


@pytest.fixture
def text(tmp_path: Path) -> Parallel:
    return write(tmp_path)


shared_inputs = pytest.mark.filterwarnings("ignore::structpred.tasks.published.SharedInputWarning")


def theirs(lines: list[str], **options: Any) -> Any:
    """What sentencepiece itself learns from lines."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        num_threads=1,
        minloglevel=2,
        character_coverage=1.0,
        **options,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


@shared_inputs
@pytest.mark.parametrize(
    ("task", "options"),
    [
        ({"size": 340}, {"vocab_size": 340, "byte_fallback": True}),
        ({"kind": "bpe", "size": 120, "byte_fallback": False}, {"model_type": "bpe", "vocab_size": 120}),
        (
            {"size": 42, "joint": False, "byte_fallback": False, "normalisation": "nfkc_cf"},
            {"vocab_size": 42, "normalization_rule_name": "nfkc_cf"},
        ),
    ],
    ids=["unigram", "bpe", "each side its own"],
)
def test_pieces_are_those_of_sentencepiece(text: Parallel, task: dict[str, Any], options: dict[str, Any]) -> None:
    subwords = Subwords(text=text, **task)
    german, english = (GERMAN, ENGLISH)
    together = theirs(german + english, **options) if subwords.joint else None
    one, other = together or theirs(german, **options), together or theirs(english, **options)
    splits = subwords.load()
    for example, source, target in zip(splits.train, german, english, strict=True):
        assert list(spelt(example.source)) == one.encode(source, out_type=str)
        assert [list(each) for each in example.references] == [other.encode(target, out_type=str)]
        assert subwords.show(example.source) == one.decode(one.encode(source))
        assert subwords.render(example.references[0]) == other.decode(other.encode(target))
    assert splits.kept.keys() == ({SOURCE} if subwords.joint else {SOURCE, TARGET})
    again = replace(subwords)  # knows nothing yet, and reads the data
    assert again.parse(german[5]) == splits.train[5].source
    assert again.render(splits.train[5].references[0]) == subwords.render(splits.train[5].references[0])
    assert Task.from_json(subwords.to_json()) == subwords == again


LEARNING = {
    "unigram": Learning("unigram", 340, "nmt_nfkc", 1.0, True),
    "bpe, no bytes": Learning("bpe", 120, "nmt_nfkc", 1.0, False),
    "as it stands": Learning("unigram", 340, "identity", 1.0, True),
}


@pytest.mark.parametrize("how", LEARNING.values(), ids=LEARNING)
def test_decoding_what_was_encoded_gives_the_normalised_text(how: Learning) -> None:
    model = learnt(GERMAN + ENGLISH, how)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.model)

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
        | st.sampled_from(["a <unk> <0x41> ▁ b", "﷽ ☃ ﬁ"])
    )
    def back(text: str) -> None:
        (found,) = model.encode([text])
        assert model.decode(found) == processor.normalize(text).replace("▁", " ").removeprefix(" ")

    back()


def test_bytes_that_are_no_text_are_replaced() -> None:
    model = learnt(GERMAN + ENGLISH, LEARNING["unigram"])
    first, second = model.encode(["A", "man"])
    assert model.decode((*first, "<0xE2>", *second)) == "A\N{REPLACEMENT CHARACTER} man"


@shared_inputs
def test_only_the_training_side_is_learnt_from(text: Parallel, tmp_path: Path) -> None:
    task = Subwords(text=text, size=340)
    before = task.load()
    (tmp_path / "test.en").write_text("quite other words here\n" * 5, encoding="utf-8")
    after = replace(task).load()
    assert after.kept == before.kept
    assert after.digest != before.digest
    assert after.test[0].wording is not None
    assert after.test[0].wording.references == (("quite", "other", "words", "here"),)
    lines = [*ENGLISH[:-1], "Quite other words here, zebra."]
    (tmp_path / "train.en").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert replace(task).load().kept != after.kept


@shared_inputs
@pytest.mark.filterwarnings("error")
def test_the_reference_as_written_is_part_of_the_digest(text: Parallel, tmp_path: Path) -> None:
    """Two spaces or another form of a character make the same pieces, but not the same text to be compared with."""
    task = Subwords(text=text, size=340)
    before = task.load()
    changed = (tmp_path / "dev.en").read_text(encoding="utf-8").replace("…", "...")
    (tmp_path / "dev.en").write_text(changed, encoding="utf-8")
    after = replace(task).load()
    assert [each.references for each in after.dev] == [each.references for each in before.dev]
    assert after.digest != before.digest


def test_what_was_learnt_comes_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    lines, how = GERMAN + ENGLISH, LEARNING["unigram"]
    model = learnt(lines, how).model
    (place,) = (tmp_path / "structpred" / "subwords").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "_learn", lambda lines, how: pytest.fail("it is there"))
        assert learnt(lines, how).model == model
    for content in (b"", place.read_bytes()[:-1], place.read_bytes()[:40] + b"x" + place.read_bytes()[41:]):
        place.write_bytes(content)
        with pytest.warns(
            PiecesCacheWarning, match=r"^.*\.pieces is damaged, so that the pieces are learnt anew and the"
        ):
            assert learnt(lines, how).model == model
        assert learnt(lines, how).model == model  # without a warning
    monkeypatch.setattr(sentencepiece, "__version__", "0.0")
    assert learnt(lines, how).model == model
    assert len(list(place.parent.iterdir())) == 2


def test_many_may_learn_at_once_and_a_cache_is_not_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / name)
    lines, how = GERMAN, LEARNING["bpe, no bytes"]
    with ThreadPool(4) as pool:
        found = {each.model for each in pool.map(lambda _: learnt(lines, how), range(4))}
    assert len(found) == 1
    assert len(list((tmp_path / "structpred" / "subwords").iterdir())) == 1
    (tmp_path / "file").touch()
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "file" / name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert {learnt(lines, how).model} == found
    assert all("file/structpred/subwords/" in str(each.message) for each in said)
    assert str(said[-1].message).endswith(
        "cannot be written (Not a directory), so that the pieces are learnt anew next time"
    )


SMALL = [
    "model=seq2seq",
    "model.hidden=24",
    "model.embedding=16",
    "trainer.epochs=6",
    "trainer.batch_tokens=150",
    "optimiser.lr=0.04",
    "decoding.least_length_ratio=0.5",
]


@shared_inputs
@pytest.mark.slow(seconds=3)
def test_a_run_is_scored_on_text_and_predicts_without_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    words = ["task=subwords", "task.size=340", "task.text=parallel", "task.text.source_suffix=.de"]
    words += ["task.text.target_suffix=.en", *(f"task.text.{part}={part}" for part in ("train", "dev", "test"))]
    assert main(["train", *words, *SMALL]) == 0
    (folder,) = Path("runs").iterdir()
    run = Run.load(folder)
    Path("train.en").write_text("zzz\n" * len(GERMAN), encoding="utf-8")
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["evaluate", str(folder), "--split", "test"]) == 0  # by the pieces of the run, not by those of zzz
    said = capsys.readouterr()
    assert f"test\t{run.result.scores['test']['BLEU']:.2f}" in said.out
    assert "the task's data have changed since the run" in said.err
    for path in (*Path().glob("*.de"), *Path().glob("*.en")):
        path.unlink()
    run = Run.load(folder)
    rows = run.predictions("test")
    assert [row.source for row in rows] == [" ".join(line.split()).replace("…", "...") for line in GERMAN[2::4]]
    assert [row.references for row in rows] == [(" ".join(line.split()),) for line in ENGLISH[2::4]]
    outputs, right = [row.prediction for row in rows], [[row.references[0] for row in rows]]
    assert not any("▁" in output for output in outputs)
    assert any(outputs)
    for metric, corpus in ((Bleu(), sacrebleu.corpus_bleu), (Chrf(), sacrebleu.corpus_chrf)):
        assert run.result.scores["test"][metric.name] == pytest.approx(corpus(outputs, right).score, abs=1e-9)
        assert run.result.signatures[metric.name] == metric.signature
    theirs = sacrebleu.BLEU()
    theirs.corpus_score(outputs, right)
    assert Bleu().signature == f"BLEU|{theirs.get_signature()}".replace("nrefs:1", "nrefs:var")
    assert run.predict(GERMAN[2::4]) == outputs
    assert (folder / f"kept.{SOURCE}").read_bytes() == run.experiment.task.models[0].model  # type: ignore[attr-defined]
    assert f"kept.{SOURCE}" in (folder / "SHA256SUMS").read_text(encoding="utf-8")
    Path("new.txt").write_text(f"{GERMAN[2]}\n\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", str(folder), "new.txt"]) == 2
    said = capsys.readouterr()
    assert said.out == f"{outputs[0]}\n\n"
    assert "new.txt line 2: the input must hold at least one symbol" in said.err


def agree(output: str, reference: str) -> float:
    """A reward of text."""
    return float(output == reference)


@shared_inputs
def test_rewards_of_text_see_pieces_put_together_and_those_of_labels_count_pieces(text: Parallel) -> None:
    task = Subwords(text=text, size=340)
    context = Context.of(task)
    ids = [list(context.labels.encode(each.references[0])) for each in context.examples[:3]]
    target = Sequences.of(ids[:1])
    outputs = Sequences.of([ids[0], ids[1], ids[0][:-2]])
    outputs = Sequences(outputs.labels.unsqueeze(0), outputs.lengths.unsqueeze(0))
    texts = [task.render(context.symbols(row)) for row in (ids[0], ids[1], ids[0][:-2])]
    found = bind(TextBleu(), context).score(outputs, target)[0].tolist()
    assert found == [sacrebleu.sentence_bleu(each, [texts[0]]).score / 100 for each in texts]
    same = bind(FunctionReward(function=f"{__name__}:agree", on="text"), context).score(outputs, target)[0].tolist()
    assert same == [1.0, 0.0, 0.0]
    in_pieces = [" ".join(context.symbols(row)) for row in (ids[0], ids[1], ids[0][:-2])]
    expected = [sacrebleu.sentence_bleu(each, [in_pieces[0]], tokenize="none").score / 100 for each in in_pieces]
    assert SentenceBleu().score(outputs, target)[0].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_table_of_pairs_and_metrics_of_its_own(tmp_path: Path) -> None:
    rows = [f"{german}\t{english}\n" for german, english in zip(GERMAN, ENGLISH, strict=True)]
    rows += [
        f"{GERMAN[0]}\tA\u00a0man crosses the street.\n"
    ]  # a second reference, with white space that words may have
    (tmp_path / "pairs.tsv").write_text("".join(rows), encoding="utf-8")
    table = Tsv(train=str(tmp_path / "pairs.tsv"), source="spaces", sentences=True)
    splits = Subwords(text=table, size=330).load()
    assert [len(splits.train), len(splits.dev), len(splits.test)] == [16, 2, 2]
    (two,) = (each for each in splits.train + splits.dev + splits.test if len(each.references) == 2)
    assert two.wording is not None
    assert two.wording.references[1] == ("A\u00a0man", "crosses", "the", "street.")
    assert Subwords(text=table).metrics == (Bleu(), Chrf())
    assert Subwords(text=Multi30k()).metrics == (Bleu(tokenize="none"), Chrf())
    assert Tatoeba(cut="spaces").parse("Tom war gut, und du?") == ("Tom", "war", "gut,", "und", "du?")


def no_library(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)


def writing(name: str, content: bytes) -> Callable[[pytest.MonkeyPatch, Path], object]:
    return lambda monkeypatch, folder: (folder / name).write_bytes(content)


@shared_inputs
@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (no_library, {}, r"^subwords need sentencepiece, which is not installed: pip install structpred\[subwords\]$"),
        (None, {}, r"^Subwords\.size must be at most \d+ for these training texts, .*got 8,000; lower"),
        (None, {"kind": "bpe"}, r"^Subwords\.size must be at most \d+ for these training texts"),
        (None, {"size": 100}, r"^Subwords\.size must be at least 299 for .*, 256 of them for bytes, but got 100; "),
        (None, {"size": 1}, r"size must be at least 4 and at most 500000, but got 1$"),
        (None, {"size": 10**14}, r"size must be at least 4 and at most 500000, but got 1"),
        (None, {"coverage": 0.5}, r"coverage must be at least 0\.98 and at most 1, but got 0\.5"),
        (None, {"size": 9, "byte_fallback": False}, r"^Subwords\.size must be at least \d\d for .*character, but got"),
        (writing("train.de", b"ein\n\nzwei\n"), {}, r"^train.* must have as many lines"),
        (writing("dev.en", b"one\n"), {}, r"^dev\.de and dev\.en must have as many lines, but they have 5 and 1"),
        (writing("dev.en", b"a\nb\nc\n\n e\n"), {}, r"^dev\.en line 4 must hold at least one symbol, but"),
        (writing("test.de", b"ein Hund\nStra\xdfe\n"), {}, r"^test\.de line 2 must be UTF-8, but byte 5 "),
        (writing("dev.de", "a\nb\n\u200b\nd\ne\n".encode()), {"size": 340}, r"^dev\.de line 3 must hold text, but"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(
    text: Parallel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch, Path], object] | None,
    options: dict[str, Any],
    message: str,
) -> None:
    if change is not None:
        change(monkeypatch, tmp_path)
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        Subwords(text=text, **options).load()
    assert "src/" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tasks_without_words_are_refused(text: Parallel) -> None:
    with pytest.raises(
        ConfigError, match=r"^Subwords\.text must be a task in words, but the symbols of its Tsv are char"
    ):
        Subwords(text=Tsv(train="a.tsv"))
    with pytest.raises(ConfigError, match=r"^Subwords\.text must be a task in words, but got Subwords"):
        Subwords(text=Subwords(text=text))
    with pytest.raises(ConfigError, match=r"^Tsv\.sentences is for targets in words; set target=spaces"):
        Tsv(train="a.tsv", target="characters", sentences=True)
    with pytest.raises(DataError, match=r"^learnt pieces must be a model of sentencepiece, but it refuses them"):
        PieceModel(b"nothing").encode(["a"])
