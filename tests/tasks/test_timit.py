import re
from collections.abc import Callable
from pathlib import Path

import editdistance
import numpy as np
import pytest

from structpred import Experiment, Trainer, train
from structpred.downloads import RestrictedDataWarning
from structpred.errors import DataError
from structpred.metrics import score
from structpred.metrics.base import counts
from structpred.models import FrameFeatures, Seq2Seq
from structpred.objectives import RML
from structpred.payoffs import EditDistancePayoff, Temperature
from structpred.sequences import Recording
from structpred.task import Splits
from structpred.tasks import Timit
from structpred.tasks.lexicon import PHONES, PhoneErrorRate, PhoneSet, folded
from structpred.tasks.speech import CORE, DEV, IncompleteWarning, Utterance
from structpred.training import Adam
from tests.support.damage import outcomes
from tests.support.speech import DEV_SPEAKERS, TEST_SPEAKERS, write_corpus, write_utterance

TRAIN_SPEAKERS = ("fcjf0", "mabc0")

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{IncompleteWarning.__module__}.IncompleteWarning",
    f"ignore::{RestrictedDataWarning.__module__}.RestrictedDataWarning",
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "timit", train=TRAIN_SPEAKERS, sentences=2)
    return tmp_path / "timit"


def load(folder: Path, phones: PhoneSet = 61) -> Splits:
    return Timit(folder=str(folder), phones=phones).load()


def test_the_split_is_by_speaker(corpus: Path) -> None:
    splits = load(corpus)
    parts = (splits.train, splits.dev, splits.test)
    speakers = [{each.where.split("/")[2].lower() for each in part} for part in parts]
    assert speakers == [set(TRAIN_SPEAKERS), set(DEV_SPEAKERS), set(TEST_SPEAKERS)], "and MXYZ0 is in neither list"
    assert list(map(len, parts)) == [4, 4, 4], "without what everybody reads"
    first = splits.train[0]
    assert first.where == "TRAIN/DR1/FCJF0/SX0.PHN"
    recording = first.source
    assert isinstance(recording, Recording)
    assert recording.name == "TRAIN/DR1/FCJF0/SX0"
    assert recording.frames.shape[1] == 120
    np.testing.assert_allclose(recording.frames.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(recording.frames.std(0), 1, atol=1e-3)
    transcript = (corpus / first.where).read_text(encoding="utf-8").split()
    assert first.references == (tuple(transcript[2::3]),)


def test_the_lists_are_those_of_the_recipe() -> None:
    assert len(DEV) == 50
    assert len(CORE) == 24
    assert not DEV & CORE
    assert sum(speaker[0] == "f" for speaker in CORE) == 8, "two men and a woman of every dialect"


def test_features_are_as_asked_for(corpus: Path) -> None:
    splits = Timit(folder=str(corpus), filters=23, derivatives=1).load()
    recording = splits.train[0].source
    assert isinstance(recording, Recording)
    assert recording.frames.shape[1] == 46
    assert splits.digest != load(corpus).digest


@pytest.mark.parametrize("inside", ["", "TIMIT", "data"])
def test_small_letters_riff_and_inner_folders_read_the_same(corpus: Path, tmp_path: Path, inside: str) -> None:
    digest = load(corpus).digest
    other = tmp_path / "other"
    for path in sorted(corpus.rglob("*.*")):
        target = other / inside / Path(str(path.relative_to(corpus)).lower())
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert load(other).digest == digest
    for path in sorted(other.rglob("*.wav")):
        path.rename(f"{path}.wav")
    assert load(other).digest == digest


def test_an_empty_input_is_refused() -> None:
    with pytest.raises(DataError, match=r"^the input must be the path of an audio file, but it is empty; give one$"):
        Timit().parse(" ")


def test_what_a_mac_leaves_beside_a_file_is_no_utterance(corpus: Path) -> None:
    before = load(corpus).digest
    (corpus / "TRAIN/DR1/FCJF0/._SX1.PHN").write_bytes(bytes(range(256)))
    (corpus / "TRAIN/DR1/FCJF0/._SX1.WAV").write_bytes(bytes(range(256)))
    assert load(corpus).digest == before


@pytest.mark.parametrize(("to", "size"), [(61, 61), (48, 48), (39, 39)])
def test_phones_fold_into_the_usual_numbers(to: PhoneSet, size: int) -> None:
    assert len(set(folded(PHONES, to))) == size
    assert folded(folded(PHONES, 48), 39) == folded(PHONES, 39)
    assert folded(folded(PHONES, to), to) == folded(PHONES, to)


def test_models_may_write_fewer_phones(corpus: Path) -> None:
    of = {phones: load(corpus, phones).train[0].references[0] for phones in (61, 48, 39)}
    assert of[61][0] == "h#"
    assert of[48] == folded(of[61], 48)
    assert of[39] == folded(of[61], 39)


def test_scores_are_of_39_phones() -> None:
    generator = np.random.default_rng(0)
    metric, edits, length = PhoneErrorRate(), 0, 0
    predictions, references = (
        [tuple(generator.choice(PHONES, n)) for n in generator.integers(0, 20, 1000)] for _ in "ab"
    )
    for prediction, reference in zip(predictions, references, strict=True):
        edits += editdistance.eval(folded(prediction, 39), folded(reference, 39))
        length += len(folded(reference, 39))
    found = score(metric, counts(metric, predictions, [(each,) for each in references]))
    assert found == pytest.approx(100 * edits / length, rel=1e-12)
    assert metric.counts(("ax", "q", "pau"), (("ah", "h#"),)) == (0, 2)
    assert metric.signature.endswith("|phones:39")


def change_line(text: str) -> Callable[[Path], None]:
    def write(corpus: Path) -> None:
        path = corpus / "TRAIN/DR1/FCJF0/SX1.PHN"
        first = path.read_text(encoding="utf-8").splitlines()[0]
        path.write_text(f"{first}\n{text}\n", encoding="utf-8")

    return write


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            change_line("9000 9500 xx"),
            "FCJF0/SX1.PHN line 2 must be where a phone begins and ends and which of TIMIT's 61",
        ),
        (change_line("9000 aa"), "FCJF0/SX1.PHN line 2 must be where a phone begins and ends"),
        (change_line("9500 9000 aa"), "or later, and then end, but it goes from 9500 to 9000; fetch it again"),
        (change_line("10 9000 aa"), "FCJF0/SX1.PHN line 2 must begin at sample "),
        (change_line("2000 99999 aa"), "TRAIN/DR1/FCJF0/SX1.PHN must end where its recording does, but that has "),
        (lambda corpus: (corpus / "TRAIN/DR1/FCJF0/SX1.WAV").unlink(), "SX1.PHN must have a recording beside it, but"),
        (
            lambda corpus: (corpus / "TRAIN/DR1/FCJF0/SX1.PHN").write_text(""),
            "FCJF0/SX1.PHN must hold at least one line",
        ),
        (
            lambda corpus: (corpus / "TRAIN/DR1/FCJF0/SX1.PHN").write_bytes(b"0 9000 aa\n9000 9500 \xff\n"),
            "TRAIN/DR1/FCJF0/SX1.PHN line 2 must be UTF-8",
        ),
        (
            lambda corpus: (corpus / "TRAIN/DR1/FCJF0/SX1.WAV").write_bytes(b"no sound" * 200),
            "TRAIN/DR1/FCJF0/SX1.WAV must be an audio file that can be read, but it is not: Format not recognised; f",
        ),
        (
            lambda corpus: (corpus / "TEST").rename(corpus / "TOAST"),
            "must hold the folders TRAIN and TEST of TIMIT, but",
        ),
        (
            lambda corpus: [(corpus / f"TEST/DR1/{each.upper()}").rename(corpus / each) for each in TEST_SPEAKERS],
            "and of core test speakers, but it has 4, 4 and 0; fetch it again",
        ),
    ],
    ids=[
        "phone",
        "columns",
        "backwards",
        "overlap",
        "beyond",
        "audio",
        "empty",
        "bytes",
        "noise",
        "folders",
        "speakers",
    ],
)
def test_damage_is_named(corpus: Path, damage: Callable[[Path], object], expected: str) -> None:
    damage(corpus)
    with pytest.raises(DataError, match=re.escape(expected)):
        load(corpus)


def test_where_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STRUCTPRED_DATA", raising=False)
    with pytest.raises(DataError, match=r"variable STRUCTPRED_DATA is not set; .*; or order LDC93S1"):
        Timit().load()
    monkeypatch.setenv("STRUCTPRED_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"timit must hold the folders TRAIN and TEST of TIMIT, but it does not; order"):
        Timit().load()


def test_an_incomplete_corpus_is_said_to_be(corpus: Path) -> None:
    with pytest.warns(
        IncompleteWarning, match=r"has 4 utterances to train on, 4 to choose by and 4 to test on, not 3,696"
    ):
        load(corpus)


@pytest.mark.slow(seconds=2)
def test_two_thousand_damaged_transcripts_are_read_or_refused(tmp_path: Path) -> None:
    write_utterance(tmp_path / "SX1", ["h#", "aa", "m", "iy", "h#"], np.random.default_rng(0))
    path = tmp_path / "SX1.PHN"
    utterance = Utterance("fcjf0", "sx1", path, "SX1.PHN")
    for content, (phones, end) in outcomes(path, path.read_bytes(), utterance.phones):
        text = content.decode("utf-8-sig").strip()
        assert len(phones) == len(text.split("\n"))
        assert int(text.split()[-2]) == end


@pytest.mark.slow
def test_an_encoder_decoder_learns_phones_from_sound(tmp_path: Path) -> None:
    write_corpus(tmp_path / "timit", train=[f"m{number:03}0" for number in range(24)], sentences=8)
    payoff = EditDistancePayoff(temperature=Temperature(edit_rate=0.03))
    experiment = Experiment(
        task=Timit(folder=str(tmp_path / "timit")),
        model=Seq2Seq(inputs=FrameFeatures(stack=4), embedding=16, hidden=64, dropout=0.1, length_ratio=1.0),
        objective=RML(payoff=payoff),
        optimiser=Adam(lr=1e-2),
        trainer=Trainer(epochs=30, batch_tokens=64),
    )
    run = train(experiment, root=tmp_path / "runs")
    assert run.result.scores["dev"]["PER"] < 15, "chance is above 60"
    assert run.result.scores["test"]["PER"] < 15
    example = experiment.task.load().test[0]
    path = tmp_path / "timit" / example.where.replace(".PHN", ".WAV")
    row = run.folder.predictions("test").read_text(encoding="utf-8").splitlines()[1].split("\t")
    assert row == [example.where.removesuffix(".PHN"), *run.predict([str(path)]), " ".join(example.references[0])]
    with pytest.raises(DataError, match=r"^input 1: absent\.wav must be an audio file"):
        run.predict(["absent.wav"])
