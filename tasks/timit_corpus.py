"""TIMIT as it lies on a disc: who is in which split, and which files belong together."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from structpred.errors import DataError
from structpred.reading import read_lines
from structpred.tasks.phones import PHONES
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
"""The two sentences that every speaker reads; nobody trains or tests on them."""


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
        """The part of Kaldi's recipe that it belongs to; None where nobody uses it."""
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
        for number, (text, _) in enumerate(read_lines(self.transcript), start=1):
            where = f"{self.name} line {number}"
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
                if path.suffix.lower() == ".phn":
                    name = path.relative_to(root).as_posix()
                    yield Utterance(path.parent.name.lower(), path.stem.lower(), path, name)


def _folders(place: Path) -> list[Path]:
    return sorted(each for each in place.iterdir() if each.is_dir()) if place.is_dir() else []
