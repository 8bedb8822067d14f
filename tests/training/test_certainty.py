"""Calibration and entropy of a model on test, against lists of every output."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import binned_statistic, entropy
from torch import Tensor, nn

from structpred.distributions.factorised import Factorised
from structpred.models import Seq2Seq
from structpred.sequences import Sequences
from structpred.task import Example
from structpred.training.certainty import BINS, CertaintyWarning, calibration_error, certainty_of
from structpred.training.data import Tokenizer
from structpred.vocabulary import Symbols
from tests.support.tiny import tiny_decoder

SOURCES: tuple[Symbols, ...] = (("x", "y", "z"), ("z",), ("y", "y"))
REFERENCES: tuple[Symbols, ...] = (("a", "b", "a"), ("b",), ("b", "b"))
EXAMPLES = [Example(source, (target,), "") for source, target in zip(SOURCES, REFERENCES, strict=True)]
OUTPUTS: list[Symbols] = [("a", "b", "a"), ("a",), ("b", "a")]
CODEC = Tokenizer.of(EXAMPLES, Seq2Seq().encoder())


class Table(nn.Module):
    """A tagger whose scores are a table."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.tensor([[1.2, -0.3], [0.1, 0.4], [-1.0, 0.9]], dtype=torch.float64))

    def forward(self, inputs: Sequences) -> Factorised:
        return Factorised(self.scores[torch.where(inputs.mask(), inputs.labels, 0)], inputs.lengths)


def test_of_a_tagger_everything_is_exact() -> None:
    model = Table()
    tables = [model.scores.detach().softmax(-1)[["xyz".index(symbol) for symbol in source]] for source in SOURCES]
    found = certainty_of(model, CODEC, EXAMPLES, OUTPUTS)
    assert found is not None
    assert (found.examples, found.estimated) == (3, False)
    rows = [row.numpy() for table in tables for row in table]
    targets = ["ab".index(label) for reference in REFERENCES for label in reference]
    confidences = np.array([row.max() for row in rows])
    right = np.array([row.argmax() == target for row, target in zip(rows, targets, strict=True)])
    assert found.labels == pytest.approx(100 * (calibration_error(confidences, right) or 0))
    whole = np.array([math.prod(float(table[t, "ab".index(label)]) for t, label in enumerate(output))
                      for table, output in zip(tables, OUTPUTS, strict=True)])  # fmt: skip
    assert found.outputs == pytest.approx(100 * (calibration_error(whole, np.array([True, False, False])) or 0))
    every = [
        [
            math.prod(float(table[t, label]) for t, label in enumerate(labels))
            for labels in product((0, 1), repeat=len(table))
        ]
        for table in tables
    ]
    assert found.entropy == pytest.approx(sum(entropy(each) for each in every) / 6)


def test_a_decoder_is_asked_along_references_and_its_entropy_is_estimated_without_bias() -> None:
    """By chance an estimate is over four of its standard errors off once in 16,000 seeds; the seed is fixed."""
    model = tiny_decoder("seq2seq", longest=2)
    copies = 125
    found = certainty_of(model, CODEC, EXAMPLES[:1] * copies, OUTPUTS[:1] * copies)
    assert found is not None
    assert found.estimated
    p = model.eval()(CODEC.read([SOURCES[0]]).gather(torch.tensor([0])))
    steps = p.steps(Sequences.of([[0, 1, 0]]).candidates())
    best = steps.log_probs[0, 0].exp().max(-1)
    right = best.indices == torch.tensor([0, 1, 0, 2])  # the reference, then the end
    assert found.labels == pytest.approx(100 * (calibration_error(best.values.detach().numpy(), right.numpy()) or 0))
    whole = p.log_prob(Sequences.of([[0, 1, 0]]).candidates()).exp().item()
    assert found.outputs == pytest.approx(100 * (1 - whole))
    probabilities, given, symbols = _every_output(p)
    assert probabilities.sum() == pytest.approx(1.0)
    exact = entropy(probabilities)
    assert (probabilities * given).sum() == pytest.approx(exact)  # the chain rule
    error = _error_of_ratio(probabilities, given, symbols) / math.sqrt(8 * copies)
    assert abs((found.entropy or 0) - exact / (probabilities * symbols).sum()) < 4 * error


def _every_output(p: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each output, cut ones included, its probability, Σ_t H(next symbol), and its symbols with the end."""
    rows = [list(labels) for n in range(4) for labels in product((0, 1), repeat=n)]
    outputs = Sequences.of(rows)
    ended = torch.tensor([len(row) < 3 for row in rows])
    several = Sequences(outputs.labels.unsqueeze(0), outputs.lengths.unsqueeze(0), ended.unsqueeze(0))
    steps = p.steps(several)  # type: ignore[attr-defined]  # it has the verb
    given = torch.where(steps.mask, torch.special.entr(steps.log_probs.exp()).sum(-1), 0.0).sum(-1)[0]
    probabilities = p.log_prob(several).exp()[0]  # type: ignore[attr-defined]  # likewise
    return tuple(each.detach().double().numpy() for each in (probabilities, given, steps.mask.sum(-1)[0]))  # type: ignore[return-value]  # three


def _error_of_ratio(probabilities: np.ndarray, given: np.ndarray, symbols: np.ndarray) -> float:
    """The standard deviation of a ratio of means, of one draw, to first order."""
    ratio = (probabilities * given).sum() / (probabilities * symbols).sum()
    return float(np.sqrt((probabilities * (given - ratio * symbols) ** 2).sum()) / (probabilities * symbols).sum())


def test_what_p_does_not_offer_or_give_is_left_out() -> None:
    class Failing(Factorised):
        def marginals(self) -> Tensor:
            raise ValueError("no marginals today")

    class Faulty(Table):
        def forward(self, inputs: Sequences) -> Factorised:
            return Failing(super().forward(inputs).scores, inputs.lengths)

    with pytest.warns(CertaintyWarning, match="left out, because the model's distribution fails: .*no marginals today"):
        assert certainty_of(Faulty(), CODEC, EXAMPLES, OUTPUTS) is None
    longer = [Example(source, (("a",) * 4,), "") for source in SOURCES]  # of no position is it known what is right
    found = certainty_of(Table(), CODEC, longer, OUTPUTS)
    assert found is not None
    assert found.labels is None
    assert found.outputs is not None
    none = certainty_of(Table(), CODEC, [], [])
    assert none is not None
    assert (none.examples, none.labels, none.outputs, none.entropy) == (0, None, None, None)


def test_the_calibration_error_is_the_gap_of_each_bin_weighted_by_its_predictions() -> None:
    generator = np.random.default_rng(0)
    confidences = generator.beta(4, 2, size=500)
    right = generator.random(500) < confidences**2
    edges = np.linspace(0, 1, BINS + 1)
    counts = binned_statistic(confidences, confidences, "count", bins=edges).statistic
    means, shares = (
        np.nan_to_num(binned_statistic(confidences, values, "mean", bins=edges).statistic)
        for values in (confidences, right.astype(float))
    )
    assert calibration_error(confidences, right) == pytest.approx((counts * abs(shares - means)).sum() / 500)


def test_bins_are_closed_above_and_the_ends_are_in() -> None:
    confidences, right = np.array([0.0, 0.5, 0.5 + 1e-9, 1.0]), np.array([False, True, False, True])
    # {0, 0.5 right} and {0.5 wrong, 1 right}: gaps of 1 − 0.5 and 1 − 1.5
    assert calibration_error(confidences, right, bins=2) == pytest.approx((0.5 + 0.5) / 4)
    assert calibration_error(np.ones(3), np.ones(3, dtype=bool)) == 0.0
    assert calibration_error(np.ones(4), np.zeros(4, dtype=bool)) == 1.0
    assert calibration_error(np.zeros(0), np.zeros(0, dtype=bool)) is None


def test_what_is_right_as_often_as_it_says_has_none_but_for_chance() -> None:
    generator = np.random.default_rng(1)
    confidences = generator.random(40_000)
    right = generator.random(40_000) < confidences
    # by chance each bin of 2,667 is off by 0.4/√2667 on average; four standard deviations of that mean are 0.0105
    assert 0 < (calibration_error(confidences, right) or 0) < 0.0105
