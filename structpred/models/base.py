"""Models, and how they read their inputs: by default one learned vector for every symbol."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structpred.blame import blaming
from structpred.config import Config
from structpred.distributions.protocols import Distribution
from structpred.foreign import is_foreign, modules_of
from structpred.protocols import Checkable
from structpred.registry import inputs, models
from structpred.returned import described, refuse
from structpred.sequences import FlatSequences, Sequences
from structpred.task import Sizes
from structpred.values import Count
from structpred.vocabulary import Symbols, Vocabularies, Vocabulary


@dataclass(frozen=True, kw_only=True)
class Featurizer(Config):
    """What a model sees at every input position. A user's own is a registered subclass and fits any of our models.

    Attributes:
        symbolic: True where inputs are looked up in the vocabulary of the training data; False where a symbol describes
            itself, as a picture does. Then inputs have no vocabulary, and none is unknown.
        recorded: True where sources are `structpred.sequences.Recording`, False where they are symbols.
        open_vocabulary: True where symbols unknown from training are expected, as for words.
        strict: True where `read` refuses some sources. Those of dev and test are then read before training begins, so
            that it does not end with an error after the first epoch.
        min_count: input symbols seen fewer times in training are read as unknown.
    """

    family = inputs
    symbolic: ClassVar[bool] = True
    recorded: ClassVar[bool] = False
    open_vocabulary: ClassVar[bool] = False
    strict: ClassVar[bool] = False

    min_count: Count = 1

    @abstractmethod
    def read(self, sources: Sequence[Any], vocabularies: Vocabularies) -> FlatSequences:
        """Sources as tensors: all of them symbols, or all of them recordings where the encoder is ``recorded``."""

    @abstractmethod
    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """A module that takes a batch of inputs and returns ``[batch, time, size]``; its attribute ``size`` is that.

        Args:
            sizes: the sizes of the training data.
            features: the size the model would like; an encoder that has its own size may ignore it.
        """


def read_by(encoder: Featurizer, sources: Sequence[Any], vocabularies: Vocabularies) -> FlatSequences:
    """What an input encoder reads, checked.

    Raises:
        ConfigError: a class of your own returns something else than one sequence for each source.
        CodeError: it raised an exception.
    """
    what = f"{type(encoder).__name__}.read"
    with blaming(modules_of([type(encoder)])):
        found: object = encoder.read(sources, vocabularies)
    if not isinstance(found, FlatSequences):
        refuse(what, "FlatSequences", described(found), "return FlatSequences.of(ids of each source)")
    if len(found) != len(sources):
        refuse(what, f"a sequence for each of {len(sources)} sources", f"{len(found)}", "leave none out")
    return found


def built(encoder: Featurizer, sizes: Sizes, features: int) -> nn.Module:
    """The network of an input encoder, ``[batch, time, size]``; see `vectors_of`."""
    return vectors_of(encoder, lambda: encoder.build(sizes, features), "[batch, time, size]")


def vectors_of(part: Config, build: Callable[[], object], axes: str) -> nn.Module:
    """A network that returns vectors of its own ``size``; a user's is checked here, and whenever it is called.

    Args:
        part: the component whose network it is.
        build: makes the network.
        axes: those of its output; ``time`` among them where there is a vector for each position.

    Raises:
        ConfigError: it is no module with a ``size``.
        CodeError: it raised an exception.
    """
    what = f"{type(part).__name__}.build"
    with blaming(modules_of([type(part)])):
        network = build()
    if not isinstance(network, nn.Module):
        refuse(what, "a torch.nn.Module", described(network), f"return a network from inputs to {axes}")
    size = getattr(network, "size", None)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        advice = "set it to the size of the vectors"
        refuse(what, "a module whose attribute size is a whole number", f"one with size {size!r:.40}", advice)
    if is_foreign(type(part)):
        network.register_forward_hook(_Vectors(f"the module of {what}", axes))
    return network


@dataclass(frozen=True)
class _Vectors:
    """Refuses what is not one vector of the module's size for every input; a hook that can be pickled."""

    what: str
    axes: str

    def __call__(self, network: nn.Module, arguments: tuple[Any, ...], output: object) -> None:
        inputs, own = arguments[0], next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
        wanted = (*(inputs.labels if "time" in self.axes else inputs.lengths).shape, network.size)
        if not isinstance(output, Tensor):
            refuse(self.what, f"a tensor {self.axes}", described(output), "return vectors")
        if tuple(output.shape) != wanted:
            advice = "nothing is broadcast, so return a vector of that size for each"
            refuse(self.what, f"a tensor {self.axes} of shape {wanted}", f"{tuple(output.shape)}", advice)
        if not output.is_floating_point() or (output.dtype == torch.float64 != own):
            refuse(self.what, "floating-point numbers like its weights'", f"numbers of {output.dtype}", "convert them")


@inputs.register("symbols")
@dataclass(frozen=True, kw_only=True)
class SymbolEmbedding(Featurizer):
    """One learned vector for each input symbol, as large as the model asks for; zero for an unknown one."""

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatSequences:
        """Input ids; a symbol unknown from training becomes id ``len(vocabularies.inputs)``."""
        known = vocabularies.inputs
        return FlatSequences.of([known.encode(source, unknown=len(known)) for source in sources])

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """The table."""
        return SymbolTable(sizes.num_inputs, features)


class SymbolTable(nn.Module):
    """The embeddings of `SymbolEmbedding`."""

    def __init__(self, symbols: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.table = nn.Embedding(symbols + 1, size)
        nn.init.normal_(self.table.weight, std=size**-0.5)
        with torch.no_grad():
            self.table.weight[symbols] = 0.0  # the unknown symbol

    def forward(self, symbols: Sequences) -> Float[Tensor, "batch time size"]:
        """Look them up."""
        vectors: Tensor = self.table(symbols.labels)
        return vectors


@runtime_checkable
class Recomputable(Checkable, Protocol):
    """A module with layers whose activations may be computed again in the backward pass instead of being kept.

    Any module of a network may be one; `Trainer.recompute` turns all of them on.
    """

    def checkpoint_activations(self) -> None:
        """From now on keep what enters each layer only, and compute the rest again; gradients stay the same."""


@dataclass(frozen=True, kw_only=True)
class Model(Config):
    """The specification of a network; the network itself is made by `build`.

    Any ``nn.Module`` becomes a model through a subclass whose ``build`` returns it. Its ``forward`` takes the inputs
    as `encoder` reads them, by default a `Sequences` ``[batch, time]`` in which id ``sizes.num_inputs`` stands for a
    symbol unknown from training, and returns a distribution.

    Attributes:
        distribution: the class of that distribution; objectives are checked against its verbs.
        attends: True where its decoder says what it attends to (`structpred.distributions.search.Attends`).
        embedder: the dotted name of the network's module that reads inputs, called once for p, whose output is one
            vector for every input position, ``[batch, time, size]``; empty where there is none.
    """

    family = models
    distribution: ClassVar[type[Distribution]]
    attends: ClassVar[bool] = False
    embedder: ClassVar[str] = ""

    def encoder(self) -> Featurizer:
        """How inputs are read: as the field ``inputs`` says where the model has one, else as symbols."""
        own = getattr(self, "inputs", None)
        return own if isinstance(own, Featurizer) else SymbolEmbedding()

    def labels(self) -> Vocabulary | None:
        """The labels of outputs, where the model decides and not the data; None for those of the training references.

        They are then all that references may consist of, and some may never occur in training.
        """
        return None

    @abstractmethod
    def build(self, sizes: Sizes) -> nn.Module:
        """A freshly initialised network, from torch's global random state."""
