"""Pieces of words as sentencepiece learns them, and a cache of what it has learnt."""

import hashlib
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pooch

from structpred.config import canonical
from structpred.errors import ConfigError, DataError
from structpred.files import write_atomically
from structpred.tasks.reading import shared
from structpred.vocabulary import Symbols

Kind = Literal["unigram", "bpe"]
Normalisation = Literal["nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity"]

LONGEST_LINE = 2**30
"""Bytes of a sentence that is learnt from; by default sentencepiece leaves out those of more than 4192."""


class PiecesCacheWarning(UserWarning):
    """Learnt pieces cannot be read from the cache, or written into it."""


@dataclass(frozen=True)
class Learning:
    """How pieces are learnt; the names of fields are those of `structpred.tasks.Subwords`."""

    kind: Kind
    size: int
    normalisation: Normalisation
    coverage: float
    byte_fallback: bool


def sentencepiece() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module("sentencepiece")
    except ImportError:
        raise ConfigError(
            "subwords need sentencepiece, which is not installed: pip install structpred[subwords]"
        ) from None


class PieceModel:
    """Text to pieces and back, by a model of sentencepiece.

    Args:
        model: the content of its file, which ``sentencepiece`` itself reads as well.

    Raises:
        ConfigError: sentencepiece is not installed.
        DataError: it cannot read the model.
    """

    def __init__(self, model: bytes) -> None:
        self.model = model

    def __reduce__(self) -> tuple[type["PieceModel"], tuple[bytes]]:
        return PieceModel, (self.model,)

    @cached_property
    def _processor(self) -> Any:
        try:
            return sentencepiece().SentencePieceProcessor(model_proto=self.model)
        except RuntimeError as error:
            raise DataError(
                f"learnt pieces must be a model of sentencepiece, but it refuses them ({_short(error)})"
            ) from None

    def encode(self, texts: Sequence[str]) -> list[Symbols]:
        """The pieces of each text; a word's first begins with U+2581, and white space counts once."""
        return [shared(pieces) for pieces in self._processor.encode(list(texts), out_type=str, num_threads=1)]

    def decode(self, pieces: Symbols) -> str:
        """The text of pieces; bytes that are no UTF-8 become U+FFFD."""
        return str(self._processor.decode(list(pieces)))

    def words(self, pieces: Symbols) -> Symbols:
        """The words of the text of pieces."""
        return tuple(self.decode(pieces).split())


def learnt(texts: Iterable[str], how: Learning) -> PieceModel:
    """The pieces of training texts, from the cache if these texts have been learnt from in this way before.

    A model is a function of texts, settings and the version of sentencepiece, which learns in one thread. The name of
    its file in the cache is a digest of these. Processes that learn the same at the same time write the same. A file
    whose content does not have its digest is made again.

    Raises:
        ConfigError: sentencepiece is not installed, or the texts do not allow the size.
        DataError: it cannot learn from them for another reason.
    """
    lines = [" ".join(text.split()) for text in texts]
    place = _place(lines, how)
    known = _read(place)
    if known is not None:
        return PieceModel(known)
    model = _learn(lines, how)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, hashlib.sha256(model).digest() + model)
    except OSError as error:
        _warn(f"{place} cannot be written ({error.strerror}), so that the pieces are learnt anew next time")
    return PieceModel(model)


def _place(lines: Sequence[str], how: Learning) -> Path:
    hashed = hashlib.sha256(canonical([asdict(how), sentencepiece().__version__]).encode())
    for line in lines:
        hashed.update(f"\n{line}".encode())
    return Path(pooch.os_cache("structpred"), "subwords", f"{hashed.hexdigest()}.pieces")


def _read(place: Path) -> bytes | None:
    """The model in a file of the cache: SHA-256, then content; None if there is none, or none that is whole."""
    try:
        content = place.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _warn(f"{place} cannot be read ({error.strerror}), so that the pieces are learnt anew")
        return None
    digest, model = content[:32], content[32:]
    if hashlib.sha256(model).digest() != digest:
        _warn(f"{place} is damaged, so that the pieces are learnt anew and the file is written again")
        return None
    return model


def _learn(lines: Sequence[str], how: Learning) -> bytes:
    written = io.BytesIO()
    try:
        sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            model_type=how.kind,
            vocab_size=how.size,
            normalization_rule_name=how.normalisation,
            character_coverage=how.coverage,
            byte_fallback=how.byte_fallback,
            max_sentence_length=LONGEST_LINE,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, ValueError) as error:
        raise _explained(str(error), how) from None
    return written.getvalue()


def _explained(message: str, how: Learning) -> ConfigError | DataError:
    """What sentencepiece says, without the lines of its source."""
    if found := re.search(r"set it to a value <= (\d+)", message):
        most = int(found[1])
        return ConfigError(
            f"Subwords.size must be at most {most:,} for these training texts, which have no more pieces, but got "
            f"{how.size:,}; lower it, or train on more text"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        bytes_too = ", 256 of them for bytes" if how.byte_fallback else ""
        way_out = ", set byte_fallback=False" if how.byte_fallback else ""
        return ConfigError(
            f"Subwords.size must be at least {int(found[1]):,} for these training texts, a piece for every "
            f"character{bytes_too}, but got {how.size:,}; raise it{way_out} or lower coverage"
        )
    return DataError(f"sentencepiece cannot learn pieces from the training texts ({_short(message)}); look at them")


def _short(error: object) -> str:
    """A message of sentencepiece without file, line and condition."""
    return re.sub(r"^\w+: *\S+\(\d+\) *(\[.*?\] *)?", "", " ".join(str(error).split())) or "it does not say why"


def _warn(message: str) -> None:
    warnings.warn(message, PiecesCacheWarning, stacklevel=4)
