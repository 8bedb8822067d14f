"""Any encoder-decoder or decoder-only network of transformers as a model of outputs."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structpred.distributions.autoregressive import Autoregressive
from structpred.distributions.protocols import Distribution
from structpred.errors import ConfigError, DataError
from structpred.models.base import Featurizer, Model, SymbolEmbedding
from structpred.pretrained.decoders import (
    BoundCausal,
    BoundSeq2Seq,
    Reading,
    cache_argument,
    cache_of,
    parts_of,
    takes_positions,
)
from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.labels import Pieces, SourcePieces, forced_start, positions_of, refuse_beyond
from structpred.pretrained.library import optional, recompute
from structpred.pretrained.probe import LONGER, ROOM, SHORTER, fault, refusal, tried
from structpred.pretrained.special import END, PADDING, PAIR, RESERVED, UNKNOWN, fresh_ids, new_weights, own_ids
from structpred.registry import models
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.values import Count, LengthRatio
from structpred.vocabulary import Vocabulary


@models.register("pretrained-seq2seq")
@dataclass(frozen=True, kw_only=True)
class PretrainedSeq2Seq(Model):
    """A pretrained network of transformers, whose weights are trained further; needs the extra ``pretrained``.

    An encoder-decoder (``AutoModelForSeq2SeqLM`` such as T5, Bart and Marian, or ``EncoderDecoderModel``) reads the
    source with its encoder. A decoder-only network (``AutoModelForCausalLM`` such as GPT-2) reads it as a prompt:
    prefix, source, suffix, and then goes on with the output; without a suffix the token that begins texts, or else the
    one that ends them, stands between source and output.

    **Symbols.** With ``symbols="pieces"`` the symbols of the task are pieces of the network's own tokenizer; the task
    ``pretrained-pieces`` makes them of any task's text. The labels are then all pieces that can be output, whether they
    occur in training or not: the tokenizer's vocabulary without special tokens (start, end, padding, unknown, mask,
    sentinels) and without ids that the model says it never generates. The end is the network's own. Probabilities are
    those of transformers, normalised over labels and end. With ``symbols="task"`` the task keeps its own symbols; they
    get new vectors, drawn from a normal distribution with the deviation of the pretrained ones, as embeddings and in
    the layer of scores, and everything between them stays pretrained. The tokenizer is then not read.

    **Dropout.** The encoder has the dropout of its config, drawn once for each batch. The decoder has none, and
    neither has a decoder-only network: an output must be scored by the same network that it was drawn from, and
    networks of transformers draw their masks anew at every call.

    **Identity.** A run's identity has the digest of the files that were read instead of path and revision, so a copy of
    the folder elsewhere leads to the same run. The run keeps the weights that were trained, which are all unless the
    optimiser freezes a part for good; to load it, the folder is needed as well, for its configs, its tokenizer and
    frozen weights.

    Attributes:
        path_or_name: a folder as ``save_pretrained`` writes it, a folder of an installed package
            (``package:NAME/FOLDER``), or a name on the hub.
        revision: branch, tag or commit on the hub.
        pickles: read ``pytorch_model.bin`` where there are no safetensors.
        symbols: what the symbols of sources and outputs are, as said above.
        prefix, suffix: text before and after every source, such as ``"translate English to German: "``; only with
            pieces.
        length_ratio, length_extra: outputs are searched up to ratio · input length + extra labels, as far as the
            network's positions reach; the input's length includes the special tokens, prefix and suffix.
    """

    distribution: ClassVar[type[Distribution]] = Autoregressive
    outside: ClassVar[tuple[str, ...]] = ("path_or_name", "revision", "pickles")

    path_or_name: str
    revision: str | None = None
    pickles: bool = False
    symbols: Literal["pieces", "task"] = "pieces"
    prefix: str = ""
    suffix: str = ""
    length_ratio: LengthRatio = 2.0
    length_extra: Count = 10

    def check(self) -> None:
        """Refuse text around symbols that are not pieces."""
        if self.symbols == "task" and (self.prefix or self.suffix):
            raise ConfigError(
                "PretrainedSeq2Seq.prefix and suffix must be empty with symbols='task', where nothing cuts them into "
                f"symbols, but got {self.prefix!r} and {self.suffix!r}"
            )

    def fingerprint(self) -> tuple[str, ...]:
        """The digest of the folder, and how its network is read where that once was otherwise.

        Scores of new symbols begin without the biases of the old ones; what the config forces at the start of outputs
        is read.
        """
        folder = self._folder()
        if self.symbols == "task":
            return folder.digest, "no biases"
        return (folder.digest, *(("forced start",) if forced_start(folder) is not None else ()))

    def encoder(self) -> Featurizer:
        """How inputs are read."""
        if self.symbols == "task":
            return SymbolEmbedding()
        return SourcePieces(
            path_or_name=self.path_or_name,
            revision=self.revision,
            pickles=self.pickles,
            prefix=self.prefix,
            suffix=self.suffix,
        )

    def labels(self) -> Vocabulary | None:
        """All pieces that can be output; None where the task decides."""
        if self.symbols == "task":
            return None
        return Pieces.of(self.path_or_name, self.revision, pickles=self.pickles).labels

    def build(self, sizes: Sizes) -> "PretrainedModule":
        """The network with its pretrained weights.

        Raises:
            AbsentError: there is no such folder, and it cannot be downloaded.
            DataError: the folder does not hold such a network, or its tokenizer does not fit.
        """
        return PretrainedModule(self, sizes, self._folder())

    def _folder(self) -> ModelFolder:
        return ModelFolder.of(self.path_or_name, self.revision, pickles=self.pickles)


class PretrainedModule(nn.Module):
    """The network of `PretrainedSeq2Seq`; called on inputs, it returns p(·|x)."""

    network: Any
    read: Tensor
    written: Tensor

    def __init__(self, model: PretrainedSeq2Seq, sizes: Sizes, folder: ModelFolder) -> None:
        super().__init__()
        self.model, self.sizes, self.name = model, sizes, model.path_or_name
        kind = kind_of(folder)
        self.seq2seq = kind != CAUSAL
        network: Any = folder.network(kind)
        self.positions, self.source_positions = positions_of(network.config)
        if model.symbols == "task":
            special = fresh_ids(network, sizes)
        else:
            pieces = Pieces.of(model.path_or_name, model.revision, pickles=model.pickles)
            special = own_ids(folder, network, pieces, model.suffix, seq2seq=self.seq2seq)
        self.padding, self.passed_on, self.forced = special.padding, special.passed_on, special.forced
        self.register_buffer("read", torch.tensor([*special.labels, special.start]), persistent=False)
        self.register_buffer("written", torch.tensor([*special.labels, special.end]), persistent=False)
        if len(self.read) != sizes.num_labels + 1:
            raise DataError(
                f"{model.path_or_name} must have the {sizes.num_labels} labels of the data, but its tokenizer has "
                f"{len(self.read) - 1} pieces that can be output; take the folder that the run was trained with"
            )
        self.network = network.to(torch.get_default_dtype())
        folder.mark(self.network, new_weights(self.network) if model.symbols == "task" else ())
        self.placed = takes_positions(self.network)
        with tried(self.name, network.config):
            self.kept = _kept(self.network, special.start, self.name)
            self._try()
        self.train()

    def train(self, mode: bool = True) -> "PretrainedModule":
        """Dropout in the encoder alone; see `PretrainedSeq2Seq`."""
        super().train(mode)
        self.network.eval()
        if self.seq2seq:
            self.network.get_encoder().train(mode)
        return self

    def checkpoint_activations(self) -> None:
        """Compute the encoder's activations again; the decoder's are kept, as it is in evaluation mode.

        Raises:
            ConfigError: there is no encoder.
        """
        if not self.seq2seq:
            raise ConfigError(
                f"Trainer.recompute needs an encoder, whose layers are computed again, but {self.name} is a decoder, "
                "so use trainer.accumulate to save memory instead"
            )
        recompute(self.network.get_encoder())

    def forward(self, inputs: Sequences) -> Autoregressive:
        """p(·|x) for inputs ``[batch, time]``.

        Raises:
            DataError: an input is longer than the network can read.
        """
        ids, lengths = self._ids(inputs)
        refuse_beyond(ids.shape[1], self.source_positions, self.name)
        reading = self._reading
        limits = (inputs.lengths * self.model.length_ratio).long() + self.model.length_extra
        time = torch.arange(ids.shape[1], device=ids.device)
        if self.seq2seq:
            mask = (time < lengths.unsqueeze(1)).long()
            return Autoregressive(BoundSeq2Seq(reading, limits, mask, self._memory(ids, mask)))
        mask = (time >= ids.shape[1] - lengths.unsqueeze(1)).long()  # padded on the left
        ids = ids.gather(1, (time - (ids.shape[1] - lengths.unsqueeze(1))) % max(ids.shape[1], 1))
        return Autoregressive(BoundCausal(reading, limits, mask, self._prompt(ids, mask)))

    @property
    def _reading(self) -> Reading:
        return Reading(
            self.network,
            self.read,
            self.written,
            self.kept,
            self.positions,
            self.name,
            placed=self.placed,
            forced=self.forced,
        )

    def _try(self) -> None:
        """Refuse a network that reads otherwise than its decoder here assumes; one without room is not tried.

        Raises:
            DataError: it does.
        """
        symbols = self.read if self.model.symbols == "pieces" else torch.arange(self.sizes.num_inputs)
        room = [each for each in (self.positions, self.source_positions) if each is not None]
        if not len(symbols) or min(room, default=ROOM) < ROOM:
            return
        given = symbols[torch.arange(LONGER) % len(symbols)].repeat(2, 1)
        if self.passed_on:
            given[0, -1] = given[1, SHORTER - 1] = self.read[-1]
        inputs = Sequences(given, torch.tensor([LONGER, SHORTER]))
        found = fault(lambda some: self(some).decoder, self._plainly, inputs, self.sizes.num_labels)
        if found is not None:
            raise refusal(self.name, self.network.config, found)

    def _plainly(self, inputs: Sequences, previous: Int[Tensor, " steps"]) -> Float[Tensor, "steps symbols"]:
        """Scores after each step of one output after one input, by one call of the network as it is."""
        ids, output = self._ids(inputs)[0], self._reading.along(previous.unsqueeze(0))
        if self.seq2seq:
            scores: Tensor = self.network(input_ids=ids, decoder_input_ids=output).logits[0, -len(previous) :]
        else:
            scores = self.network(input_ids=torch.cat([ids, output], 1)).logits[0, ids.shape[1] :]
        return scores[:, self.written]

    def _ids(self, inputs: Sequences) -> tuple[Int[Tensor, "batch positions"], Int[Tensor, " batch"]]:
        """The ids of the network, padded on the right, and how many are real."""
        time, lengths = torch.arange(inputs.labels.shape[1], device=inputs.device), inputs.lengths
        inside = time < lengths.unsqueeze(1)
        if self.model.symbols == "pieces":
            kept = inputs.labels.shape[1] - self.passed_on
            return torch.where(inside, inputs.labels, self.padding)[:, :kept], lengths - self.passed_on
        ids = torch.where(inputs.labels == self.sizes.num_inputs, UNKNOWN, inputs.labels + RESERVED)
        ids = torch.where(inside, ids, PADDING)
        if not self.seq2seq:
            return ids, lengths
        ids = nn.functional.pad(ids, (0, 1), value=PADDING)
        return ids.scatter(1, lengths.unsqueeze(1), END), lengths + 1

    def _memory(
        self, ids: Int[Tensor, "batch positions"], mask: Int[Tensor, "batch positions"]
    ) -> Float[Tensor, "batch positions features"]:
        """What the encoder returns."""
        if not len(ids):
            return torch.zeros(*ids.shape, 1, dtype=self.network.dtype, device=ids.device)
        memory: Tensor = self.network.get_encoder()(
            input_ids=ids, attention_mask=mask, return_dict=True
        ).last_hidden_state
        return memory

    def _prompt(
        self, ids: Int[Tensor, "batch positions"], mask: Int[Tensor, "batch positions"]
    ) -> tuple[Float[Tensor, "batch heads positions size"], ...]:
        """Keys and values of every prompt."""
        if not ids.numel():
            empty = torch.zeros(len(ids), 1, ids.shape[1], 1, dtype=self.network.dtype, device=ids.device)
            return tuple(empty.expand(-1, heads, -1, size) for heads, size in self.kept)
        cache = cache_of([])
        places = (mask.cumsum(1) - 1).clamp(min=0)
        arguments = {cache_argument(self.network): cache, "input_ids": ids, "attention_mask": mask}
        if self.placed:
            arguments["position_ids"] = places
        self.network.base_model(**arguments, use_cache=True)
        return parts_of(cache)


SEQ2SEQ, CAUSAL = "AutoModelForSeq2SeqLM", "AutoModelForCausalLM"
"""Classes of transformers that make the networks, beside `PAIR`."""


def kind_of(folder: ModelFolder) -> str:
    """The class that makes the network of a folder.

    Raises:
        DataError: it holds no network that gives probabilities of next symbols.
    """
    theirs, config = optional("transformers"), folder.config
    if config.model_type == "encoder-decoder":
        return PAIR
    if config.is_encoder_decoder and type(config) in theirs.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return SEQ2SEQ
    masked = type(config) in theirs.MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if config.is_encoder_decoder or masked or type(config) not in theirs.MODEL_FOR_CAUSAL_LM_MAPPING:
        raise DataError(
            f"{folder.name} must hold an encoder-decoder or a decoder-only network, but it holds a "
            f"{config.model_type}; an encoder alone is read by PretrainedEncoder, as the inputs of another model"
        )
    return CAUSAL


@torch.no_grad()
def _kept(network: Any, start: int, name: str) -> tuple[tuple[int, int], ...]:
    """Heads and size of the keys and values that every layer keeps, from reading one symbol."""
    own, theirs = cache_of([]), optional("transformers")
    ids = torch.tensor([[start]], device=network.device)
    arguments = {cache_argument(network): own, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if network.config.is_encoder_decoder:
        of_input = theirs.EncoderDecoderCache(own, cache_of([]))
        arguments |= {cache_argument(network): of_input, "decoder_input_ids": ids}
    network.eval()(**arguments, use_cache=True)
    parts = [part for layer in own.layers for part in (getattr(layer, "keys", None), getattr(layer, "values", None))]
    if not parts or any(part is None or part.dim() != 4 for part in parts):
        raise DataError(
            f"{name} must hold a network whose layers keep keys and values, but it holds a {network.config.model_type}"
        )
    return tuple((part.shape[1], part.shape[3]) for part in parts if part is not None)
