"""A corpus in the form of TIMIT whose phones are tones."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
TONES = {"h#": 0.0, "iy": 2800.0, "aa": 700.0, "bcl": 200.0, "m": 1300.0}
"""Hertz of each phone; silence is noise alone."""

DEV_SPEAKERS = ("faks0", "mreb0")
TEST_SPEAKERS = ("mdab0", "felc0")


def tones(phones: Sequence[str], ends: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """Samples between -1 and 1 of phones that end there, with a little noise."""
    time = np.arange(ends[-1]) / RATE
    hertz = np.repeat([TONES[phone] for phone in phones], np.diff([0, *ends]))
    return 0.3 * np.sin(2 * np.pi * hertz * time) + 0.01 * generator.standard_normal(len(time))


def write_utterance(
    stem: Path, phones: Sequence[str], generator: np.random.Generator, *, form: str = "NIST", ending: str = ".WAV"
) -> None:
    """One recording and its transcript, each phone a tenth of a second or so."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    ends = np.cumsum(generator.integers(1200, 2000, len(phones))).tolist()
    lines = [f"{begin} {end} {phone}\n" for begin, end, phone in zip([0, *ends], ends, phones, strict=False)]
    stem.with_suffix(".PHN").write_text("".join(lines), encoding="utf-8")
    soundfile.write(f"{stem}{ending}", tones(phones, ends, generator), RATE, format=form, subtype="PCM_16")


def write_corpus(root: Path, *, train: Iterable[str], sentences: int) -> None:
    """TRAIN and TEST below the root: so many sentences a speaker, and one that everybody reads."""
    generator = np.random.default_rng(0)
    sides = [("TRAIN", train), ("TEST", (*DEV_SPEAKERS, *TEST_SPEAKERS, "mxyz0"))]
    for side, speakers in sides:
        for speaker in speakers:
            folder = root / side / "DR1" / speaker.upper()
            for number in range(sentences):
                inner = generator.permutation([phone for phone in TONES if phone != "h#"])[: generator.integers(2, 5)]
                write_utterance(folder / f"SX{number}", ["h#", *inner, "h#"], generator)
            write_utterance(folder / "SA1", ["h#", "aa", "h#"], generator)
