"""What a Transformer does that an LSTM does not; what both do is in `test_seq2seq`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structpred.errors import ConfigError, Interrupted
from structpred.experiment import Experiment
from structpred.models import BitImages, Featurizer, FrameFeatures, Seq2Seq, Transformer, WordEmbedding, attention
from structpred.models.attention import Positions, sinusoids
from structpred.objectives import MaximumLikelihood
from structpred.runs import train
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.training import Trainer, checkpoint
from structpred.training.distributed import cpu_has_bf16
from tests.support.tiny import Copying, as_candidates, strings, tiny_decoder, tiny_p

SIZES = Sizes(num_inputs=3, num_labels=2, label_counts=(1, 1), references=1, characters=4)
SMALL = Transformer(
    hidden=4, heads=2, feedforward=4, encoder_layers=1, decoder_layers=1, dropout=0.0, length_ratio=1e-9, length_extra=2
)
RAGGED = as_candidates([[], [1], [2, 0, 1, 1], [0, 0]], batch=2)


@pytest.mark.parametrize(("hidden", "heads"), [(6, 4), (5, 1)])
def test_a_size_that_cannot_be_shared_is_refused(hidden: int, heads: int) -> None:
    with pytest.raises(ConfigError, match=rf"Transformer\.hidden must be even and a multiple of heads, {heads} here"):
        Transformer(hidden=hidden, heads=heads)


@pytest.mark.parametrize("kind", [Seq2Seq, Transformer])
def test_a_ratio_of_lengths_that_overflows_a_search_is_refused(kind: type[Seq2Seq | Transformer]) -> None:
    with pytest.raises(ConfigError, match=rf"{kind.__name__}\.length_ratio must be .* at most 1e\+06, but got"):
        kind(length_ratio=1e30)


def test_an_empty_batch_is_one_while_training_as_well() -> None:
    p = Transformer(hidden=4, heads=2, dropout=0.5).build(SIZES).train()(Sequences.of([]))
    assert p.sample(2).labels.shape[:2] == (0, 2)


def test_heads_are_those_of_pytorch() -> None:
    """`torch.nn.MultiheadAttention` with the same weights, padding left out and the future unseen."""
    torch.manual_seed(0)
    ours, theirs = attention.SelfAttention(6, 3), nn.MultiheadAttention(6, 3, batch_first=True)
    vectors = torch.randn(2, 5, 6)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.projected.weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(ours.combined.weight)
        theirs.out_proj.bias.copy_(ours.combined.bias.normal_())
    real = torch.arange(5) < torch.tensor([[5], [3]])
    positions = Positions(2, 1, 5)
    seen, _ = ours(vectors.flatten(0, 1), positions, mask=real.view(2, 1, 1, 5))
    normalised = ours.normalised(vectors)
    expected, _ = theirs(normalised, normalised, normalised, key_padding_mask=~real)
    torch.testing.assert_close(seen.view(2, 5, 6), expected)
    seen, _ = ours(vectors.flatten(0, 1), positions)
    later = nn.Transformer.generate_square_subsequent_mask(5)
    expected, _ = theirs(normalised, normalised, normalised, attn_mask=later)
    torch.testing.assert_close(seen.view(2, 5, 6), expected)


def test_weights_of_the_input_are_those_of_pytorch() -> None:
    """Their mean over heads."""
    torch.manual_seed(0)
    ours, pairs = attention.InputAttention(6, 3), attention.linear(6, 12, bias=False)
    theirs = nn.MultiheadAttention(6, 3, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.queries.weight, pairs.weight]))
        theirs.in_proj_bias.zero_()
    inputs, vectors, real = torch.randn(2, 4, 6), torch.randn(2, 5, 6), torch.arange(4) < torch.tensor([[4], [3]])
    found = ours.log_weights(vectors.flatten(0, 1), Positions(2, 1, 5), pairs(inputs), real.view(2, 1, 1, 4))
    _, expected = theirs(ours.normalised(vectors), inputs, inputs, key_padding_mask=~real)
    torch.testing.assert_close(found.exp(), expected)


def test_the_attention_that_is_told_is_that_of_the_last_layer() -> None:
    decoder: Any = tiny_p(3, "transformer", decoder_layers=2).decoder
    asked: list[torch.Tensor] = []
    decoder.network.decoder[1].input.queries.register_forward_hook(lambda _, given, __: asked.append(given[0]))
    decoder.logits(RAGGED, torch.arange(40))
    found = decoder.log_attention(RAGGED).exp()
    assert found.shape == (2, 4, 5, 4)
    assert torch.equal(*asked)
    torch.testing.assert_close(found.sum(-1)[:, 2], torch.ones(2, 5, dtype=torch.float64))
    assert found[1, :, :, 2:].abs().sum() == 0, "the second input has one symbol and its end"


def test_positions_are_told_apart_by_pairs_of_waves() -> None:
    waves = sinusoids(torch.arange(3), 4).double()
    expected = [[f(t * rate) for f in (torch.sin, torch.cos) for rate in (1, 1e-4)] for t in torch.arange(3.0)]
    torch.testing.assert_close(waves, torch.tensor(expected).double())


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_leaving_padding_out_changes_nothing(dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for worth in (0.0, 2.0):  # never, and always
        monkeypatch.setattr(attention, "WORTH", worth)
        module = tiny_decoder("transformer", 3, dropout=dropout).train()
        torch.manual_seed(5)
        log_probs = module(Sequences.of([[0, 1, 2, 1], [2]])).log_prob(RAGGED)
        found.append((log_probs, *torch.autograd.grad(log_probs.sum(), list(module.parameters()))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_a_step_computes_nothing_of_earlier_steps_or_of_the_input_again() -> None:
    p = tiny_p(3, "transformer")
    tokens: list[int] = []
    for layer in p.decoder.network.modules():  # type: ignore[attr-defined]  # any decoder, to mypy
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda _, given, __: tokens.append(given[0].numel() // given[0].shape[-1]))
    state = p.decoder.start(3)
    for time in range(4):
        _, state = p.decoder.step(torch.full((2, 3), 1), state)
        assert state[0].shape == (2, 3, time + 1, 8)
    assert set(tokens) == {2 * 3}


@pytest.mark.parametrize(
    ("inputs", "given"),
    [
        (WordEmbedding(), {"spellings": Sequences.of([[0, 1], [3]]), "rows": torch.tensor([[0, 1], [1, 0]])}),
        (FrameFeatures(features=5), {"vectors": torch.randn(2, 2, 5)}),
        (BitImages(pixels=4, hidden=3), {"vectors": torch.ones(2, 2, 4)}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Featurizer) else "",
)
def test_any_input_encoder_can_be_read(inputs: Featurizer, given: dict[str, object]) -> None:
    network = replace(SMALL, inputs=inputs).build(SIZES).eval()
    batch = replace(Sequences.of([[0, 1], [2]]), **given)  # type: ignore[arg-type]
    every = as_candidates(strings(2, 3), batch=2)
    p = network(batch)
    log_probs = p.log_prob(replace(every, ended=every.lengths < 3))
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(2))


TINY = Experiment(
    task=Copying(),
    model=Transformer(hidden=8, feedforward=8, encoder_layers=1, decoder_layers=1, dropout=0.3, tied=True),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=2, batch_tokens=40),
)


def test_a_run_that_is_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    straight = train(TINY, root=tmp_path / "straight", device="cpu")
    stops = iter([False] * 5)
    with pytest.raises(Interrupted):
        train(TINY, root=tmp_path / "stopped", device="cpu", stopping=lambda: next(stops, True))
    resumed = train(TINY, root=tmp_path / "stopped", device="cpu")
    weights = [checkpoint.load(run.folder.weights) for run in (straight, resumed)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.skipif(not cpu_has_bf16(), reason="PyTorch computes in bf16 only where the processor does")
def test_training_in_bf16_is_training_rounded(tmp_path: Path) -> None:
    once = replace(TINY, trainer=Trainer(epochs=1, batch_tokens=80))
    wide, narrow = (
        train(replace(once, trainer=replace(once.trainer, precision=precision)), root=tmp_path, device="cpu").result
        for precision in ("fp32", "bf16")
    )
    assert narrow.history[0].loss == pytest.approx(wide.history[0].loss, rel=0.02)
    assert narrow.history[0].loss != wide.history[0].loss
