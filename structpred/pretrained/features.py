"""Features of words from a frozen network: computed once, and cached on disk under a digest of their inputs."""

import os
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError

import numpy as np
import pooch
import torch
from filelock import FileLock
from jaxtyping import Float
from torch import Tensor

from structpred.config import digest
from structpred.errors import DataError
from structpred.files import replacing
from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.library import of_encoder
from structpred.pretrained.pieces import NoPiece, PieceEncoder, Pooling, WordTokenizer, word_tokenizer_of
from structpred.reading import place_of
from structpred.vocabulary import Symbols

VARIABLE = "STRUCTPRED_FEATURES"
"""Environment variable with the folder of cached features; by default it is in the user's cache."""

LEAST_WORDS = 500
"""Features of fewer words are not written to disk: those of single sentences would fill it."""

AT_ONCE = 2048
"""Words in a batch, padding included."""

FORMAT = 2
"""Raised when the same settings give other numbers."""


class CacheWarning(UserWarning):
    """Cached features cannot be read or written; they are computed again."""


@dataclass(frozen=True)
class Extraction:
    """Which numbers of a frozen network are a word's features.

    Attributes:
        layers: the layers, 0 for the embeddings.
        average: the mean of the layers' states; otherwise all of them, one after another.
        pooling: how the pieces of a word become one.
        window: the most pieces read at once; None takes as many as the network can.
        no_piece: what happens to a word that gives no piece.
    """

    layers: tuple[int, ...]
    average: bool
    pooling: Pooling
    window: int | None
    no_piece: NoPiece

    def key(self, folder: ModelFolder, sentences: Sequence[Symbols]) -> str:
        """A digest of everything that determines the features."""
        settings = {"format": FORMAT, "model": folder.digest, **asdict(self), "layers": list(self.layers)}
        return digest({"settings": settings, "sentences": [list(each) for each in sentences]})


DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,
    SyntaxError,
    TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged archive raises.

A wrong bit may say that it is encrypted or packed by another method (RuntimeError), and NumPy parses the header of an
array as Python (SyntaxError, TokenError).
"""


def features(folder: ModelFolder, extraction: Extraction, sentences: Sequence[Symbols]) -> Float[Tensor, "words size"]:
    """The features of every word of the given sentences, end to end, in half precision.

    They are computed once and written to the cache, in a file named after a digest of weights, settings and words. The
    same sentences in another list may differ in the last bit, since they are computed beside others.

    Raises:
        DataError: a word gives no piece, or a feature is too large for half precision.
    """
    if sum(map(len, sentences)) < LEAST_WORDS:
        return _few(folder, folder.digest, extraction, tuple(sentences))
    place = cache_folder() / f"{extraction.key(folder, sentences)}.npz"
    found = _cached(place, sum(map(len, sentences)))
    if found is not None:
        return found
    with ExitStack() as held:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(place.with_suffix(".lock")))  # another process may be computing the same
        except OSError as error:
            _warn_once(place.parent, error.strerror or str(error))
            return computed(folder, extraction, sentences)
        found = _cached(place, sum(map(len, sentences)), quietly=True)
        if found is None:
            found = computed(folder, extraction, sentences)
            _keep(place, found)
        return found


@lru_cache
def _warn_once(place: Path, reason: str) -> None:
    """Warn about a folder once per process, not once for each part of the data."""
    warnings.warn(f"features cannot be kept in {place} ({reason}); they are computed each time", CacheWarning, 3)


def cache_folder() -> Path:
    """Where features are kept."""
    given = os.environ.get(VARIABLE)
    return place_of(given) if given else Path(pooch.os_cache("structpred"), "features")


@lru_cache(maxsize=8)
def _few(folder: ModelFolder, digest: str, extraction: Extraction, sentences: tuple[Symbols, ...]) -> Tensor:
    del digest  # part of the key
    return computed(folder, extraction, sentences)


def _cached(place: Path, words: int, *, quietly: bool = False) -> Tensor | None:
    """What a file of the cache holds; None if it is absent or damaged."""
    if not place.exists():
        return None
    try:
        with place.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            found = arrays["features"]
        if found.dtype != np.float16 or found.ndim != 2 or len(found) != words:
            raise ValueError(f"it holds {found.dtype} {found.shape}, not the features of {words} words")
    except DAMAGE as error:
        if not quietly:
            reason = "it is no archive" if "pickled" in str(error) else error  # NumPy would advise to load pickles
            warnings.warn(
                f"{place} must hold features, but it cannot be read ({reason}); they are computed again",
                CacheWarning,
                3,
            )
        return None
    return torch.from_numpy(found)


def _keep(place: Path, found: Tensor) -> None:
    try:
        with replacing(place) as stream:
            np.savez(stream, features=found.numpy())
    except OSError as error:
        _warn_once(place.parent, error.strerror or str(error))


@torch.no_grad()
def computed(folder: ModelFolder, extraction: Extraction, sentences: Sequence[Symbols]) -> Float[Tensor, "words size"]:
    """The features of every word, from the network, on a graphics card if there is one.

    Raises:
        DataError: as `features`.
    """
    if not any(sentences):
        return torch.zeros(0, 0, dtype=torch.float16)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer, encoder = frozen(folder, folder.digest, extraction)
    encoder.to(device)
    flat = tokenizer.read(sentences, extraction.no_piece)
    found: Tensor | None = None
    for rows in _batches([len(each) for each in sentences]):
        inputs = flat.gather(rows).to(device)
        states = encoder(inputs)
        kept = states.mean(2) if extraction.average else states.flatten(2)
        kept = kept[inputs.mask()].to(torch.float16).cpu()
        if not kept.isfinite().all():
            raise DataError(
                f"features of {folder.name} must be finite in half precision, but some are not; take other layers, or "
                "tune the encoder"
            )
        if found is None:
            found = torch.empty(len(flat.labels), kept.shape[1], dtype=torch.float16)
        places = [torch.arange(int(flat.starts[row]), int(flat.starts[row] + flat.lengths[row])) for row in rows]
        found[torch.cat(places)] = kept
    assert found is not None
    return found


@lru_cache(maxsize=1)
def frozen(folder: ModelFolder, digest: str, extraction: Extraction) -> tuple[WordTokenizer, PieceEncoder]:
    """The tokenizer and the network of a folder, in evaluation mode and without gradients; the last stays loaded."""
    tokenizer = word_tokenizer_of(folder, digest)
    kind, spare = of_encoder(folder.config)
    network = folder.network(kind, spare=spare)
    encoder = PieceEncoder(
        network, tokenizer, layers=extraction.layers, pooling=extraction.pooling, window=extraction.window
    )
    return tokenizer, encoder.requires_grad_(False).eval()


def _batches(lengths: Sequence[int]) -> list[Tensor]:
    """Sentences of similar length together."""
    batches: list[list[int]] = []
    width = 0
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True):
        if not batches or (len(batches[-1]) + 1) * width > AT_ONCE:
            batches.append([])
            width = lengths[row]
        batches[-1].append(row)
    return [torch.tensor(batch) for batch in batches]
