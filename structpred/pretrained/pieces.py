"""Words cut into the pieces of a pretrained tokenizer, and a pretrained network's states at whole words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structpred.errors import ConfigError, DataError
from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.library import ALONE, positions, quiet, recompute
from structpred.pretrained.probe import alike, refusal, tried
from structpred.sequences import FlatSequences, Sequences
from structpred.vocabulary import Symbols

Pooling = Literal["first", "mean", "last"]
"""Which pieces of a word stand for it: its first, the mean of all, or its last."""

UNLIMITED = 512
"""Pieces in a window where a model has no largest position of its own, as with relative positions."""

PROBES = ("a", "e", "n", "1", "的", "а", "ا")
"""Words of which a tokenizer knows some: three Latin letters, a digit, and a sign each of three other scripts."""

NoPiece = Literal["refuse", "unknown"]
"""What happens to a word that gives no piece, such as one of control characters: an error, or the unknown token."""


@dataclass(frozen=True)
class WordTokenizer:
    """Cuts words into pieces, each by itself, as the tokenizer cuts a word that follows another in a text.

    Attributes:
        name: the model's, for messages.
        underlying: the tokenizer of transformers, which is given words (``is_split_into_words``).
        before: what stands before every word: a space where the tokenizer counts it as part of the word.
        prefix, suffix: ids of the marks before and behind a sentence, such as ``[CLS]`` and ``[SEP]``.
    """

    name: str
    underlying: Any
    before: str = ""
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()

    @classmethod
    def of(cls, folder: ModelFolder) -> "WordTokenizer":
        """The tokenizer of a folder.

        Raises:
            DataError: it cannot be read or does not fit the model.
        """
        bare = cls._without_marks(folder)
        for probe in ("a", *bare.underlying.get_vocab()):
            if pieces := bare.cut([probe])[0]:
                whole = bare.underlying([bare.before + probe], is_split_into_words=True)["input_ids"]
                start = next(i for i in range(len(whole)) if whole[i : i + len(pieces)] == pieces)
                return replace(bare, prefix=tuple(whole[:start]), suffix=tuple(whole[start + len(pieces) :]))
        raise DataError(f"the tokenizer of {folder.name} must know pieces, but it knows none; save it again")

    @classmethod
    def _without_marks(cls, folder: ModelFolder) -> "WordTokenizer":
        """The first of three ways that cuts a word as the tokenizer cuts the second word of a text.

        Byte-level tokenizers count a space as part of the word behind it, and some do not heed ``add_prefix_space``.
        """
        plain = cls(folder.name, folder.tokenizer)
        wanted = plain._second_words()
        split = getattr(plain.underlying, "add_prefix_space", True) is not False  # else it refuses words
        if split and plain._cuts_like(wanted):
            return plain
        spaced = cls(folder.name, folder.tokenizer_with(add_prefix_space=True))
        return spaced if spaced._cuts_like(wanted) else replace(plain if split else spaced, before=" ")

    def _second_words(self) -> dict[str, list[int]]:
        """For some words that are not unknown, their pieces behind another word."""
        found = {}
        for word in PROBES:
            alone, twice = (
                self.underlying(text, add_special_tokens=False)["input_ids"] for text in (word, f"{word} {word}")
            )
            if alone and twice[: len(alone)] == alone and self.underlying.unk_token_id not in twice:
                found[word] = twice[len(alone) :]
        return found

    def _cuts_like(self, wanted: Mapping[str, list[int]]) -> bool:
        return self.cut(list(wanted)) == list(wanted.values())

    def cut(self, words: Sequence[str]) -> list[list[int]]:
        """The pieces of each word, without marks."""
        if not words:
            return []
        with quiet():
            found = self.underlying(
                [[self.before + word] for word in words], is_split_into_words=True, add_special_tokens=False
            )
        return [list(pieces) for pieces in found["input_ids"]]

    def read(self, sentences: Sequence[Symbols], no_piece: NoPiece = "refuse") -> FlatSequences:
        """Sentences as words whose spellings are their pieces; labels mean nothing.

        Args:
            sentences: the words of each.
            no_piece: what happens to a word that gives no piece.

        Raises:
            DataError: a word gives no piece and is refused, or the tokenizer has no unknown token.
        """
        token: int | None = self.underlying.unk_token_id if no_piece == "unknown" else None
        unknown = [] if token is None else [token]
        place = {word: i for i, word in enumerate(dict.fromkeys(word for each in sentences for word in each))}
        cut = self.cut(list(place))
        for word, pieces in zip(place, cut, strict=True):
            pieces.extend([] if pieces else unknown)
            if not pieces:
                advice = "replace it in the data" if no_piece == "unknown" else "read it as unknown: no_piece='unknown'"
                raise DataError(
                    f"every word must have a piece in the tokenizer of {self.name}, but {word!a} has none; {advice}"
                )
        rows = [[place[word] for word in sentence] for sentence in sentences]
        flat = FlatSequences.of([[0] * len(row) for row in rows], None)
        numbers = torch.tensor([kind for row in rows for kind in row], dtype=torch.long)
        return FlatSequences(flat.labels, flat.starts, flat.lengths, None, FlatSequences.of(cut), numbers)


@lru_cache(maxsize=4)
def word_tokenizer_of(folder: ModelFolder, digest: str) -> WordTokenizer:
    """`WordTokenizer.of` a folder whose files have that digest, read once a process."""
    del digest
    return WordTokenizer.of(folder)


@dataclass(frozen=True)
class Windows:
    """The windows of pieces in which a batch of sentences is read.

    A sentence that fits is one window, and one without pieces is none. A longer one is read in windows of ``most``
    pieces that overlap by half, the last of which ends where it ends, and each piece is taken from the window to whose
    middle it is nearest.

    Attributes:
        sentence: which sentence each window is of, ``[windows]``.
        start: the first piece in it, counted within the sentence, ``[windows]``.
        size: pieces in it, ``[windows]``.
        chosen: the window of every piece of the batch, ``[pieces]``.
        column: its place in that window, ``[pieces]``.
    """

    sentence: Int[Tensor, " windows"]
    start: Int[Tensor, " windows"]
    size: Int[Tensor, " windows"]
    chosen: Int[Tensor, " pieces"]
    column: Int[Tensor, " pieces"]

    @classmethod
    def of(cls, pieces: Int[Tensor, " sentences"], most: int) -> "Windows":
        """For sentences of as many pieces."""
        device, stride = pieces.device, most - most // 2
        beyond = (pieces - most).clamp(min=0)
        counts = torch.where(pieces > 0, 1 + (beyond + stride - 1) // stride, 0)
        sentence = torch.repeat_interleave(torch.arange(len(pieces), device=device), counts)
        number = torch.arange(len(sentence), device=device) - (counts.cumsum(0) - counts)[sentence]
        start = torch.minimum(number * stride, beyond[sentence])
        before = torch.minimum((number - 1) * stride, beyond[sentence])  # the window before, where there is one
        first = (pieces.cumsum(0) - pieces)[sentence]
        taken = first + torch.where(number == 0, 0, (start + before + most) // 2)
        place = torch.arange(int(pieces.sum()), device=device)
        chosen = torch.searchsorted(taken, place, right=True) - 1
        return cls(sentence, start, pieces[sentence].clamp(max=most), chosen, place - first[chosen] - start[chosen])


class PieceEncoder(nn.Module):
    """A pretrained network over the pieces of words: its states at chosen layers, pooled to words.

    Args:
        network: of transformers; an encoder-decoder gives its encoder.
        tokenizer: the marks around a sentence.
        layers: the layers whose states are wanted, 0 for the embeddings.
        pooling: how the pieces of a word become one.
        window: the most pieces read at once, marks included; None takes as many as the network can.

    Some networks mix padding into the states of a sentence; they read sentences of one length at a time.

    Raises:
        ConfigError: the network cannot read a window of that size, or the marks fill it.
        DataError: it fails on a sentence of one word, or its states are not the same each time.
    """

    def __init__(
        self, network: Any, tokenizer: WordTokenizer, *, layers: Sequence[int], pooling: Pooling, window: int | None
    ) -> None:
        super().__init__()
        self.name = tokenizer.name
        self.config = network.config  # that of the whole network, as some encoders have none of their own
        if self.config.is_encoder_decoder or type(network).__name__.endswith(ALONE):
            network = network.get_encoder()
        if getattr(network, "pooler", None) is not None:
            network.pooler = nn.Identity()  # never used, so it would be weights without a gradient
        self.pretrained = network
        self.layers, self.pooling = tuple(layers), pooling
        self.prefix, self.suffix = tokenizer.prefix, tokenizer.suffix
        self.padding: int = self.config.pad_token_id or 0
        self.most = self._most(tokenizer, window)
        self.size: int = self.config.hidden_size
        with tried(tokenizer.name, self.config):
            self.padded = self._ignores_padding(tokenizer)

    def _most(self, tokenizer: WordTokenizer, window: int | None) -> int:
        """The most pieces of a window."""
        limits = (positions(self.config), getattr(tokenizer.underlying, "model_max_length", None))
        limit = min((each for each in limits if isinstance(each, int) and 0 < each < 10**6), default=None)
        if window is not None and limit is not None and window > limit:
            raise ConfigError(
                f"window must be at most {limit}, the number of positions of {tokenizer.name}, but got {window}; "
                "longer sentences are read in windows that overlap"
            )
        most = (window or limit or UNLIMITED) - len(self.prefix) - len(self.suffix)
        if most < 2:
            raise ConfigError(
                f"window must leave room for two pieces beside the {len(self.prefix) + len(self.suffix)} marks of "
                f"{tokenizer.name}, but it is {window or limit}"
            )
        return most

    def _ignores_padding(self, tokenizer: WordTokenizer) -> bool:
        """Whether the states of a sentence of one piece are the same beside a longer one.

        Raises:
            DataError: they are not the same each time, or are none for some layer.
        """
        piece, long = int(self.padding == 0), min(self.most, 12)
        alone = torch.tensor([piece]), torch.tensor([1])
        first, again = self._read(*alone), self._read(*alone)
        if not alike(first, again):
            raise refusal(tokenizer.name, self.config, "its states are not the same each time")
        return alike(first, self._read(torch.full((1 + long,), piece), torch.tensor([1, long]))[:1])

    def checkpoint_activations(self) -> None:
        """See `structpred.models.base.Recomputable`."""
        recompute(self.pretrained)

    def depths(self) -> dict[str, int]:
        """How deep each weight of the pretrained network lies, by name: 0 in the embeddings, 1 in the first layer.

        What follows the last layer counts as part of it.
        """
        numbers = {name: _number(name) for name, _ in self.pretrained.named_parameters()}
        top = max((number for number in numbers.values() if number is not None), default=0)
        return {
            f"pretrained.{name}": number if number is not None else 0 if _is_embedding(name) else top
            for name, number in numbers.items()
        }

    def freeze_unused(self) -> None:
        """Exempt from training the weights of layers behind the last that is used.

        Raises:
            DataError: the states that are wanted carry no gradient.
        """
        depths, last = self.depths(), max(self.layers)
        behind = [parameter for each, parameter in self.named_parameters() if depths[each] > last]
        piece = torch.tensor([int(self.padding == 0)]), torch.tensor([1])
        with tried(self.name, self.config), torch.enable_grad():
            states = self._read(*piece)
            if not states.requires_grad:
                raise refusal(self.name, self.config, "its states carry no gradient, so tune must be False")
            # a norm or a convolution that earlier layers use may have the name of a last part
            used = torch.autograd.grad(states.sum(), behind, allow_unused=True) if behind else ()
        for parameter, gradient in zip(behind, used, strict=True):
            if gradient is None:
                parameter.requires_grad_(False)

    def forward(self, words: Sequences) -> Float[Tensor, "batch time layers size"]:
        """The states at every word; zero in the padding."""
        spellings, rows = words.spellings, words.rows
        assert spellings is not None
        assert rows is not None
        shape = (*rows.shape, len(self.layers), self.size)
        counts = (spellings.lengths[rows] if len(spellings) else torch.zeros_like(rows)) * words.mask()
        flat = counts.flatten()
        if not flat.numel() or not int(flat.sum()):
            none: Tensor = next(self.pretrained.parameters()).new_zeros(shape)
            return none
        ends = flat.cumsum(0)
        owner = torch.repeat_interleave(torch.arange(len(flat), device=flat.device), flat)
        within = torch.arange(len(owner), device=flat.device) - (ends - flat)[owner]
        ids = spellings.labels[rows.flatten()[owner], within]
        states = self._states(ids, counts.sum(1))
        if self.pooling == "mean":
            summed = states.new_zeros(len(flat), *states.shape[1:]).index_add(0, owner, states)
            pooled = summed / flat.clamp(min=1).view(-1, 1, 1).to(states.dtype)
        else:
            chosen = ends - (flat if self.pooling == "first" else 1)
            pooled = torch.where((flat > 0).view(-1, 1, 1), states[chosen.clamp(0, len(states) - 1)], 0.0)
        return pooled.view(shape)

    def _states(
        self, ids: Int[Tensor, " pieces"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "pieces layers size"]:
        """The states of all pieces of a batch, end to end."""
        if self.padded:
            return self._read(ids, lengths)
        sentence = torch.repeat_interleave(torch.arange(len(lengths), device=ids.device), lengths)
        states: Tensor | None = None
        for length in sorted({*lengths.tolist()} - {0}):
            found = self._read(ids[lengths[sentence] == length], lengths[lengths == length])
            states = found.new_empty(len(ids), *found.shape[1:]) if states is None else states
            states = states.index_copy(0, (lengths[sentence] == length).nonzero().squeeze(1), found)
        assert states is not None
        return states

    def _read(self, ids: Int[Tensor, " pieces"], lengths: Int[Tensor, " batch"]) -> Float[Tensor, "pieces layers size"]:
        """The states of all pieces, with the sentences side by side."""
        windows = Windows.of(lengths, self.most)
        before, behind, size = len(self.prefix), len(self.suffix), windows.size.unsqueeze(1)
        time = torch.arange(before + int(windows.size.max()) + behind, device=ids.device) - before
        first = (lengths.cumsum(0) - lengths)[windows.sentence] + windows.start
        place = (first.unsqueeze(1) + time).clamp(0, len(ids) - 1)
        given = torch.where((time >= 0) & (time < size), ids[place], self.padding)
        for number, mark in enumerate(self.prefix):
            given[:, number] = mark
        for number, mark in enumerate(self.suffix):
            given = torch.where(time == size + number, mark, given)
        found = self.pretrained(
            input_ids=given, attention_mask=(time < size + behind).long(), output_hidden_states=True
        ).hidden_states
        for layer in self.layers:
            if found[layer].shape[1] != given.shape[1]:
                raise ConfigError(
                    f"layer {layer} of a network of the type {self.config.model_type} has {found[layer].shape[1]} "
                    f"states for {given.shape[1]} pieces; name layers that have one for each"
                )
        column = windows.column + before
        return torch.stack([found[layer][windows.chosen, column] for layer in self.layers], 1)


def _number(name: str) -> int | None:
    """The number of the layer that a weight is in, from 1; None outside of layers."""
    return next((int(part) + 1 for part in name.split(".") if part.isdigit()), None)


def _is_embedding(name: str) -> bool:
    return any("embed" in part or part in ("shared", "wte", "wpe") for part in name.split("."))
