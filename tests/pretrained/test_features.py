"""Features of frozen networks: computed once, kept by content, and never trusted blindly."""

import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from structpred.errors import DataError

pytest.importorskip("transformers", reason="needs the extra pretrained: pip install structpred[pretrained]")

from filelock import FileLock

from structpred.pretrained import ModelFolder
from structpred.pretrained import features as module
from structpred.pretrained.features import CacheWarning, Extraction, computed, features
from tests.support.pretrained import SENTENCES, saved

MEAN = Extraction(layers=(0, 3), average=True, pooling="first", window=None, no_piece="refuse")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return ModelFolder.of(str(saved(tmp_path_factory.mktemp("bert"))))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache that keeps the features of however few words."""
    monkeypatch.setenv("STRUCTPRED_FEATURES", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "LEAST_WORDS", 0)
    yield tmp_path / "cache"
    module.frozen.cache_clear()


def forbid_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "computed", lambda *given: pytest.fail("computed again"))


def test_the_second_time_nothing_is_computed(bert: ModelFolder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = features(bert, MEAN, SENTENCES)
    assert first.dtype == torch.float16
    assert first.shape == (6, 8)
    assert len(list(cache.glob("*.npz"))) == 1
    forbid_computing(monkeypatch)
    again = features(ModelFolder.of(bert.name), MEAN, list(SENTENCES))
    assert torch.equal(first, again)
    assert not again.is_inference()


def test_the_home_folder_may_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    monkeypatch.setenv("STRUCTPRED_FEATURES", "~/features")
    assert module.cache_folder() == Path("/somebody/features")
    monkeypatch.setenv("STRUCTPRED_FEATURES", "")
    assert module.cache_folder().name == "features"


def test_features_are_layers_side_by_side_or_their_mean(bert: ModelFolder) -> None:
    apart = computed(bert, replace(MEAN, average=False), SENTENCES).float().view(6, 2, 8)
    torch.testing.assert_close(computed(bert, MEAN, SENTENCES).float(), apart.mean(1), rtol=0, atol=2e-3)
    alone = torch.cat([computed(bert, MEAN, [each]) for each in SENTENCES if each])
    torch.testing.assert_close(computed(bert, MEAN, SENTENCES), alone, rtol=0, atol=2e-3)
    assert computed(bert, MEAN, [(), ()]).shape == (0, 0)


def test_sentences_go_together_by_length_and_in_their_order(bert: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = computed(bert, MEAN, SENTENCES)
    monkeypatch.setattr(module, "AT_ONCE", 3)
    torch.testing.assert_close(computed(bert, MEAN, SENTENCES), whole, rtol=0, atol=2e-3)


def test_whatever_determines_features_is_in_the_key(bert: ModelFolder, tmp_path: Path) -> None:
    other = ModelFolder.of(str(saved(tmp_path, seed=4)))
    variants = [
        replace(MEAN, layers=(0, 2)),
        replace(MEAN, average=False),
        replace(MEAN, pooling="last"),
        replace(MEAN, window=8),
        replace(MEAN, no_piece="unknown"),
    ]
    keys = [
        MEAN.key(bert, SENTENCES),
        MEAN.key(other, SENTENCES),
        MEAN.key(bert, SENTENCES[1:]),
        MEAN.key(bert, [("a", "b")]),
        MEAN.key(bert, [("a",), ("b",)]),
        *(each.key(bert, SENTENCES) for each in variants),
    ]
    assert len(set(keys)) == len(keys)
    assert ModelFolder(name="elsewhere", path=bert.path).digest == bert.digest
    assert MEAN.key(ModelFolder(name="elsewhere", path=bert.path), SENTENCES) == keys[0]


def test_whatever_bit_is_wrong_a_damaged_file_is_no_traceback(tmp_path: Path) -> None:
    """A bit of the archive may say that its content is encrypted, or packed by another method."""
    place = tmp_path / "features.npz"
    np.savez(place, features=np.zeros((20, 8), np.float16))
    whole = place.read_bytes()
    found = []
    for position in [*range(200), *range(len(whole) - 200, len(whole))]:
        for bit in range(8):
            content = bytearray(whole)
            content[position] ^= 1 << bit
            place.write_bytes(content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(module._cached(place, 20, quietly=True))
    assert any(each is None for each in found)
    assert all(each is None or not each.any() for each in found)


def test_features_that_cannot_be_kept_are_computed_once(
    bert: ModelFolder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def computing(*given: Any) -> Any:
        calls.append(1)
        return computed(*given)

    def full(path: Path) -> Any:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(module, "computed", computing)
    monkeypatch.setattr(module, "replacing", full)
    module._warn_once.cache_clear()
    with pytest.warns(CacheWarning, match=r"features cannot be kept in .* \(No space left on device\)"):
        assert torch.equal(features(bert, MEAN, SENTENCES), computed(bert, MEAN, SENTENCES))
    assert len(calls) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "empty"])
def test_a_damaged_file_is_computed_again(bert: ModelFolder, cache: Path, damage: str) -> None:
    first = features(bert, MEAN, SENTENCES)
    (place,) = cache.glob("*.npz")
    content = place.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    match damage:
        case "cut":
            place.write_bytes(content[: len(content) // 2])
        case "flipped":
            place.write_bytes(flipped)
        case "other":
            np.savez(place, features=np.zeros((5, 8), np.float16))
        case "empty":
            place.write_bytes(b"")
    with pytest.warns(
        CacheWarning, match=r"\.npz must hold features, but it cannot be read .*; they are computed again"
    ):
        assert torch.equal(features(bert, MEAN, SENTENCES), first)
    assert torch.equal(features(bert, MEAN, SENTENCES), first), "without another warning"


def test_a_cache_that_cannot_be_written_costs_time_only(bert: ModelFolder, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.warns(CacheWarning, match="features cannot be kept in .*; they are computed each time"):
        assert torch.equal(features(bert, MEAN, SENTENCES), computed(bert, MEAN, SENTENCES))
    features(bert, MEAN, SENTENCES[:-1])  # a second warning would be an error here


def test_a_second_process_waits_for_the_first(bert: ModelFolder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = features(bert, MEAN, SENTENCES)
    (place,) = cache.glob("*.npz")
    content = place.read_bytes()
    place.unlink()
    forbid_computing(monkeypatch)
    found: list[torch.Tensor] = []
    with FileLock(place.with_suffix(".lock")):
        other = threading.Thread(target=lambda: found.append(features(bert, MEAN, SENTENCES)))
        other.start()
        other.join(0.1)
        assert other.is_alive()
        assert not found
        place.write_bytes(content)
    other.join(10)
    assert torch.equal(found[0], expected)


def test_few_words_are_kept_in_memory_only(bert: ModelFolder, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_WORDS", 7)
    first = features(bert, MEAN, SENTENCES)
    forbid_computing(monkeypatch)
    assert features(bert, MEAN, SENTENCES) is first
    assert not cache.exists()


def test_features_too_large_for_half_precision_are_refused(bert: ModelFolder, cache: Path) -> None:
    _, encoder = module.frozen(bert, bert.digest, MEAN)
    with torch.no_grad():
        encoder.pretrained.encoder.layer[2].output.LayerNorm.weight.fill_(1e6)
    with pytest.raises(
        DataError, match=r"must be finite in half precision, but some are not; take other layers, or tune"
    ):
        features(bert, MEAN, SENTENCES)
    assert not list(cache.glob("*.npz"))
