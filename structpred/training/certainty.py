"""How certain a trained model is on the test set: calibration of its probabilities, and entropy of its distribution."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from structpred.distributions.protocols import Distribution, Entropy, LogProb, Marginals, Sample, StepScores
from structpred.errors import StructpredError
from structpred.results import Certainty
from structpred.seeds import stream
from structpred.sequences import Sequences
from structpred.task import Example
from structpred.training.data import Tokenizer
from structpred.training.evaluation import DECODING_ROWS, by_length
from structpred.vocabulary import Symbols

MOST = 2000
"""Test examples that are looked at, at most; of more, evenly spread ones."""
DRAWS, MOST_DRAWS = 1000, 8
"""Outputs drawn to estimate an entropy, about, and of one example at most."""
BINS = 15
"""Bins of equal width for the calibration error, as in Guo et al. 2017."""
CELLS = 2**24
"""Next-symbol probabilities held at once, about."""


class CertaintyWarning(RuntimeWarning):
    """Calibration and entropy cannot be computed of a distribution."""


@dataclass(frozen=True)
class _Seen:
    """Of one example: probabilities of predicted labels and of the output, and the entropy of all outputs.

    Attributes:
        labels: the probability of each predicted label.
        labels_right: which of these labels are right.
        output: the probability of the output; None where it is not known.
        entropy: H(p), in nats; None where it is not known.
        symbols: of an output, ends counted if the model decides the length; their mean where outputs are drawn.
    """

    labels: np.ndarray
    labels_right: np.ndarray
    output: float | None
    entropy: float | None
    symbols: float


def certainty_of(
    model: nn.Module,
    codec: Tokenizer,
    examples: Sequence[Example],
    outputs: Sequence[Symbols],
    users: Iterable[str] = (),
) -> Certainty | None:
    """The calibration and the entropy of p on some examples; None, with a warning, where p fails to give them.

    Nothing of a run depends on it: draws come from a random stream of their own, and whatever a distribution of a
    user's own raises here is a warning.

    Args:
        model: returns p when called on inputs.
        codec: maps symbols to tensors and back.
        examples: the test examples.
        outputs: what was predicted for each.
        users: modules of components from outside the package.
    """
    chosen = sorted({int(i) for i in np.linspace(0, len(examples) - 1, min(len(examples), MOST))}) if examples else []
    looking = _Looking(codec, [examples[i] for i in chosen], [outputs[i] for i in chosen])
    inputs = codec.read([examples[i].source for i in chosen])
    try:
        seen = by_length(model, inputs, looking.at, users, rows=looking.rows) if chosen else []
    except (
        StructpredError,
        RuntimeError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        what = f"calibration and entropy on test are left out, because the model's distribution fails: {error}"
        warnings.warn(what, CertaintyWarning, stacklevel=2)
        return None
    return _together(seen, looking)


class _Looking:
    """Looks at p of a batch of inputs.

    Attributes:
        rows: inputs whose next-symbol probabilities fit into memory together.
        estimated: True once an entropy has been estimated from draws.
    """

    def __init__(self, codec: Tokenizer, examples: Sequence[Example], outputs: Sequence[Symbols]) -> None:
        labels = codec.vocabularies.labels
        self.unknown = len(labels)
        encoded = [[labels.encode(each, unknown=len(labels)) for each in of.references] for of in examples]
        self.references, self.examples = encoded, examples
        self.outputs = [labels.encode(output) for output in outputs]
        self.right = [output in example.references for example, output in zip(examples, outputs, strict=True)]
        self.draws = min(MOST_DRAWS, -(-DRAWS // max(len(examples), 1)))
        longest = max((len(each) for of in (self.outputs, *encoded) for each in of), default=0)
        self.rows = max(1, min(DECODING_ROWS, CELLS // ((len(labels) + 1) * (longest + 1) * self.draws)))
        self.generators: dict[torch.device, torch.Generator] = {}
        self.estimated = False

    def at(self, p: Any, inputs: Sequences, rows: Tensor) -> list[_Seen]:
        """What p says of the examples in these rows."""
        places = rows.tolist()
        labels = self._labels(p, inputs, places)
        outputs = self._output(p, inputs, places)
        entropies, symbols = self._entropy(p, inputs)
        return [
            _Seen(*labels[i], output=outputs[i], entropy=entropies[i], symbols=symbols[i]) for i in range(len(places))
        ]

    def _labels(self, p: Any, inputs: Sequences, places: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each example the probabilities of its predicted labels, and which are right."""
        first = Sequences.of([self.references[i][0] for i in places]).to(inputs.device)
        if isinstance(p, Marginals):
            table, wanted, mask = p.marginals(), first.labels, first.mask()
            if table.shape[1] != wanted.shape[1] or not torch.equal(first.lengths, inputs.lengths):
                return [_none()] * len(places)  # a reference of another length has no label for each position
        elif isinstance(p, StepScores):
            steps = p.steps(first.candidates())
            table, wanted, mask = (each[:, 0] for each in (steps.log_probs.exp(), steps.targets, steps.mask))
            # a decoder cannot be given a label that training never saw, so such references are left out
            mask = mask & ~(first.labels == self.unknown).any(1, keepdim=True)
        else:
            return [_none()] * len(places)
        best, predicted = table.max(-1)
        found = zip(*(each.cpu().numpy() for each in (best.double(), predicted == wanted, mask)), strict=True)
        return [(confidence[inside], right[inside]) for confidence, right, inside in found]

    def _output(self, p: Any, inputs: Sequences, places: Sequence[int]) -> list[float | None]:
        if not isinstance(p, LogProb):
            return [None] * len(places)
        outputs = Sequences.of([self.outputs[i] for i in places]).to(inputs.device)
        found: list[float | None] = p.log_prob(outputs.candidates()).double().exp()[:, 0].tolist()
        return found

    def _entropy(self, p: Any, inputs: Sequences) -> tuple[Sequence[float | None], Sequence[float]]:
        """H(p), and how many symbols it is of.

        A sampled output y gives Σ_t H(p(·|y_<t, x)), whose expectation is H(p): the chain rule.
        """
        if isinstance(p, Entropy) and isinstance(p, Distribution) and p.fixed_length:
            return p.entropy().double().tolist(), inputs.lengths.tolist()
        if not (isinstance(p, Sample) and isinstance(p, StepScores)):
            return [None] * len(inputs), [0.0] * len(inputs)
        self.estimated = True
        steps = p.steps(p.sample(self.draws, self._generator(inputs.device)))
        each = torch.special.entr(steps.log_probs.double().exp()).sum(-1)
        entropies = torch.where(steps.mask, each, 0.0).sum(-1).mean(1)
        return entropies.tolist(), steps.mask.sum(-1).double().mean(1).tolist()

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(stream(0, "certainty"))
        return self.generators[device]


def _none() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0), np.zeros(0, dtype=bool)


def _together(seen: Sequence[_Seen], looking: _Looking) -> Certainty:
    labels = np.concatenate([_none()[0], *(each.labels for each in seen)])
    labels_right = np.concatenate([_none()[1], *(each.labels_right for each in seen)])
    known = [(each.output, right) for each, right in zip(seen, looking.right, strict=True) if each.output is not None]
    outputs, outputs_right = np.array([each for each, _ in known]), np.array([each for _, each in known], dtype=bool)
    entropies = [each.entropy for each in seen if each.entropy is not None]
    symbols = sum(each.symbols for each in seen)
    return Certainty(
        len(seen),
        _finite(calibration_error(labels, labels_right), 100),
        _finite(calibration_error(outputs, outputs_right), 100),
        _finite(sum(entropies) / symbols if entropies and symbols else None),
        looking.estimated,
    )


def _finite(value: float | None, scale: float = 1.0) -> float | None:
    """None instead of a number that is none, which JSON cannot hold."""
    return None if value is None or not np.isfinite(value) else scale * value


def calibration_error(
    confidences: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = BINS
) -> float | None:
    """The expected calibration error, Σ_m |B_m|/n · |acc(B_m) − conf(B_m)|, from 0 to 1; None of no prediction.

    B_m holds the predictions whose probability is in ((m − 1)/M, m/M]; acc is the share of them that are right, conf
    their mean probability (Naeini et al. 2015; Guo et al. 2017, arXiv 1706.04599, equation 3). Of few predictions it
    is biased upwards: some are right by chance more or less often than they say.

    Args:
        confidences: the probability of each prediction.
        right: whether it is right.
        bins: M.
    """
    if not len(confidences):
        return None
    places = np.clip(np.ceil(confidences * bins) - 1, 0, bins - 1).astype(int)
    gaps = np.bincount(places, weights=right - confidences, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidences))
