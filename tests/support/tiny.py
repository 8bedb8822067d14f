"""Models, tasks and distributions small enough to list every output."""

import itertools
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from structpred.distributions.autoregressive import Autoregressive
from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.models import Model, Seq2Seq, Transformer
from structpred.models.seq2seq import Seq2SeqModule
from structpred.registry import tasks
from structpred.sequences import Sequences, spelt
from structpred.task import Example, Sizes, Splits, Task
from structpred.testing.spaces import as_candidates, double_precision, strings, tiny_models
from structpred.vocabulary import Symbols

__all__ = [
    "DECODERS",
    "QUICK",
    "Copying",
    "as_candidates",
    "double_precision",
    "hash_of",
    "strings",
    "tiny_decoder",
    "tiny_p",
    "tiny_seq2seq",
]


DECODERS: dict[str, Model] = {
    "seq2seq": Seq2Seq(embedding=3, hidden=4, dropout=0.0, length_ratio=1e-9),
    "transformer": Transformer(
        hidden=4, heads=2, feedforward=6, encoder_layers=1, decoder_layers=1, dropout=0.0, length_ratio=1e-9
    ),
}
"""Our models that decide how long outputs are."""

QUICK = {name: model for name, model in tiny_models().items() if name != "transformer"}
"""The kit's models but one, which offers the verbs of ``seq2seq`` and takes longest."""


def tiny_decoder(
    name: str, labels: int = 2, *, longest: int = 4, seed: int = 4, sharpness: float = 3.0, **fields: Any
) -> nn.Module:
    """A network in float64 whose outputs are searched up to ``longest`` labels.

    Its weights are scaled up, so that its probabilities are far from uniform; a Transformer's by the root, because a
    normalisation and the layer after it multiply.
    """
    torch.manual_seed(seed)
    with double_precision():
        sizes = Sizes(num_inputs=3, num_labels=labels, label_counts=(1,) * labels, references=1)
        module = replace(DECODERS[name], **{"length_extra": longest} | fields).build(sizes)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(sharpness**0.5 if name == "transformer" else sharpness)
    return module


def tiny_seq2seq(labels: int = 2, **fields: Any) -> Seq2SeqModule:
    """`tiny_decoder` of `Seq2Seq`."""
    module = tiny_decoder("seq2seq", labels, **fields)
    assert isinstance(module, Seq2SeqModule)
    return module


def tiny_p(labels: int = 2, name: str = "seq2seq", **fields: Any) -> Autoregressive:
    """p(·|x) for two inputs of different length."""
    p: Autoregressive = tiny_decoder(name, labels, **fields).eval()(Sequences.of([[0, 1, 2], [2]]))
    return p


@tasks.register("copying")
@dataclass(frozen=True, kw_only=True)
class Copying(Task):
    """Copy a word of a's and b's; every fourth word may also be reversed."""

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate())

    train: int = 40
    longest: int = 4

    def load(self) -> Splits:
        words = ["".join(word) for n in range(1, self.longest + 1) for word in itertools.product("ab", repeat=n)]
        examples = [Example(tuple(word), _right(i, word), f"word {i}") for i, word in enumerate(words)]
        shuffled = sorted(examples, key=lambda example: hash_of("".join(spelt(example.source))))
        repeated = tuple(itertools.islice(itertools.cycle(shuffled), self.train))
        return Splits(repeated, tuple(shuffled[:7]), tuple(shuffled[7:14]), f"copying {self.train} {self.longest}")

    def parse(self, text: str) -> Symbols:
        return tuple(text)

    def render(self, output: Symbols) -> str:
        return "".join(output)


def _right(i: int, word: str) -> tuple[Symbols, ...]:
    return (tuple(word), tuple(reversed(word))) if i % 4 == 3 else (tuple(word),)


def hash_of(word: str) -> int:
    """A fixed shuffle."""
    return sum((i + 1) * 7919 * ord(letter) for i, letter in enumerate(word)) % 104729
