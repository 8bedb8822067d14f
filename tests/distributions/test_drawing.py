import pytest
import torch
from scipy import stats
from torch import Tensor

from structpred.distributions.search import BLOCK, inverse_cdf


def by_one_sum(logits: Tensor, generator: torch.Generator) -> Tensor:
    """The same draw from one cumulative sum over all symbols, in float64."""
    cumulative = logits.double().softmax(-1).cumsum(-1)
    uniform = torch.rand((*logits.shape[:-1], 1), generator=generator, dtype=torch.float64)
    return torch.searchsorted(cumulative, uniform * cumulative[..., -1:], right=True).squeeze(-1)


@pytest.mark.parametrize("symbols", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 7])
def test_blocks_draw_what_one_sum_draws(symbols: int) -> None:
    torch.manual_seed(symbols)
    logits = 3 * torch.randn(20, 50, symbols, dtype=torch.float64)
    drawn, expected = (draw(logits, torch.Generator().manual_seed(0)) for draw in (inverse_cdf, by_one_sum))
    assert torch.equal(drawn, expected)


def test_many_symbols_are_drawn_as_often_as_they_should_be() -> None:
    """Wrong with probability 1e-6 for correct code, and the seed is fixed."""
    torch.manual_seed(0)
    logits, draws = torch.randn(3 * BLOCK), 200_000
    drawn = inverse_cdf(logits.expand(draws, -1), torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=len(logits)).double()
    assert stats.chisquare(counts.numpy(), (logits.double().softmax(0) * draws).numpy()).pvalue > 1e-6


@pytest.mark.parametrize("symbols", [BLOCK, 3 * BLOCK, 3 * BLOCK + 5])
def test_what_has_no_probability_is_never_drawn(symbols: int, monkeypatch: pytest.MonkeyPatch) -> None:
    possible = torch.tensor([3, BLOCK - 2] if symbols == BLOCK else [3, BLOCK - 2, 2 * BLOCK])
    logits = torch.full((1000, symbols), -torch.inf)
    logits[:, possible] = torch.randn(len(possible))
    assert torch.isin(inverse_cdf(logits), possible).all()
    for extreme in (0.0, 1.0):  # beyond what `torch.rand` gives, as rounding may
        monkeypatch.setattr(torch, "rand", lambda shape, at=extreme, **_: torch.full(shape, at, dtype=torch.float64))
        assert (inverse_cdf(logits) == possible[-1 if extreme else 0]).all()


@pytest.mark.parametrize("symbols", [5, 2 * BLOCK + 1])
def test_scores_that_are_no_numbers_draw_some_symbol(symbols: int) -> None:
    drawn = inverse_cdf(torch.full((4, symbols), torch.nan))
    assert ((drawn >= 0) & (drawn < symbols)).all(), "the step is skipped elsewhere; here nothing breaks"
