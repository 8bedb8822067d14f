"""Gradient checkpointing, and devices without bf16."""

from dataclasses import replace

import pytest
import torch

from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq, Transformer
from structpred.objectives import MaximumLikelihood
from structpred.sequences import Sequences
from structpred.training import Trainer
from structpred.training.data import EncodedData
from structpred.training.distributed import refuse_without_bf16
from structpred.training.trainer import Training
from tests.support.tiny import Copying, tiny_decoder

LAYERED = Experiment(
    task=Copying(train=12),
    model=Transformer(hidden=4, heads=2, feedforward=6, encoder_layers=2, decoder_layers=2),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1, batch_tokens=40),
)


def test_gradients_are_those_without_it_under_the_same_dropout() -> None:
    gradients = []
    for recompute in (False, True):
        network = tiny_decoder("transformer", dropout=0.4, encoder_layers=2, decoder_layers=2).train()
        if recompute:
            network.checkpoint_activations()  # type: ignore[operator]  # nn.Module types every attribute as a Module
        inputs, targets = Sequences.of([[0, 1, 2], [2]]), Sequences.of([[1, 0], [0, 1, 1]]).candidates()
        torch.manual_seed(1)
        network(inputs).log_prob(targets).sum().backward()
        gradients.append({name: each.grad for name, each in network.named_parameters()})
        assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in network.parameters())
    plain, again = gradients
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-12, atol=1e-12)


def test_the_trainer_turns_it_on_and_layers_run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for recompute in (False, True):
        experiment = replace(LAYERED, trainer=replace(LAYERED.trainer, recompute=recompute))
        training = Training(experiment, EncodedData.of(LAYERED.task.load(), LAYERED.model), device="cpu")
        count = {"calls": 0}
        layer = training.model.get_submodule("decoder.1")
        forward = layer.forward

        def counted(*arguments: object, count: dict[str, int] = count, forward: object = forward) -> object:
            count["calls"] += 1
            return forward(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(layer, "forward", counted)
        training.rehearse(1)
        calls.append(count["calls"])
    assert calls == [1, 2]


def test_a_network_without_layers_refuses_it() -> None:
    experiment = replace(LAYERED, model=Seq2Seq(embedding=4, hidden=4), trainer=Trainer(recompute=True))
    with pytest.raises(ConfigError, match=r"Trainer\.recompute needs .* no module of Seq2Seq has a method"):
        Training(experiment, EncodedData.of(LAYERED.task.load(), experiment.model), device="cpu")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_device_without_bf16_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structpred.training.distributed.cpu_has_bf16", lambda: False)
    monkeypatch.setattr("structpred.training.distributed.gpu_has_bf16", lambda device: False)
    with pytest.raises(RunError, match=f"expected a {device.upper().replace('CUDA', 'GPU')} with bf16 instructions"):
        refuse_without_bf16(torch.device(device))
