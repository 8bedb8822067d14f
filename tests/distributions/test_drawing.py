"""Samples whose scores are kept, against the loop that keeps nothing and the pass that scores everything again."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structpred.distributions import drawing
from structpred.distributions.autoregressive import Autoregressive
from structpred.distributions.drawing import ReadOut, draw, reads_out
from structpred.distributions.next_symbol import by_inversion, inverse_cdf
from structpred.distributions.search import decode_loop
from structpred.sequences import Sequences
from structpred.training.distributed import cpu_has_bf16
from tests.support.tiny import tiny_decoder, tiny_p, tiny_seq2seq

INPUTS = [[0, 1, 2], [2], [], [1, 1], [2, 0]]


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MANY", 1)


def source(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def networks(labels: int, name: str = "seq2seq", **fields: Any) -> tuple[nn.Module, Autoregressive]:
    """A network and p(·|x) of it for inputs whose samples end at different times."""
    module = tiny_decoder(name, labels, **{"longest": 7} | fields).train()
    torch.manual_seed(1)  # of dropout
    p: Autoregressive = module(Sequences.of(INPUTS))
    return module, p


def gradients(module: nn.Module, values: Tensor) -> list[Tensor]:
    """Of an uneven sum of values, which no part of the gradient survives by accident."""
    weights = torch.linspace(-1, 2, values.numel(), dtype=values.dtype).view(values.shape)
    return list(torch.autograd.grad((weights * values).sum(), list(module.parameters()), retain_graph=True))


@pytest.mark.parametrize(
    ("labels", "fields"),
    [
        (2, {}),
        (2, {"dropout": 0.5, "decoder_layers": 2}),
        (70, {"sharpness": 1.5}),
        (3, {"tied": True, "seed": 1}),
        (2, {"name": "transformer", "dropout": 0.5, "longest": 2}),
    ],
    ids=["few symbols", "dropout and layers", "symbols in blocks", "tied", "transformer"],
)
def test_draws_log_probs_and_gradients_are_those_of_doing_everything_again(labels: int, fields: dict[str, Any]) -> None:
    module, p = networks(labels, **fields)
    first, second = source(), source()
    with torch.no_grad():
        plain = decode_loop(p.decoder, 4, lambda logits: inverse_cdf(logits, second))
    drawn = p.sample(4, first)
    assert plain.ended is not None
    assert drawn.ended is not None
    assert plain.ended.any()
    assert not plain.ended.all(), "some must be cut"
    assert torch.equal(drawn.labels, plain.labels)
    assert torch.equal(drawn.lengths, plain.lengths)
    assert torch.equal(drawn.ended, plain.ended)
    assert torch.equal(first.get_state(), second.get_state()), "as many numbers are drawn"
    known, again = p.token_log_probs(drawn), p.token_log_probs(plain)
    torch.testing.assert_close(known, again, rtol=0, atol=1e-10)
    for ours, theirs in zip(gradients(module, known), gradients(module, again), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_each_prefix_that_still_grows_is_scored_once() -> None:
    _, p = networks(2)
    assert reads_out(p.decoder)
    drawn = draw(p.decoder, 6, source())
    ended = drawn.outputs.ended
    assert ended is not None
    flat = drawn.outputs.flatten().tolist()
    for time, step in enumerate(drawn.steps):
        steps_of = [len(row) + int(end) for row, end in zip(flat, ended.flatten().tolist(), strict=True)]
        growing = [row for row, steps in enumerate(steps_of) if steps > time]
        assert step.rows.tolist() == growing
        prefixes = {(row // 6, tuple(flat[row][:time])) for row in growing}
        assert step.scores.shape == (3, len(prefixes))


def counting(module: nn.Module) -> list[int]:
    """How many rows go through the output layer from now on."""
    rows: list[int] = []
    module.get_submodule("output").register_forward_hook(
        lambda layer, given, scores: rows.append(scores.numel() // scores.shape[-1])
    )
    return rows


def test_the_output_layer_is_not_asked_again() -> None:
    module, p = networks(2)
    drawn, rows = p.sample(4, source()), counting(module)
    p.log_prob(drawn).sum().backward()  # type: ignore[no-untyped-call]  # torch does not type it
    assert rows == []
    p.log_prob(Sequences(drawn.labels, drawn.lengths, drawn.ended))
    assert len(rows) == 1, "other outputs are scored, equal or not"


def test_nothing_is_kept_without_gradient() -> None:
    with torch.no_grad():
        module, p = networks(2)
        drawn, rows = p.sample(4, source()), counting(module)
        p.log_prob(drawn)
    assert len(rows) == 1


def test_second_derivatives_are_those_of_scoring_again() -> None:
    module, p = networks(2)
    drawn, parameters, found = p.sample(3, source()), list(module.parameters()), []
    for verb in (p.token_log_probs, lambda outputs: p.token_log_probs_given(outputs, outputs)):
        slopes = torch.autograd.grad(verb(drawn).square().sum(), parameters, create_graph=True)
        penalty = sum((slope.square().sum() for slope in slopes), torch.zeros((), dtype=torch.float64))
        found.append(torch.autograd.grad(penalty, parameters, retain_graph=True))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_decoder_that_passes_on_what_it_lacks_is_not_bypassed() -> None:
    (_, first), (_, second) = networks(2), networks(2, seed=2)
    mean = Autoregressive.mean((first, second))
    assert isinstance(mean.decoder, ReadOut) is hasattr(mean.decoder, "advance")
    assert not reads_out(mean.decoder)
    drawn = mean.sample(3, source())
    torch.testing.assert_close(mean.log_prob(drawn), mean.token_log_probs_given(drawn, drawn).sum(-1))


@pytest.mark.parametrize("shape", [(2, 0), (0, 3)], ids=["no samples", "no examples"])
def test_nothing_to_draw(shape: tuple[int, int]) -> None:
    p = tiny_p() if shape[0] else tiny_seq2seq()(Sequences.of([]))
    assert p.sample(shape[1]).lengths.shape == shape


@pytest.mark.parametrize("symbols", [5, 100])
def test_rows_with_the_same_scores_draw_as_if_each_had_its_own(symbols: int) -> None:
    table = torch.randn(symbols, 3, generator=source())
    kinds = torch.tensor([2, 0, 0, 1, 2, 2, 1])
    uniform = torch.rand(7, 1, generator=source(5), dtype=torch.float64)
    found = by_inversion(table, uniform, kinds)
    assert found.symbols.tolist() == inverse_cdf(table.t()[kinds], source(5)).tolist()
    torch.testing.assert_close(found.log_mass, table.logsumexp(0))


@pytest.mark.skipif(not cpu_has_bf16(), reason="PyTorch cannot run an LSTM in bf16 on this processor")
def test_gradients_under_autocast_have_the_type_of_the_weights_and_are_near() -> None:
    module = tiny_seq2seq(3, sharpness=1.0).float().train()
    verbs: list[Callable[[Autoregressive, Sequences], Tensor]] = [
        lambda p, drawn: p.token_log_probs(drawn),
        lambda p, drawn: p.token_log_probs_given(drawn, drawn),
    ]
    with torch.autocast("cpu", torch.bfloat16):
        p = module(Sequences.of(INPUTS))
        drawn = p.sample(4, source())
        known, again = (verb(p, drawn) for verb in verbs)
    assert known.dtype == torch.float32
    torch.testing.assert_close(known, again, rtol=0, atol=0.05)
    for ours, theirs in zip(gradients(module, known), gradients(module, again), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05 * float(theirs.abs().max()))


def test_few_symbols_are_drawn_and_scored_as_they_always_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or recorded runs would not repeat bit for bit."""
    monkeypatch.setattr(drawing, "MANY", 3)
    assert [drawing.applies(networks(labels)[1].decoder) for labels in (2, 3)] == [False, True]
    _, p = networks(2)
    p.sample(4, source())
    assert p._drawn is None
