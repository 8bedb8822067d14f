"""Pretrained networks with parts that are frozen, learn at rates of their own, or are computed again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models.base import Recomputable
from structpred.models.sources import LeftOut
from structpred.objectives import MaximumLikelihood
from structpred.runs import Run, train
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.training import Adam, Part, Trainer
from structpred.training.parts import layers_above
from structpred.vocabulary import Vocabularies, Vocabulary

pytest.importorskip("transformers", reason="needs the extra pretrained: pip install structpred[pretrained]")

from structpred.pretrained import PretrainedEncoder, PretrainedSeq2Seq
from tests.support import pretrained
from tests.support.networks import KINDS, saved
from tests.support.tiny import Copying, double_precision

SIZES = Sizes(num_inputs=2, num_labels=3, label_counts=(1, 1, 1), references=1)
INPUTS = Sequences.of([[0, 1, 1], [1]])


def built(kind: str, folder: Path) -> Any:
    torch.manual_seed(0)
    with double_precision():
        return PretrainedSeq2Seq(path_or_name=saved(kind, folder / kind), symbols="task").build(SIZES)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_recognised_and_new_vectors_are_not_those_of_the_folder(kind: str, tmp_path: Path) -> None:
    network = built(kind, tmp_path)
    above = layers_above([name for name, _ in network.named_parameters()], "network")
    tops = {name for name, number in above.items() if number == 0}
    assert 0 < len(tops) < len(above)
    network.requires_grad_(False)
    kept = LeftOut.of(network).kept(dict(network.named_parameters(remove_duplicate=False)))
    embeddings = [network.network.get_output_embeddings().weight, network.network.get_input_embeddings().weight]
    assert {id(each) for each in kept.values()} >= {id(each) for each in embeddings}
    assert {each.shape[0] for each in kept.values()} == {4 + SIZES.num_inputs + SIZES.num_labels}


def gradients(network: nn.Module, loss: Any) -> dict[str, Any]:
    torch.manual_seed(1)
    network.zero_grad()
    loss(network).backward()
    return {name: each.grad for name, each in network.named_parameters()}


@pytest.mark.parametrize("kind", ["t5", "bart", "bert"])
def test_an_encoder_that_is_computed_again_has_the_same_gradient_under_dropout(kind: str, tmp_path: Path) -> None:
    network = built(kind, tmp_path).train()
    targets = Sequences.of([[0, 2], [1, 1, 0]]).candidates()

    def loss(module: nn.Module) -> Any:
        return -module(INPUTS).log_prob(targets).sum()

    plain = gradients(network, loss)
    calls = []
    encoder = network.network.get_encoder()
    first = next(each for name, each in encoder.named_modules() if "layer" in name and isinstance(each, nn.Linear))
    first.register_forward_hook(lambda *_: calls.append("a layer"))
    network.checkpoint_activations()
    again = gradients(network, loss)
    assert len(calls) == 2
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-10, atol=1e-12)


def test_a_decoder_alone_refuses_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Trainer\.recompute needs an encoder, .* is a decoder"):
        built("gpt2", tmp_path).checkpoint_activations()


def test_a_tuned_encoder_is_computed_again_and_can_be_frozen_in_part(tmp_path: Path) -> None:
    folder = pretrained.saved(tmp_path / "bert", hidden_dropout_prob=0.3)
    encoder = PretrainedEncoder(path_or_name=str(folder), tune=True)
    network = encoder.build(SIZES, 8).train()
    none = Vocabularies(Vocabulary(()), Vocabulary(()))
    words = encoder.read([("bad", "a", "bed"), ("cab",)], none).gather(torch.tensor([0, 1]))

    def loss(module: nn.Module) -> Any:
        return module(words).square().sum()

    plain = gradients(network, loss)
    (layered,) = [each for each in network.modules() if isinstance(each, Recomputable)]
    layered.checkpoint_activations()
    again = gradients(network, loss)
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-4, atol=1e-5)
    layered.get_submodule("pretrained.embeddings").requires_grad_(False)
    left_out = LeftOut.of(network)
    assert left_out.owners
    assert all("embeddings" in name for name in left_out.owners)


def test_a_run_keeps_no_copy_of_an_encoder_that_is_frozen_for_good(tmp_path: Path) -> None:
    model = PretrainedSeq2Seq(path_or_name=saved("bart", tmp_path / "bart"), length_ratio=1.0, length_extra=1)
    experiment = Experiment(
        task=Copying(train=8, longest=3),
        model=model,
        objective=MaximumLikelihood(),
        optimiser=Adam(parts=(Part(name="network.model.encoder.layers", frozen=1.0),)),
        trainer=Trainer(epochs=1, batch_tokens=16),
    )
    run = train(experiment, root=tmp_path / "runs", device="cpu")
    names = dict(run.model.named_parameters())
    assert {name for name in names if name not in run.weights()} == {
        name for name in names if name.startswith("network.model.encoder.layers.")
    }
    assert run.sources == {"network": (model.path_or_name, model.fingerprint()[0])}
    again = Run.load(run.folder.path).decode([("a", "b")])
    assert again == run.decode([("a", "b")])
    assert replace(experiment, optimiser=Adam()).identity("data") != experiment.identity("data")
