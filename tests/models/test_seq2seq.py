"""The autoregressive distributions of Seq2Seq and Transformer against enumeration of tiny ones."""

from dataclasses import replace

import pytest
import torch
from scipy import stats

from structpred.distributions.autoregressive import Autoregressive
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.models import Seq2Seq, seq2seq
from structpred.sequences import Sequences
from structpred.training.distributed import cpu_has_bf16
from tests.support.tiny import DECODERS, as_candidates, strings, tiny_decoder, tiny_p

FALSE_ALARM = 1e-4


@pytest.fixture(params=DECODERS)
def name(request: pytest.FixtureRequest) -> str:
    """Each model that decides how long outputs are."""
    return str(request.param)


@pytest.mark.parametrize("labels", [1, 2, 3])
@pytest.mark.parametrize("tied", [False, True])
def test_probabilities_of_all_strings_and_the_remainder_sum_to_one(labels: int, tied: bool, name: str) -> None:
    p = tiny_p(labels, name, seed=7, sharpness=2.0, tied=tied, decoder_layers=2, encoder_layers=2)
    ended = p.log_prob(as_candidates(strings(labels, 3), batch=2)).exp().sum(1)
    prefixes = as_candidates(strings(labels, 4, shortest=4), batch=2)
    cut = replace(prefixes, ended=torch.zeros_like(prefixes.lengths, dtype=torch.bool))
    remainder = p.log_prob(cut).exp().sum(1)
    assert remainder.min() > 1e-3, "the remainder must matter for this test to mean anything"
    torch.testing.assert_close(ended + remainder, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_token_log_probs_are_those_of_a_step_by_step_decoder_and_include_the_end(name: str) -> None:
    p = tiny_p(3, name)
    output = [2, 0, 1]
    tokens = p.token_log_probs(as_candidates([output], batch=2))[:, 0]
    state, previous = p.decoder.start(1), torch.full((2, 1), 3)
    for time, symbol in enumerate([*output, 3]):
        logits, state = p.decoder.step(previous, state)
        torch.testing.assert_close(tokens[:, time], logits.log_softmax(-1)[:, 0, symbol], rtol=0, atol=1e-12)
        previous = torch.full((2, 1), min(symbol, 2))
    torch.testing.assert_close(tokens.sum(1), p.log_prob(as_candidates([output], batch=2))[:, 0])


def test_steps_hold_the_token_log_probs_and_every_step_is_normalised(name: str) -> None:
    p = tiny_p(2, name)
    outputs = as_candidates(strings(2, 3), batch=2)
    steps = p.steps(outputs)
    taken = steps.log_probs.gather(-1, steps.targets.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(torch.where(steps.mask, taken, 0.0), p.token_log_probs(outputs))
    normalised = steps.log_probs[steps.mask].exp().sum(-1)
    torch.testing.assert_close(normalised, torch.ones_like(normalised))
    assert not steps.log_probs[~steps.mask].any()


def test_padding_batching_and_candidates_change_nothing(name: str) -> None:
    module = tiny_decoder(name, 3).eval()
    inputs, outputs = [[0, 1, 2, 1], [2], []], strings(3, 2)
    together = module(Sequences.of(inputs)).log_prob(as_candidates(outputs, batch=3))
    for i, each in enumerate(inputs):
        garbage = Sequences(torch.tensor([[*each, 1, 2, 0]]), torch.tensor([len(each)]))
        for j, output in enumerate(outputs):
            target = Sequences(torch.tensor([[[*output, 2, 1]]]), torch.tensor([[len(output)]]))
            alone = module(garbage).log_prob(target)
            torch.testing.assert_close(alone[0, 0], together[i, j], rtol=0, atol=1e-12)


def test_symbols_are_scored_only_where_there_are_tokens(name: str) -> None:
    module, rows = tiny_decoder(name, 3).eval(), []
    module.get_submodule("output").register_forward_hook(
        lambda layer, given, scores: rows.append(scores.numel() // scores.shape[-1])
    )
    p, outputs = module(Sequences.of([[0, 1], [2]])), as_candidates([[], [1], [2, 0, 1, 1]], batch=2)
    cut = replace(outputs, ended=outputs.lengths < 4)
    for verb in (p.log_prob, p.token_log_probs, p.steps):
        verb(outputs)
        verb(cut)
    assert rows == [2 * (1 + 2 + 5), 2 * (1 + 2 + 4)] * 3


def test_gradients_are_those_of_finite_differences(name: str) -> None:
    module = tiny_decoder(name, 2, dropout=0.4)
    module.train()
    outputs = as_candidates(strings(2, 2), batch=2)

    def log_probs(*parameters: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(7)  # the same dropout masks at every evaluation
        names = [name for name, _ in module.named_parameters()]
        p: Autoregressive = torch.func.functional_call(
            module, dict(zip(names, parameters, strict=True)), Sequences.of([[0, 1], [2]])
        )
        return p.log_prob(outputs)

    assert torch.autograd.gradcheck(log_probs, tuple(module.parameters()), fast_mode=True)


def test_a_distribution_keeps_its_dropout_masks_and_another_has_others(name: str) -> None:
    module = tiny_decoder(name, 2, dropout=0.5).train()
    outputs = as_candidates(strings(2, 2), batch=1)
    first, second = module(Sequences.of([[0, 1]])), module(Sequences.of([[0, 1]]))
    torch.testing.assert_close(first.log_prob(outputs), first.log_prob(outputs), rtol=0, atol=0)
    assert not torch.allclose(first.log_prob(outputs), second.log_prob(outputs))


def test_samples_are_scored_under_the_mask_they_were_drawn_with(name: str) -> None:
    module = tiny_decoder(name, 2, dropout=0.5, longest=1).train()
    p = module(Sequences.of([[0, 1]]))
    outputs = strings(2, 1)
    draws = p.sample(20_000, torch.Generator().manual_seed(0))
    ended = draws.ended
    assert ended is not None
    seen = [((draws.lengths == len(o)) & ended & (not o or draws.labels[..., 0] == o[0])).sum().item() for o in outputs]
    expected = (p.log_prob(as_candidates(outputs)).exp()[0] * 20_000).tolist()
    seen.append(20_000 - sum(seen))
    expected.append(20_000 - sum(expected))
    assert stats.chisquare(seen, expected).pvalue > FALSE_ALARM


@pytest.mark.parametrize("seed", range(3))
def test_sampling_frequencies_are_the_probabilities(seed: int, name: str) -> None:
    p, n = tiny_p(2, name, longest=3, seed=seed, sharpness=2.0), 20_000
    draws = p.sample(n, torch.Generator().manual_seed(seed))
    assert draws.ended is not None
    outputs = [*strings(2, 3), *strings(2, 4, shortest=4)]
    ended = torch.tensor([len(output) <= 3 for output in outputs])
    candidates = as_candidates(outputs, batch=2)
    expected = p.log_prob(replace(candidates, ended=ended.expand(2, -1))).exp() * n
    codes = {(tuple(output), bool(end)): i for i, (output, end) in enumerate(zip(outputs, ended, strict=True))}
    for example in range(2):
        rows = Sequences(draws.labels[example], draws.lengths[example]).tolist()
        seen = [0] * len(codes)
        for row, end in zip(rows, draws.ended[example].tolist(), strict=True):
            seen[codes[tuple(row), end]] += 1
        assert stats.chisquare(seen, expected[example].tolist()).pvalue > FALSE_ALARM


def test_same_generator_same_draws(name: str) -> None:
    p = tiny_p(3, name)
    first, second = (p.sample(5, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.lengths, second.lengths)


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("labels", [1, 2, 3])
def test_a_beam_as_wide_as_there_are_prefixes_is_exact(labels: int, penalty: float, name: str) -> None:
    p, longest = tiny_p(labels, name, longest=3, seed=labels), 3
    outputs = strings(labels, longest)
    log_probs = p.log_prob(as_candidates(outputs, batch=2))
    lengths = torch.tensor([len(output) for output in outputs])
    order = (log_probs / (lengths + 1.0) ** penalty).argsort(1, descending=True)
    ranked = p.beam(len(outputs), length_penalty=penalty)
    for example in range(2):
        found = Sequences(ranked.outputs.labels[example], ranked.outputs.lengths[example]).tolist()
        assert found == [outputs[i] for i in order[example]]
        torch.testing.assert_close(ranked.log_probs[example], log_probs[example][order[example]])


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_narrow_beam_returns_distinct_outputs_in_order_with_their_log_probs(width: int, name: str) -> None:
    p = tiny_p(3, name, longest=4, seed=5)
    ranked = p.n_best(width)
    torch.testing.assert_close(p.log_prob(ranked.outputs), ranked.log_probs)
    assert (ranked.log_probs.diff(dim=1) <= 0).all()
    for example in range(2):
        found = Sequences(ranked.outputs.labels[example], ranked.outputs.lengths[example]).tolist()
        assert len({tuple(each) for each in found}) == width


def test_a_beam_is_the_same_alone_and_in_a_batch_whose_examples_finish_at_different_times(name: str) -> None:
    module = tiny_decoder(name, 3, longest=6, seed=2).eval()
    inputs = [[0], [1, 2], [2, 2, 0], [1, 0, 1, 0]]
    together = module(Sequences.of(inputs)).n_best(3)
    for i, each in enumerate(inputs):
        alone = module(Sequences.of([each])).n_best(3)
        torch.testing.assert_close(alone.log_probs[0], together.log_probs[i])


def test_greedy_takes_the_best_symbol_at_each_step_and_stops_at_the_limit(name: str) -> None:
    p = tiny_p(2, name, longest=3, seed=1)
    greedy = p.greedy()
    for example, output in enumerate(greedy.tolist()):
        for time in range(len(output) + (len(output) < 3)):
            prefix = as_candidates([output[:time]], batch=2)
            best = p.steps(prefix).log_probs[example, 0, time].argmax().item()
            assert best == (output[time] if time < len(output) else 2)
    assert p.decode(Decoding(beam=1)).tolist() == greedy.tolist()


def test_an_output_longer_than_the_search_limit_still_has_a_probability(name: str) -> None:
    assert torch.isfinite(tiny_p(2, name, longest=1).log_prob(as_candidates([[0, 1, 1, 0]], batch=2))).all()


def test_an_odd_state_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Seq2Seq\.hidden must be even"):
        Seq2Seq(hidden=255)


@pytest.mark.skipif(not cpu_has_bf16(), reason="PyTorch cannot run an LSTM in bf16 on this processor")
def test_probabilities_are_at_least_float32_under_autocast(name: str) -> None:
    module = tiny_decoder(name, 2, sharpness=1.0).float().eval()
    with torch.autocast("cpu", torch.bfloat16):
        p = module(Sequences.of([[0, 1]]))
        assert isinstance(p, Autoregressive)
        assert p.token_log_probs(as_candidates([[0, 1]])).dtype == torch.float32
        assert p.steps(as_candidates([[0]])).log_probs.dtype == torch.float32


@pytest.mark.parametrize("layers", [1, 2])
def test_sharing_what_prefixes_have_in_common_changes_nothing(layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for shared in (0.0, 2.0):  # never, and always
        monkeypatch.setattr(seq2seq, "SHARED", shared)
        p = tiny_p(3, decoder_layers=layers)
        found.append((p.beam(4), p.sample(20, torch.Generator().manual_seed(0)).labels))
    (alone, drawn), (together, again) = found
    assert torch.equal(alone.outputs.labels, together.outputs.labels)
    torch.testing.assert_close(alone.log_probs, together.log_probs, rtol=0, atol=1e-12)
    assert torch.equal(drawn, again)
