"""The library transformers: imported where it is needed, without its hints, and what its networks differ in."""

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

from structpred.errors import ConfigError

AFTER_PADDING = ("camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "mpnet", "xmod")
"""Models beside those named after RoBERTa whose positions begin after that of the padding."""

BY_WIDTH = ("gpt_neo",)
"""Models whose masks are tables with a column for each position, of the padding as well."""


def positions(config: Any, side: str = "encoder") -> int | None:
    """How many positions a network of transformers has by its config, or by that of one part; None for any number.

    Args:
        config: of transformers.
        side: ``"encoder"`` or ``"decoder"``, for configs that have a number for each.
    """
    names = (f"max_{side}_position_embeddings", "max_position_embeddings", "max_seq_len")
    found: int | None = next((value for name in names if (value := getattr(config, name, None)) is not None), None)
    if found is None or not ("roberta" in config.model_type or config.model_type in AFTER_PADDING):
        return found
    return found - int(config.pad_token_id) - 1


ALONE = "EncoderModel"
"""How the names of classes end that hold the encoder of an encoder-decoder alone."""


def of_encoder(config: Any) -> tuple[str, tuple[str, ...]]:
    """The class of transformers for an encoder, by its config, and prefixes of weights that it does not need.

    The encoder of T5 may have been saved alone, by a class of its own that no class for all models finds.
    """
    alone = next((name for name in config.architectures or () if name.endswith(ALONE)), None)
    if alone is not None and hasattr(optional("transformers"), alone):
        return alone, ()
    return "AutoModel", ("pooler.", *(("decoder.",) if config.is_encoder_decoder else ()))


def recompute(network: Any) -> None:
    """Make a network of transformers compute the activations of its layers again in the backward pass."""
    options = {"use_reentrant": False}
    if hasattr(network, "activation_checkpointing_enable"):  # the name since transformers 5
        network.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    else:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)


def optional(name: str) -> Any:
    """A module of a package that the extra ``pretrained`` brings.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"pretrained models need {name.partition('.')[0]}, which cannot be imported: pip install "
            "structpred[pretrained]"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Transformers without progress bars, advice and warnings; errors still raise exceptions."""
    log = optional("transformers.utils.logging")
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
