"""Speech as frames of log-mel energies, from audio files."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float

from structpred.errors import ConfigError, DataError

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


def read_audio(path: Path) -> Samples:
    """The samples of an audio file, such as NIST SPHERE or RIFF, between −32,768 and 32,767 as Kaldi takes them.

    Raises:
        DataError: it cannot be read, is packed by shorten, is not 16,000 samples a second of one channel, is shorter
            than a frame or longer than ten minutes.
    """
    import soundfile  # of the extra `speech`

    if not path.is_file():
        raise DataError(f"{path.name} must be an audio file that can be read, but there is none; check {path}")
    packed = False
    try:
        with path.open("rb") as file:
            packed = b"shorten" in file.read(1024)
        with soundfile.SoundFile(path) as sound:
            rate, channels = sound.samplerate, sound.channels
            samples = sound.read(LONGEST + 1, dtype="int16") if (rate, channels) == (RATE, 1) else np.zeros(0)
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        advice = "unpack it, for instance by sph2pipe" if packed else "fetch it again"
        raise DataError(f"{path.name} must be an audio file that can be read, but {_said(error)}; {advice}") from None
    if (rate, channels) != (RATE, 1):
        raise DataError(
            f"{path.name} must have {RATE:,} samples a second of one channel, but it has {rate:,} of {channels}; "
            "convert it, for instance by sox"
        )
    if not FRAME <= len(samples) <= LONGEST:
        raise DataError(
            f"{path.name} must be 25 milliseconds to ten minutes long, but it has {'over ' * (len(samples) > LONGEST)}"
            f"{min(len(samples), LONGEST):,} samples; cut it"
        )
    return samples.astype(np.float32)


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".").replace("Error opening ", "of ") or type(error).__name__


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
