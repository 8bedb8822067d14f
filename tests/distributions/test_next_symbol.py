import pytest
import torch
from scipy import stats
from torch import Tensor

from structpred.distributions.next_symbol import BLOCK, inverse_cdf, likeliest


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("symbols", [2, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (BLOCK - 1, BLOCK + 1))])
def test_half_precision_draws_from_exact_probabilities(symbols: int, dtype: torch.dtype) -> None:
    """Wrong with probability 1e-6 for correct code, and the seed is fixed; rounded probabilities would be found out."""
    torch.manual_seed(2)
    logits, draws = torch.randn(symbols).to(dtype), 2_000_000
    drawn = inverse_cdf(logits.expand(draws, -1), torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=symbols).double()
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


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("symbols", [6, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 20 * BLOCK + 7])
@pytest.mark.parametrize("first", [False, True], ids=["rows first", "symbols first"])
def test_the_likeliest_symbols_are_the_largest_of_the_log_softmax(k: int, symbols: int, first: bool) -> None:
    torch.manual_seed(symbols)
    logits = 3 * torch.randn(7, 5, symbols, dtype=torch.float64)
    if first:
        logits = logits.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    found, expected = likeliest(logits, k), logits.log_softmax(-1).topk(k, dim=-1)
    torch.testing.assert_close(found.log_probs, expected.values, rtol=0, atol=1e-12)
    assert torch.equal(found.symbols, expected.indices)
    torch.testing.assert_close(found.end, logits.log_softmax(-1)[..., -1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e4, 0.0), (1e30, 0.0), (1.0, 1e5), (1.0, -1e5)])
def test_scores_of_any_scale_are_normalised(scale: float, shift: float) -> None:
    logits = scale * torch.randn(9, 2 * BLOCK + 3, generator=torch.Generator().manual_seed(0)) + shift
    found, expected = likeliest(logits, 2), logits.double().log_softmax(-1)
    torch.testing.assert_close(found.log_probs.double(), expected.topk(2, dim=-1).values, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.end.double(), expected[:, -1], rtol=1e-6, atol=1e-6)


def test_half_precision_is_normalised_in_single() -> None:
    logits = torch.randn(9, 5 * BLOCK + 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = likeliest(logits, 4)
    assert found.log_probs.dtype == torch.float32
    torch.testing.assert_close(found.log_probs, logits.float().log_softmax(-1).topk(4, dim=-1).values)


def test_impossible_symbols_come_last_and_have_no_probability() -> None:
    logits = torch.full((2, 2 * BLOCK + 3), -torch.inf)
    logits[:, BLOCK + 1] = torch.tensor([0.0, -7.0])
    found = likeliest(logits, 3)
    assert found.symbols[:, 0].tolist() == [BLOCK + 1] * 2
    assert found.log_probs[:, 0].tolist() == [0.0, 0.0]
    assert found.log_probs[:, 1:].isneginf().all()
    assert found.end.isneginf().all()


def test_no_rows_have_no_symbols() -> None:
    assert likeliest(torch.zeros(0, 5, 3 * BLOCK), 2).symbols.shape == (0, 5, 2)
    assert inverse_cdf(torch.zeros(0, 5, 3 * BLOCK)).shape == (0, 5)
