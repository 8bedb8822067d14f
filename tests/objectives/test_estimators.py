from dataclasses import replace
from typing import Any

import pytest
import torch

from structpred.distributions.autoregressive import Autoregressive
from structpred.objectives.estimators import Sampled, distinct
from structpred.sequences import Sequences
from tests.support.tiny import tiny_seq2seq

INPUTS = Sequences.of([[0, 1, 2], [2]])


def draws_of(rows: list[list[list[int]]]) -> Sequences:
    flat = Sequences.of([row for rows_of_one in rows for row in rows_of_one])
    return Sequences(flat.labels.view(len(rows), len(rows[0]), -1), flat.lengths.view(len(rows), len(rows[0])))


REPEATED = draws_of([[[0, 1], [0], [0, 1], [], []], [[1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0]]])
CUT = replace(REPEATED, ended=torch.tensor([[False, True, True, True, True], [False, True, False, True, True]]))
"""The same labels, but some draws were cut, so that others with these labels are other draws."""


def test_equal_draws_of_an_example_are_counted_at_the_first() -> None:
    outputs, copies = distinct(REPEATED, torch.ones_like(REPEATED.lengths))
    assert copies.tolist() == [[2, 1, 0, 2, 0], [5, 0, 0, 0, 0]]
    assert outputs.lengths.tolist() == [[2, 1, 0, 0, 0], [3, 0, 0, 0, 0]]
    assert outputs.ended is not None
    assert torch.equal(outputs.ended, copies > 0)


def test_a_draw_that_was_cut_stays_one() -> None:
    outputs, copies = distinct(CUT, torch.ones_like(CUT.lengths))
    assert copies.tolist() == [[1, 1, 1, 2, 0], [2, 3, 0, 0, 0]]
    assert outputs.ended is not None
    assert outputs.ended.tolist() == [[False, True, True, True, False], [False, True, False, False, False]]


def test_examples_and_lengths_are_kept_apart() -> None:
    different = draws_of([[[0], [0, 0]], [[0], [1]]])
    assert distinct(different, torch.ones_like(different.lengths))[1].tolist() == [[1, 1], [1, 1]], (
        "padding is 0 as well"
    )


class Spied:
    """A decoder that writes down how many symbols it scores."""

    def __init__(self, decoder: Any) -> None:
        self.decoder, self.scored = decoder, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.decoder, name)

    def logits(self, outputs: Sequences, cells: torch.Tensor) -> torch.Tensor:
        self.scored += len(cells)
        scores: torch.Tensor = self.decoder.logits(outputs, cells)
        return scores


@pytest.mark.parametrize("draws", [REPEATED, CUT])
def test_scoring_equal_draws_once_changes_neither_loss_nor_gradient(draws: Sequences) -> None:
    module = tiny_seq2seq(dropout=0.5).train()

    def loss_and_gradients(once: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)  # the same dropout masks
        p = module(INPUTS)
        losses = Sampled(k=5).cross_entropy(p, p, draws) if once else -p.log_prob(draws).mean(1)
        return [losses, *torch.autograd.grad(losses.sum(), list(module.parameters()))]

    for one, other in zip(loss_and_gradients(True), loss_and_gradients(False), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("k", "scored"), [(1, 30), (5, 10)])
def test_only_different_draws_are_scored(k: int, scored: int) -> None:
    spied = Spied(tiny_seq2seq().eval()(INPUTS).decoder)
    p = Autoregressive(spied)
    Sampled(k=k).cross_entropy(p, p, REPEATED)
    assert spied.scored == scored, "3 + 2 + 3 + 1 + 1 and 5 times 4 symbols, of which 3 + 2 + 1 and 4 are different"


def test_draws_may_be_a_part_of_others() -> None:
    part = Sequences(REPEATED.labels[:, 1:3], REPEATED.lengths[:, 1:3])
    assert distinct(part, torch.ones_like(part.lengths))[1].tolist() == [[1, 1], [2, 0]]
