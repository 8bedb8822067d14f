"""Ids with a role: those of a network's own tokenizer, or of new vectors for the symbols of a task."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from structpred.errors import DataError
from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.labels import Pieces, forced_start, ids_with
from structpred.pretrained.library import quiet
from structpred.task import Sizes

PAIR = "EncoderDecoderModel"
"""The class of transformers for an encoder and a decoder with embeddings of their own."""

START, PADDING, END, UNKNOWN, RESERVED = range(5)
"""With new vectors: ids that are no symbols, of which padding is where RoBERTa has it; then inputs, then labels."""


@dataclass(frozen=True)
class Special:
    """Ids of a network.

    Attributes:
        labels: of each label.
        start: read before the first label.
        end: written after the last one.
        padding: anything.
        forced: read between the start and the first label of every output, and never scored; None for nothing.
        passed_on: 1 where the last id of a source is ``start``, which is then read as the first of the output.
    """

    labels: tuple[int, ...]
    start: int
    end: int
    padding: int
    forced: int | None = None
    passed_on: int = 0


def own_ids(folder: ModelFolder, network: Any, pieces: Pieces, suffix: str, *, seq2seq: bool) -> Special:
    """The ids of the network's own tokenizer.

    Raises:
        DataError: the tokenizer has ids without a vector, or nothing says what begins or ends an output.
    """
    scores = network.get_output_embeddings().weight.shape[0]
    if max(pieces.ids) >= scores:
        raise DataError(
            f"the tokenizer of {folder.name} must have ids below {scores}, which is how many scores the network has, "
            f"but it has {max(pieces.ids)}; save the tokenizer that the model was trained with"
        )
    tokenizer = pieces.tokenizer
    after = [*pieces.ids_of(suffix), *pieces.back]
    ends = _first(folder, "eos_token_id", tokenizer.eos_token_id, tokenizer.sep_token_id)
    end = _needed(ends, folder, "ends an output (eos_token_id)")
    if seq2seq:
        starts = _first(folder, "decoder_start_token_id", *ids_with(folder, "bos_token_id"), tokenizer.bos_token_id,
                        tokenizer.cls_token_id)  # fmt: skip
    elif after:
        starts = after[-1:]
    else:
        starts = _first(folder, "bos_token_id", tokenizer.bos_token_id, end)
    start = _needed(starts, folder, "begins an output (decoder_start_token_id)")
    padding = _first(folder, "pad_token_id", tokenizer.pad_token_id, end)[0]
    forced = forced_start(folder) if seq2seq else None
    if max(start, end, padding, forced or 0) >= scores:
        raise DataError(
            f"{folder.name} must have ids below {scores}, which is how many scores the network has, but the tokens "
            f"that begin, end and pad an output have {start}, {end} and {padding}"
            f"{'' if forced is None else f', and the one forced at its beginning {forced}'}; correct its configs"
        )
    return Special(pieces.ids, start, end, padding, forced, passed_on=int(not seq2seq and bool(after)))


def _first(folder: ModelFolder, role: str, *others: int | None) -> list[int]:
    return [*ids_with(folder, role), *(each for each in others if each is not None)][:1]


def _needed(found: list[int], folder: ModelFolder, what: str) -> int:
    if not found:
        raise DataError(
            f"{folder.name} must say which token {what}, but neither config.json nor its tokenizer does; add it there"
        )
    return found[0]


def fresh_ids(network: Any, sizes: Sizes) -> Special:
    """Give the network new vectors for the symbols of a task."""
    count = RESERVED + sizes.num_inputs + sizes.num_labels
    with quiet():
        for part in _halves(network):
            deviations = [each.weight.detach().std().item() for each in _embeddings(part)]
            part.resize_token_embeddings(count, mean_resizing=False)
            for each, deviation in zip(_embeddings(part), deviations, strict=True):
                each.padding_idx = None
                nn.init.normal_(each.weight, std=deviation)
                if getattr(each, "bias", None) is not None:
                    nn.init.zeros_(each.bias)
        if getattr(network, "final_logits_bias", None) is not None:
            network.final_logits_bias.zero_()  # that of other symbols
    return Special(tuple(range(count - sizes.num_labels, count)), START, END, PADDING)


def _halves(network: Any) -> tuple[Any, ...]:
    """The parts of a network that have embeddings of their own."""
    return (network.encoder, network.decoder) if type(network).__name__ == PAIR else (network,)


def new_weights(network: Any) -> list[nn.Parameter]:
    """The parameters that `fresh_ids` has drawn."""
    return [weight for part in _halves(network) for layer in _embeddings(part) for weight in layer.parameters()]


def _embeddings(part: Any) -> list[Any]:
    """The layers that read and write symbols; a layer of scores may share its weights."""
    both = (part.get_input_embeddings(), part.get_output_embeddings())
    return [each for each in both if each is not None]
