"""The conformance kit refuses models whose verbs contradict their probabilities, or mix up the inputs of a batch."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions import Autoregressive, Factorised
from structpred.distributions.protocols import Decoding, Ranked
from structpred.models import Model
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.testing import check_model
from structpred.testing.spaces import tiny_models


@dataclass(frozen=True)
class Faulty(Factorised):
    """Independent labels, one verb of which has a fault."""

    fault: str = "none"

    @property
    def opposite(self) -> Factorised:
        """The least probable label wherever this has the most probable."""
        return Factorised(-self.scores, self.lengths)

    def sample(self, k: int, generator: torch.Generator | None = None) -> Sequences:
        scores = self.scores[:1].expand_as(self.scores) if self.fault == "sample" else self.scores
        lengths = self.lengths.clamp(min=2) if self.fault == "longer" else self.lengths
        return Factorised(scores, lengths).sample(k, generator)

    def argmax(self) -> Sequences:
        return self.opposite.argmax() if self.fault == "argmax" else super().argmax()

    def decode(self, decoding: Decoding) -> Sequences:
        wrong = self.fault == "decode" or (self.fault == "rule" and decoding.rule == "hamming")
        return self.opposite.argmax() if wrong else super().argmax()

    def n_best(self, k: int) -> Ranked:
        ranked = super().n_best(k)
        if self.fault == "n-best, order":
            return Ranked(_reordered(ranked.outputs, [1, 0, 2, 3]), ranked.log_probs[:, [1, 0, 2, 3]])
        if self.fault == "n-best, twice":
            return Ranked(_reordered(ranked.outputs, [0, 0, 2, 3]), ranked.log_probs[:, [0, 0, 2, 3]])
        log_probs = {"n-best, numbers": ranked.log_probs / 2, "n-best, beyond": ranked.log_probs.clamp(min=-99)}
        return Ranked(ranked.outputs, log_probs.get(self.fault, ranked.log_probs))

    def entropy(self) -> Tensor:
        return super().entropy() * (2 if self.fault == "entropy" else 1)

    def marginals(self) -> Tensor:
        return super().marginals().flip(-1) if self.fault == "marginals" else super().marginals()

    def token_log_probs(self, outputs: Sequences) -> Tensor:
        found = super().token_log_probs(outputs)
        if self.fault == "tokens, spread":  # their sum is right
            return torch.where(self.mask().unsqueeze(1), found.sum(-1, keepdim=True) / self.lengths.view(-1, 1, 1), 0)
        return found[..., :1] if self.fault == "tokens, too few" else found


def _reordered(outputs: Sequences, order: list[int]) -> Sequences:
    return Sequences(outputs.labels[:, order], outputs.lengths[:, order])


class FaultyNetwork(nn.Module):
    """A table of scores for each input symbol."""

    def __init__(self, sizes: Sizes, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.scores = nn.Embedding(sizes.num_inputs + 1, sizes.num_labels)

    def forward(self, inputs: Sequences) -> Faulty:
        return Faulty(self.scores(inputs.labels), inputs.lengths, self.fault)


@dataclass(frozen=True, kw_only=True)
class FaultyModel(Model):
    """A tagger, one verb of which has a fault."""

    distribution: ClassVar[type] = Faulty

    fault: str

    def build(self, sizes: Sizes) -> nn.Module:
        return FaultyNetwork(sizes, self.fault)


def test_a_model_whose_verbs_agree_passes() -> None:
    check_model(FaultyModel(fault="none"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("sample", "draws do not follow the probabilities: χ²"),
        ("longer", r"input \[2\]: sample draws .*, which is no output for this input"),
        ("argmax", r"argmax returns \[\d, \d\] of probability 0\.\d+, but the most probable output is \[\d, \d\]"),
        ("decode", r"decode with a beam of 4, as wide as the outputs, returns .* but the most probable output is"),
        ("rule", "decode with rule='hamming' must return the most probable label at each position"),
        ("n-best, order", r"n_best\(4\) must return the most probable output first"),
        ("n-best, twice", r"n_best\(4\) must return each of the 4 possible outputs once"),
        ("n-best, numbers", r"n_best\(4\) returns log-probabilities that are not those of its outputs"),
        ("n-best, beyond", r"input \[2\]: n_best\(4\) must give −inf to what it returns beyond the 2 possible outputs"),
        ("entropy", "entropy returns .*, but that of all outputs is"),
        ("marginals", r"marginals are not p\(y_t = v\) summed over all outputs"),
        ("tokens, spread", r"token_log_probs are not log p\(y_t \| y_<t\)"),
        ("tokens, too few", r"token_log_probs must be \[batch, candidates, steps\] = \[3, 4, 2\] or have more steps"),
    ],
)
def test_a_verb_that_contradicts_the_probabilities_is_named(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(FaultyModel(fault=fault))


class Coupled(Autoregressive):
    """Whose narrow beam sees the other inputs, and whose end is forgotten by a verb, if its name says so."""

    fault = "none"

    def decode(self, decoding: Decoding) -> Sequences:
        found = super().decode(decoding)
        if self.fault == "narrow" and decoding.beam == 2 and len(found) > 1:
            return Sequences(torch.zeros(len(found), 2, dtype=torch.long), torch.full_like(found.lengths, 2))
        return found

    def token_log_probs(self, outputs: Sequences) -> Tensor:
        found = super().token_log_probs(outputs)
        last = outputs.lengths.unsqueeze(-1)
        return found.scatter(-1, last, found.gather(-1, last) * 0.9) if self.fault == "end" else found

    def log_prob(self, outputs: Sequences) -> Tensor:
        return super().token_log_probs(outputs).sum(-1)


@dataclass(frozen=True, kw_only=True)
class CoupledModel(Model):
    """An encoder-decoder with a fault in a verb."""

    distribution: ClassVar[type] = Coupled

    fault: str

    def build(self, sizes: Sizes) -> nn.Module:
        network, fault = tiny_models()["seq2seq"].build(sizes), self.fault

        class Wrapped(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, inputs: Sequences) -> Coupled:
                p = Coupled(self.network(inputs).decoder)
                p.fault = fault
                return p

        return Wrapped()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("narrow", "other inputs of the batch change what decode with a beam of 2 returns"),
        ("end", r"token_log_probs are not log p\(y_t \| y_<t\)"),
    ],
)
def test_the_verbs_of_a_decoder_are_checked_too(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(CoupledModel(fault=fault), draws=500)
    check_model(CoupledModel(fault="none"), draws=500)
