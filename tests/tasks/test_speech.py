import random
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from structpred.errors import ConfigError, DataError
from structpred.tasks import speech
from structpred.tasks.speech import RATE, log_mel, normalised, read_audio, require_speech, with_derivatives
from tests.support.speech import tones

SAMPLES = tones(["h#", "aa", "h#"], [1000, 3000, 4000], np.random.default_rng(0))


@pytest.mark.parametrize(("form", "endian"), [("NIST", "LITTLE"), ("NIST", "BIG"), ("WAV", "LITTLE")])
def test_sphere_and_riff_hold_the_same_samples(tmp_path: Path, form: str, endian: str) -> None:
    path = tmp_path / "a.WAV"
    soundfile.write(path, SAMPLES, RATE, format=form, subtype="PCM_16", endian=endian)
    assert np.abs(read_audio(path, path.name) - SAMPLES * 32_768).max() <= 1, "a step of 16 bits"


@pytest.mark.parametrize(
    ("samples", "rate", "expected"),
    [
        (SAMPLES, 8_000, "a.wav must have 16,000 samples a second of one channel, but it has 8,000 of 1; convert it"),
        (np.stack([SAMPLES, SAMPLES], 1), RATE, "but it has 16,000 of 2; convert it"),
        (SAMPLES[:399], RATE, "a.wav must be 25 milliseconds to ten minutes long, but it has 399 samples; cut it"),
        (SAMPLES[:0], RATE, "but it has 0 samples"),
        (np.tile(SAMPLES, 2401), RATE, "but it has over 9,600,000 samples; cut it"),
    ],
    ids=["rate", "stereo", "short", "empty", "long"],
)
def test_other_audio_is_refused(tmp_path: Path, samples: np.ndarray, rate: int, expected: str) -> None:
    soundfile.write(tmp_path / "a.wav", samples, rate, format="NIST", subtype="PCM_16")
    with pytest.raises(DataError, match=re.escape(expected)):
        read_audio(tmp_path / "a.wav", "a.wav")


def test_a_packed_recording_is_refused_with_advice(tmp_path: Path) -> None:
    header = b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    (tmp_path / "a.wav").write_bytes(header.ljust(1024) + b"ajkg\2" * 100)
    with pytest.raises(DataError, match=r"^a\.wav must be an audio file that can be read, but .*by sph2pipe$"):
        read_audio(tmp_path / "a.wav", "a.wav")


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no sound", encoding="utf-8")
    for path in (tmp_path, tmp_path / "a.wav", tmp_path / "absent.wav"):
        with pytest.raises(DataError, match=rf"^{re.escape(path.name)} must be an audio file that can be read, but "):
            read_audio(path, path.name)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["NIST", "WAV"])
def test_two_thousand_damaged_recordings_are_read_or_refused(tmp_path: Path, form: str) -> None:
    path, generator, read, refusals = tmp_path / "fuzz.wav", random.Random(3), 0, list[str]()
    soundfile.write(path, SAMPLES[:1200], RATE, format=form, subtype="PCM_16")
    good = path.read_bytes()
    for _ in range(2000):
        content = bytearray(good[: generator.randrange(len(good))] if generator.random() < 0.2 else good)
        for _ in range(generator.randrange(5)):
            if content:
                content[generator.randrange(min(len(content), 200))] = generator.randrange(256)
        path.write_bytes(content)
        try:
            samples = read_audio(path, path.name)
        except DataError as error:
            refusals.append(str(error))
            continue
        read += 1
        assert 400 <= len(samples) <= len(good)
    assert [each for each in refusals if not re.fullmatch(r"fuzz\.wav [^\n]+", each)] == []
    assert 20 < read < 1980, "both outcomes are tried"


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "find_spec", lambda name: None if name == "soundfile" else object())
    with pytest.raises(ConfigError, match=r"^the task timit needs soundfile, not installed: pip install structpred\["):
        require_speech("the task timit")


@pytest.mark.parametrize("hertz", [300, 1000, 4000])
def test_a_tone_is_loudest_in_the_filter_around_it(hertz: int) -> None:
    spectrum = log_mel(np.float32(10_000) * np.sin(2 * np.pi * hertz * np.arange(8000) / RATE).astype("f4"), filters=40)
    assert spectrum.shape == (1 + (8000 - 400) // 160, 40)
    assert spectrum.dtype == np.float32

    def mel(frequency: float) -> float:
        return 1127 * float(np.log1p(frequency / 700))

    nearest = (mel(hertz) - mel(20)) / ((mel(8000) - mel(20)) / 41) - 1  # filters have their middles at 1, 2, … of 41
    assert np.abs(spectrum.argmax(1) - nearest).max() <= 1


def test_the_same_samples_have_the_same_spectrum() -> None:
    samples = (SAMPLES * 32_768).astype("f4")
    np.testing.assert_array_equal(log_mel(samples, filters=23), log_mel(samples, filters=23), "no dither")


@pytest.mark.parametrize("length", [1, 2, 3, 9])
@pytest.mark.parametrize("orders", [0, 1, 2])
def test_derivatives_are_slopes_over_five_frames(length: int, orders: int) -> None:
    spectrum = np.random.default_rng(length).standard_normal((length, 3))
    found = with_derivatives(spectrum, orders=orders)
    assert found.shape == (length, 3 * (orders + 1))
    before = spectrum
    for order in range(1, orders + 1):
        at = [before[min(max(t, 0), length - 1)] for t in range(-2, length + 2)]  # at[t + 2] is frame t
        slopes = [np.polyfit(range(-2, 3), np.stack(at[t : t + 5]), 1)[0] for t in range(length)]
        before = np.stack(slopes)
        np.testing.assert_allclose(found[:, 3 * order : 3 * (order + 1)], before, atol=1e-12)


def test_features_have_mean_zero_and_variance_one() -> None:
    spectrum = np.random.default_rng(0).normal(5, 3, (50, 4)).astype(np.float32)
    spectrum[:, 2] = -15.9
    found = normalised(spectrum)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(0), [1, 1, 0, 1], atol=1e-5)
    assert (normalised(spectrum[:1]) == 0).all()
