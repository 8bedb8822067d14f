"""Networks of transformers as decoders over one encoded batch, which keep keys and values between steps."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from structpred.distributions.search import State
from structpred.errors import DataError
from structpred.pretrained.library import BY_WIDTH, optional
from structpred.sequences import Sequences


@dataclass(frozen=True)
class Reading:
    """How a network of transformers reads and writes our symbols.

    Attributes:
        network: of transformers' class, with a layer of scores over its own ids.
        read: the id that it reads for each label and, last, for the start, ``[labels + 1]``.
        written: the id whose score is that of each label and, last, of the end, ``[labels + 1]``.
        kept: heads and size of the keys and of the values of each layer, one after another.
        positions: how many steps it can read; None for any number.
        name: what messages call it.
        placed: it is told the position of every symbol; others count them by themselves, padding included.
        forced: the id that it reads between the start and the first label; None for nothing.
    """

    network: Any
    read: Int[Tensor, " symbols"]
    written: Int[Tensor, " symbols"]
    kept: tuple[tuple[int, int], ...]
    positions: int | None
    name: str
    placed: bool
    forced: int | None = None

    def along(self, previous: Int[Tensor, "*rows steps"]) -> Int[Tensor, "*rows positions"]:
        """The ids that it reads for symbols of which the first is the start."""
        ids = self.read[previous]
        if self.forced is None:
            return ids
        return torch.cat([ids[..., :1], torch.full_like(ids[..., :1], self.forced), ids[..., 1:]], -1)

    def called(self, cache: Any, **arguments: Any) -> Float[Tensor, "..."]:
        """Scores of all symbols, from a call of the network, which adds to the cache."""
        arguments[cache_argument(self.network)] = cache
        scores: Tensor = self.network(return_dict=True, **arguments).logits
        return scores.index_select(-1, self.written)

    def no_scores(self, *shape: int) -> Float[Tensor, "..."]:
        """The scores of no output: networks of transformers refuse batches without rows."""
        return torch.zeros(*shape, len(self.written), dtype=self.network.dtype, device=self.written.device)

    @contextmanager
    def only(self, positions: Int[Tensor, " counted"]) -> Iterator[bool]:
        """Inside, the layer of scores reads these of all rows' steps and no padding: it costs most.

        False where that layer reads something else than states, as FSMT's, which is a table of vectors.
        """
        layer: nn.Module = self.network.get_output_embeddings()
        if not isinstance(layer, nn.Linear):
            yield False
            return
        hook = layer.register_forward_pre_hook(lambda _, given: (given[0].flatten(0, -2).index_select(0, positions),))
        try:
            yield True
        finally:
            hook.remove()


@dataclass(frozen=True)
class BoundPretrained(ABC):
    """What the two kinds of decoder share; see `structpred.distributions.search.Decoder`.

    A state is, for each layer, keys and values of all steps so far, ``[batch, candidates, heads, time, size]``.

    Attributes:
        reading: the network, and how it reads our symbols.
        wanted: the maximum length of outputs that is asked for; the network's positions may allow less.
        mask: 1 at real positions of the input, 0 at padding.
    """

    reading: Reading
    wanted: Int[Tensor, " batch"]
    mask: Int[Tensor, "batch positions"]

    @property
    def num_labels(self) -> int:
        """V."""
        return len(self.reading.read) - 1

    @property
    def limits(self) -> Int[Tensor, " batch"]:
        """The maximum length of outputs."""
        return self.wanted if self.most is None else torch.minimum(self.wanted, self.most)

    @property
    def most(self) -> Int[Tensor, " batch"] | None:
        """The length of outputs that the network's positions allow; None for any number.

        A cut output has one label more than its limit, and is read after the start.
        """
        most = self.reading.positions
        return None if most is None else (most - self._before - 2).clamp(min=0)

    def logits(self, outputs: Sequences, positions: Int[Tensor, " counted"]) -> Float[Tensor, "counted symbols"]:
        """Scores of every next symbol along given outputs, at some steps, all steps at once.

        Raises:
            DataError: an output is longer than the network can read.
        """
        if not outputs.lengths.numel():
            return self.reading.no_scores(0)
        self._refuse_beyond(outputs)
        previous = functional.pad(outputs.labels, (1, 0), value=self.num_labels)
        if self.reading.forced is not None:  # one more position in every row
            positions = positions + positions // previous.shape[-1] + 1
        with self.reading.only(positions) as chosen:
            scores = self._along(self.reading.along(previous))
        return scores if chosen else scores.flatten(0, -2).index_select(0, positions)

    def _refuse_beyond(self, outputs: Sequences) -> None:
        most, (positions, time) = self.reading.positions, (self.mask.shape[1], outputs.labels.shape[2])
        if most is None or positions + time < most:  # what follows would wait for the device
            return
        taken, longest = self._before, outputs.lengths.amax(1)
        if bool((taken + longest >= most).any()):
            row = int((taken + longest).argmax())
            prompt = int(taken[row])
            raise DataError(
                f"an output of {int(longest[row])} labels must fit into the {most} positions of {self.reading.name}"
                f"{f', of which its prompt takes {prompt}' if prompt else ''}; leave out long examples, or take a "
                "model with more positions"
            )

    @property
    @abstractmethod
    def _before(self) -> Int[Tensor, " batch"]:
        """Positions taken before each output."""

    @abstractmethod
    def _along(self, ids: Int[Tensor, "batch candidates steps"]) -> Float[Tensor, "..."]:
        """Scores along given outputs, at the steps that are asked for or at all of them; see `Reading.only`."""

    @abstractmethod
    def start(self, candidates: int) -> State:
        """The state before the first symbol."""

    @abstractmethod
    def _advanced(
        self, ids: Int[Tensor, "batch candidates"], past: Any, time: int
    ) -> Float[Tensor, "rows steps symbols"]:
        """Scores one step on, the last, with a cache of ``time`` positions before, to which the network adds."""

    def step(
        self, previous: Int[Tensor, "batch candidates"], state: State
    ) -> tuple[Float[Tensor, "batch candidates symbols"], State]:
        """Scores of the next symbol, and the longer state."""
        if not previous.numel():
            return self.reading.no_scores(*previous.shape), state
        past = cache_of([part.flatten(0, 1) for part in state])
        scores = self._advanced(self.reading.read[previous], past, state[0].shape[3])
        after = tuple(part.view(*previous.shape, *part.shape[1:]) for part in parts_of(past))
        return scores[:, -1].view(*previous.shape, -1), after

    @abstractmethod
    def select(self, examples: Int[Tensor, " kept"]) -> "BoundPretrained":
        """The same decoder for some of the examples."""


Expanded = tuple[Any, Float[Tensor, "rows positions features"]]
"""For a number of candidates: a cache of the keys and values of the input, and its vectors, for each of them."""


@dataclass(frozen=True)
class BoundSeq2Seq(BoundPretrained):
    """The decoder of an encoder-decoder.

    The input's keys and values are computed once and repeated for the candidates of a search; with gradient, where no
    search goes, at every step.

    Attributes:
        memory: what the encoder returns.
        expanded: what a search has computed of the input, by the number of candidates.
    """

    memory: Float[Tensor, "batch positions features"]
    expanded: dict[int, Expanded] = field(default_factory=dict)

    @property
    def _before(self) -> Int[Tensor, " batch"]:
        return torch.full_like(self.wanted, int(self.reading.forced is not None))

    def _along(self, ids: Int[Tensor, "batch candidates steps"]) -> Float[Tensor, "..."]:
        return self._called(ids.flatten(0, 1), repeated(self.memory, ids.shape[1]), None)

    def start(self, candidates: int) -> State:
        """No step has been seen."""
        batch = len(self.limits)
        return tuple(self.memory.new_empty(batch, candidates, heads, 0, size) for heads, size in self.reading.kept)

    def _advanced(
        self, ids: Int[Tensor, "batch candidates"], past: Any, time: int
    ) -> Float[Tensor, "rows steps symbols"]:
        of_input, memory = self._expanded(ids.shape[1])
        both = optional("transformers").EncoderDecoderCache(past, of_input)
        new = ids.flatten().unsqueeze(1)
        if time == 0 and self.reading.forced is not None:
            new = functional.pad(new, (0, 1), value=self.reading.forced)
        return self._called(new, memory, both)

    def _expanded(self, candidates: int) -> Expanded:
        """An empty cache is filled by the network."""
        if torch.is_grad_enabled():
            return cache_of([]), repeated(self.memory, candidates)
        if candidates not in self.expanded:
            for count, (cache, memory) in self.expanded.items():
                again = torch.arange(len(self.limits), device=memory.device).repeat_interleave(candidates) * count
                self.expanded[candidates] = picked(cache, again), memory[again]
                break
            else:
                self.expanded[candidates] = cache_of([]), repeated(self.memory, candidates)
        return self.expanded[candidates]

    def _called(
        self, ids: Int[Tensor, "rows steps"], memory: Float[Tensor, "rows positions features"], cache: Any
    ) -> Float[Tensor, "..."]:
        outputs = optional("transformers").modeling_outputs.BaseModelOutput(last_hidden_state=memory)
        return self.reading.called(
            encoder_outputs=outputs,
            attention_mask=repeated(self.mask, len(ids) // max(len(self.mask), 1)),
            decoder_input_ids=ids,
            cache=cache,
            use_cache=cache is not None,
        )

    def select(self, examples: Int[Tensor, " kept"]) -> "BoundSeq2Seq":
        """The same decoder for some of the examples; what a search has computed of these is kept."""
        expanded = {}
        for count, (cache, memory) in list(self.expanded.items())[-1:]:
            rows = (examples.unsqueeze(1) * count + torch.arange(count, device=examples.device)).flatten()
            expanded[count] = picked(cache, rows), memory[rows]
        return replace(
            self,
            wanted=self.wanted[examples],
            mask=self.mask[examples],
            memory=self.memory[examples],
            expanded=expanded,
        )


@dataclass(frozen=True)
class BoundCausal(BoundPretrained):
    """A network without encoder, which reads the input as a prompt, once, and goes on from there.

    Attributes:
        prompt: keys and values of the prompt, padded on the left, for each layer ``[batch, heads, positions, size]``.
    """

    prompt: tuple[Float[Tensor, "batch heads positions size"], ...]

    @property
    def _before(self) -> Int[Tensor, " batch"]:
        if self.reading.placed and self.reading.network.config.model_type not in BY_WIDTH:
            return self.mask.sum(1)
        return torch.full_like(self.wanted, self.mask.shape[1])

    def _along(self, ids: Int[Tensor, "batch candidates steps"]) -> Float[Tensor, "..."]:
        return self._called(ids, cache_of([repeated(part, ids.shape[1]) for part in self.prompt]), 0)

    def start(self, candidates: int) -> State:
        """The prompt has been read."""
        return tuple(part.unsqueeze(1).expand(-1, candidates, -1, -1, -1) for part in self.prompt)

    def _advanced(self, ids: Int[Tensor, "batch candidates"], past: Any, time: int) -> Float[Tensor, "rows 1 symbols"]:
        return self._called(ids.unsqueeze(2), past, time - self.mask.shape[1])

    def _called(self, ids: Int[Tensor, "batch candidates steps"], past: Any, time: int) -> Float[Tensor, "..."]:
        """Scores after ``time`` earlier steps of the outputs."""
        candidates, steps = ids.shape[1:]
        mask = functional.pad(self.mask, (0, time + steps), value=1)
        arguments: dict[str, Any] = {}
        if self.reading.placed:
            places = self.mask.sum(1, keepdim=True) + time + torch.arange(steps, device=ids.device)
            if self.reading.positions is not None:  # outputs that have ended are read on
                places = places.clamp(max=self.reading.positions - 1)
            arguments["position_ids"] = repeated(places, candidates)
        return self.reading.called(
            input_ids=ids.flatten(0, 1),
            attention_mask=repeated(mask, candidates),
            cache=past,
            use_cache=True,
            **arguments,
        )

    def select(self, examples: Int[Tensor, " kept"]) -> "BoundCausal":
        """The same decoder for some of the examples."""
        return replace(
            self,
            wanted=self.wanted[examples],
            mask=self.mask[examples],
            prompt=tuple(part[examples] for part in self.prompt),
        )


def cache_argument(network: Any) -> str:
    """What the network calls its cache: older versions of transformers have another name."""
    return "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"


def takes_positions(network: Any) -> bool:
    """Whether a network can be told the position of every symbol."""
    return "position_ids" in inspect.signature(network.base_model.forward).parameters


def cache_of(parts: Sequence[Float[Tensor, "rows heads time size"]]) -> Any:
    """A cache of transformers with keys and values of each layer, one after another."""
    cache = optional("transformers").DynamicCache()
    for layer, (keys, values) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        cache.update(keys, values, layer)
    return cache


def parts_of(cache: Any) -> tuple[Float[Tensor, "rows heads time size"], ...]:
    """The inverse of `cache_of`."""
    return tuple(part for layer in cache.layers for part in (layer.keys, layer.values))


def picked(cache: Any, rows: Int[Tensor, " kept"]) -> Any:
    """A cache of some rows, in this order."""
    return cache_of([part[rows] for part in parts_of(cache)])


def repeated(rows: Tensor, times: int) -> Tensor:
    """Every row as often as there are candidates, one after another."""
    return rows if times == 1 else rows.repeat_interleave(times, 0)
