"""Phones of recorded speech."""

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float

from structpred.downloads import DataSet
from structpred.errors import ConfigError, DataError
from structpred.metrics import Metric
from structpred.reading import lines_of, place_of, read_bytes
from structpred.registry import tasks
from structpred.sequences import Recording
from structpred.task import Example, Splits, Task
from structpred.tasks.lexicon import PHONES, PhoneErrorRate, PhoneSet, folded
from structpred.tasks.published import SETS
from structpred.tasks.reading import splits_of
from structpred.values import Interval
from structpred.vocabulary import Symbols

Split = Literal["train", "dev", "test"]

_DEV = """
faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0 mcsh0 fadg0 fdms0 fedw0 mgjf0 mglb0 mrtk0 mtaa0
mtdt0 mthc0 mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0 mdls0 mdlf0 mdvc0 mers0 fmah0 fdrw0 mrcs0 mrjm4 fcal1 mmwh0 fjsj0 majc0
mjsw0 mreb0 fgjd0 fjmg0 mroa0 mteb0 mjfc0 mrjr0 fmml0 mrws1
"""
DEV = frozenset(_DEV.split())
"""The 50 speakers of Kaldi's dev set, of the published test folder."""

_CORE = """
mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0 mbpm0 mklt0 fnlp0 mcmj0 mjdh0 fmgd0 mgrt0 mnjm0
fdhc0 mjln0 mpam0 fmld0
"""
CORE = frozenset(_CORE.split())
"""The 24 speakers of the core test set."""

READ_BY_ALL = ("sa1", "sa2")
"""The two sentences that every speaker reads; they are left out of training and testing."""


@dataclass(frozen=True, order=True)
class Utterance:
    """One utterance; utterances are in the order of speakers.

    Attributes:
        speaker: such as ``"fcjf0"``.
        sentence: such as ``"si1027"``.
        transcript: the path of its phones.
        name: that path below the corpus, for messages.
    """

    speaker: str
    sentence: str
    transcript: Path
    name: str

    @property
    def split(self) -> Split | None:
        """The part of Kaldi's recipe that it belongs to; None where it is left out."""
        if self.sentence in READ_BY_ALL:
            return None
        if self.name.lower().startswith("train/"):
            return "train"
        return "dev" if self.speaker in DEV else "test" if self.speaker in CORE else None

    def audio(self) -> Path:
        """The recording beside the transcript; a copy in RIFF form may end in ``.WAV.wav``.

        Raises:
            DataError: there is none.
        """
        for path in sorted(self.transcript.parent.iterdir()):
            if path.name.lower() in (f"{self.sentence}.wav", f"{self.sentence}.wav.wav"):
                return path
        stem = self.transcript.stem
        raise DataError(f"{self.name} must have a recording beside it, but there is no {stem}.WAV; fetch it again")

    def phones(self) -> tuple[Symbols, int]:
        """Its phones, of 61, and the sample at which the last one ends.

        Raises:
            DataError: the transcript cannot be read, or a line is no phone or out of order.
        """
        phones, end = [], 0
        for text, where in lines_of(read_bytes(self.transcript), self.name):
            line = re.fullmatch(r"\s*([0-9]{1,12})\s+([0-9]{1,12})\s+(\S+)\s*", text)
            if line is None or line[3] not in PHONES:
                raise DataError(
                    f"{where} must be where a phone begins and ends and which of TIMIT's 61 it is, but it is "
                    f"{text[:40]!r}; fetch it again"
                )
            begin, until = int(line[1]), int(line[2])
            if not end <= begin <= until:
                raise DataError(
                    f"{where} must begin at sample {end}, where the phone before ends, or later, and then end, but it "
                    f"goes from {begin} to {until}; fetch it again"
                )
            phones.append(line[3])
            end = until
        return tuple(phones), end


def root_of(place: Path) -> Path | None:
    """The folder with TRAIN and TEST: the place itself, or TIMIT or data in it; None where there is none."""
    inside = [each for each in _folders(place) if each.name.lower() in ("timit", "data")]
    for root in (place, *inside):
        if {"train", "test"} <= {each.name.lower() for each in _folders(root)}:
            return root
    return None


def utterances(root: Path) -> Iterator[Utterance]:
    """Everything below TRAIN and TEST that has a transcript, whether file names are in capitals or not."""
    for side in _folders(root):
        if side.name.lower() in ("train", "test"):
            for path in side.rglob("*"):
                if path.suffix.lower() == ".phn" and not path.name.startswith("."):  # a Mac leaves ._ beside files
                    name = path.relative_to(root).as_posix()
                    yield Utterance(path.parent.name.lower(), path.stem.lower(), path, name)


def _folders(place: Path) -> list[Path]:
    return sorted(each for each in place.iterdir() if each.is_dir()) if place.is_dir() else []


Samples = Float[np.ndarray, " samples"]
Spectrum = Float[np.ndarray, "time features"]

RATE = 16_000
"""Samples in a second."""

LONGEST = 600 * RATE
"""Samples a recording may have: ten minutes."""

FRAME = 400
"""Samples of a frame, 25 milliseconds."""


def require_speech(name: str) -> None:
    """Make sure that audio can be read.

    Raises:
        ConfigError: the packages for it are not installed.
    """
    missing = [package for package in ("soundfile", "kaldi_native_fbank") if find_spec(package) is None]
    if missing:
        raise ConfigError(f"{name} needs {' and '.join(missing)}, not installed: pip install structpred[speech]")


def read_audio(path: Path, name: str) -> Samples:
    """The samples of an audio file, such as NIST SPHERE or RIFF, between −32,768 and 32,767 as Kaldi takes them.

    Args:
        path: of the file.
        name: what messages call it.

    Raises:
        DataError: it cannot be read, is packed by shorten, is not 16,000 samples a second of one channel, is shorter
            than a frame or longer than ten minutes.
    """
    import soundfile  # of the extra `speech`

    if not path.is_file():
        raise DataError(f"{name} must be an audio file that can be read, but there is none; check its path")
    packed = False
    try:
        with path.open("rb") as file:
            packed = b"shorten" in file.read(1024)
        with soundfile.SoundFile(path) as sound:
            rate, channels = sound.samplerate, sound.channels
            samples = sound.read(LONGEST + 1, dtype="int16") if (rate, channels) == (RATE, 1) else np.zeros(0)
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        advice = "unpack it, for instance by sph2pipe" if packed else "fetch it again"
        raise DataError(
            f"{name} must be an audio file that can be read, but it is not: {_said(error)}; {advice}"
        ) from None
    if (rate, channels) != (RATE, 1):
        raise DataError(
            f"{name} must have {RATE:,} samples a second of one channel, but it has {rate:,} of {channels}; "
            "convert it, for instance by sox"
        )
    if not FRAME <= len(samples) <= LONGEST:
        raise DataError(
            f"{name} must be 25 milliseconds to ten minutes long, but it has {'over ' * (len(samples) > LONGEST)}"
            f"{min(len(samples), LONGEST):,} samples; cut it"
        )
    return samples.astype(np.float32)


def _said(error: Exception) -> str:
    return re.sub(r"^Error opening .*: ", "", " ".join(str(error).split())).rstrip(".") or type(error).__name__


def log_mel(samples: Samples, *, filters: int) -> Spectrum:
    """Logarithms of mel filterbank energies, every 10 milliseconds over 25, as Kaldi computes them; no dither.

    Args:
        samples: as `read_audio` returns them.
        filters: triangles between 20 Hz and 8 kHz.
    """
    import kaldi_native_fbank  # of the extra `speech`

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = RATE
    options.mel_opts.num_bins = filters
    filterbank = kaldi_native_fbank.OnlineFbank(options)
    filterbank.accept_waveform(RATE, samples)
    filterbank.input_finished()
    return np.array([filterbank.get_frame(i) for i in range(filterbank.num_frames_ready)], np.float32)


def with_derivatives(spectrum: Spectrum, *, orders: int) -> Float[np.ndarray, "time more"]:
    """The spectrum with its first ``orders`` derivatives in time beside it.

    Each is the slope of the one before over five frames, Σ_n n (x_{t+n} − x_{t−n}) / (2 Σ_n n²) with n = 1, 2 (the
    HTK Book, section 5.9, from memory); the first and last frames are repeated beyond the ends.
    """
    parts = [spectrum]
    for _ in range(orders):
        x = np.pad(parts[-1], ((2, 2), (0, 0)), mode="edge")
        parts.append((x[3:-1] - x[1:-3] + 2 * (x[4:] - x[:-4])) / 10)
    return np.concatenate(parts, 1)


def normalised(spectrum: Spectrum) -> Spectrum:
    """Every feature with mean 0 and variance 1 over the recording; one that never changes is 0."""
    centred = spectrum.astype(np.float64) - spectrum.mean(0, dtype=np.float64)
    deviation = np.sqrt((centred**2).mean(0))
    constant = deviation < 1e-5  # a logarithm of energy in single precision is no more certain than that
    centred[:, constant] = 0.0
    return np.asarray(centred / np.where(constant, 1.0, deviation), np.float32)


COMPLETE = (3_696, 400, 192)
"""Utterances that people train on, choose by and test on."""


class IncompleteWarning(UserWarning):
    """A corpus lacks some of the published utterances."""


@tasks.register("timit")
@dataclass(frozen=True, kw_only=True)
class Timit(Task):
    """Speech to phones: TIMIT by the split of Kaldi's recipe, 3,696 utterances, 400 for dev, 192 of the core test set.

    The input is a recording for models whose inputs are `frames`: mel filterbank energies every 10 milliseconds and
    their derivatives, each normalised over the utterance. The two sentences that everybody reads are left out. Files
    are NIST SPHERE or RIFF in folders ``TRAIN/DR1/FCJF0``, in capitals or not; the packages of the extra ``speech``
    read them.

    Attributes:
        folder: has ``TRAIN`` and ``TEST`` in it, or in its ``TIMIT`` or ``data``; variables are expanded.
        phones: those that a model writes, 61 of the transcripts or 48 or 39 of Lee and Hon; scores are of 39.
        filters: mel filters; a frame has ``filters`` · (1 + ``derivatives``) numbers.
        derivatives: how many of them stand beside the energies.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (PhoneErrorRate(),)
    origin: ClassVar[DataSet] = SETS["timit"]

    folder: str = "$STRUCTPRED_DATA/timit"
    phones: PhoneSet = 61
    filters: Annotated[int, Interval(least=3, most=80)] = 40
    derivatives: Annotated[int, Interval(least=0, most=2)] = 2

    def load(self) -> Splits:
        """Read the corpus; where some of it is missing, a warning says how much there is.

        Raises:
            ConfigError: the packages of the extra ``speech`` are not installed.
            DataError: the corpus is not there, or a file is missing or damaged.
        """
        require_speech("the task timit")
        self.origin.warn()
        root = self._root()
        of: dict[Split | None, list[Utterance]] = defaultdict(list)
        for utterance in utterances(root):
            of[utterance.split].append(utterance)
        train, dev, test = ([self._example(each) for each in sorted(of[split])] for split in get_args(Split))
        _refuse_or_warn(root, (len(train), len(dev), len(test)))
        return splits_of(train=train, dev=dev, test=test)

    def parse(self, text: str) -> Recording:
        """The recording in an audio file, named by its path.

        Raises:
            ConfigError: the packages of the extra ``speech`` are not installed.
            DataError: it cannot be read.
        """
        require_speech("reading audio")
        if not text.strip():
            raise DataError("the input must be the path of an audio file, but it is empty; give one")
        path = place_of(text.strip())
        return self._recording(path.name, read_audio(path, str(path)))

    def render(self, output: Symbols) -> str:
        """Phones separated by spaces."""
        return " ".join(output)

    def _root(self) -> Path:
        advice = "order LDC93S1 from the Linguistic Data Consortium and name its folder by Timit.folder"
        try:
            place = place_of(self.folder)
        except DataError as error:
            raise DataError(f"{error}; or {advice}") from None
        if (root := root_of(place)) is None:
            raise DataError(f"{place} must hold the folders TRAIN and TEST of TIMIT, but it does not; {advice}")
        return root

    def _example(self, utterance: Utterance) -> Example:
        phones, end = utterance.phones()
        audio = utterance.audio()
        samples = read_audio(audio, f"{utterance.name.rpartition('/')[0]}/{audio.name}")
        if end > len(samples) + RATE // 10:
            raise DataError(
                f"{utterance.name} must end where its recording does, but that has {len(samples):,} samples, and the "
                f"last phone ends at {end:,}; fetch both again"
            )
        recording = self._recording(utterance.name.rpartition(".")[0], samples)
        return Example(recording, (folded(phones, self.phones),), utterance.name)

    def _recording(self, name: str, samples: Samples) -> Recording:
        spectrum = with_derivatives(log_mel(samples, filters=self.filters), orders=self.derivatives)
        return Recording(name, normalised(spectrum))


def _refuse_or_warn(root: Path, found: tuple[int, int, int]) -> None:
    if not all(found):
        raise DataError(
            f"{root} must hold utterances of training speakers, of Kaldi's dev speakers and of core test speakers, but "
            f"it has {found[0]}, {found[1]} and {found[2]}; fetch it again"
        )
    if found != COMPLETE:
        warnings.warn(
            f"{root} has {found[0]:,} utterances to train on, {found[1]:,} to choose by and {found[2]:,} to test on, "
            f"not {COMPLETE[0]:,}, {COMPLETE[1]} and {COMPLETE[2]}: scores cannot be compared with published ones",
            IncompleteWarning,
            stacklevel=3,
        )
