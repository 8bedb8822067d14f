"""Pretrained input encoders that are trained: their dropout, which of their layers learn, and encoders alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structpred.errors import ConfigError, DataError, Interrupted
from structpred.experiment import Experiment
from structpred.models import LSTMTagger
from structpred.objectives import MaximumLikelihood
from structpred.runs import train
from structpred.task import Sizes, loaded
from structpred.training import Adam, Trainer, checkpoint
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.trainer import Training
from structpred.vocabulary import Vocabularies

pytest.importorskip("transformers", reason="needs the extra pretrained: pip install structpred[pretrained]")

import transformers

from structpred.pretrained import PretrainedEncoder
from tests.support import networks
from tests.support.pretrained import SENTENCES, VOCABULARY, saved, word_pieces
from tests.support.tiny import Copying

SIZES = Sizes(num_inputs=2, num_labels=2, label_counts=(1, 1), references=1)
KNOWN = Vocabularies.of(SENTENCES, [("X", "Y")])


def tuned(folder: Path, **fields: Any) -> PretrainedEncoder:
    return PretrainedEncoder(path_or_name=str(folder), tune=True, **fields)


def experiment(encoder: PretrainedEncoder, *, recompute: bool = False) -> Experiment:
    return Experiment(
        task=Copying(train=12, longest=3),
        model=LSTMTagger(inputs=encoder, hidden=4, dropout=0.0),
        objective=MaximumLikelihood(),
        optimiser=Adam(lr=1e-2),
        trainer=Trainer(epochs=3, batch_tokens=16, recompute=recompute),
    )


def stop_at(question: int) -> Any:
    asked = iter(range(question))
    return lambda: next(asked, None) is None


def test_dropout_is_on_from_the_first_step_and_after_every_interruption(tmp_path: Path) -> None:
    """It once was off until dev had been scored, so that runs resumed within an epoch went on without."""
    one = experiment(tuned(saved(tmp_path / "bert", hidden_dropout_prob=0.3)))
    built = Training(one, EncodedData.of(loaded(one.task), one.model), device="cpu", observer=ignore)
    assert all(module.training for module in built.model.modules())
    asked: list[int] = []

    def never() -> bool:
        asked.append(1)
        return False

    undisturbed = train(one, root=tmp_path / "undisturbed", stopping=never)
    wanted = checkpoint.load(undisturbed.folder.weights)
    for question in range(1, len(asked) + 1, 2):
        root = tmp_path / str(question)
        with pytest.raises(Interrupted):
            train(one, root=root, stopping=stop_at(question))
        found = checkpoint.load(train(one, root=root).folder.weights)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted), question


def test_layers_are_computed_again_in_the_first_epoch_too(tmp_path: Path) -> None:
    one = experiment(tuned(saved(tmp_path / "bert")), recompute=True)
    training = Training(one, EncodedData.of(loaded(one.task), one.model), device="cpu", observer=ignore)
    calls: list[nn.Module] = []
    layers = [module for name, module in training.model.named_modules() if name.endswith("layer.0.attention")]
    layers[0].register_forward_hook(lambda module, *_: calls.append(module))
    training.rehearse(1)
    assert len(calls) == 2


def with_gradient(encoder: PretrainedEncoder) -> dict[str, bool]:
    """Of each weight, whether the states that are read depend on it, and it learns."""
    module = encoder.build(SIZES, 5)
    learns = {name: each.requires_grad for name, each in module.named_parameters()}
    module.requires_grad_(True)
    module(encoder.read(SENTENCES, KNOWN).gather(torch.arange(len(SENTENCES)))).sum().backward()
    used = {name: each.grad is not None for name, each in module.named_parameters()}
    assert [name for name in learns if used[name] and not learns[name]] == []
    return learns


def test_what_earlier_layers_use_learns_though_it_stands_behind_the_last(tmp_path: Path) -> None:
    """DeBERTa has one norm and one convolution, named beside its layers, that all of them or the first one use."""
    fields: dict[str, Any] = {
        "vocab_size": len(VOCABULARY), "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3,
        "num_attention_heads": 2, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8,
        "norm_rel_ebd": "layer_norm", "share_att_key": True, "conv_kernel_size": 3, "conv_act": "gelu",
        "position_biased_input": False, "type_vocab_size": 0, "max_position_embeddings": 64,
        "max_relative_positions": -1, "pad_token_id": 0,
    }  # fmt: skip
    config = transformers.DebertaV2Config(**fields)
    transformers.DebertaV2Model(config).save_pretrained(tmp_path)
    word_pieces().save_pretrained(tmp_path)
    learns = with_gradient(tuned(tmp_path, layers=(1,)))
    names = {name.partition("pretrained.")[2] for name, each in learns.items() if each}
    assert {"encoder.LayerNorm.weight", "encoder.conv.conv.weight"} <= names
    assert not any(name.startswith("encoder.layer.1") for name in names)


@pytest.mark.parametrize("kind", ["Bert", "GPT2", "T5", "Bart"])
def test_whatever_is_used_learns(kind: str, tmp_path: Path) -> None:
    learns = with_gradient(tuned(saved(tmp_path, kind), layers=(1,)))
    assert any(learns.values())
    assert not all(learns.values())


def test_the_encoder_of_an_encoder_decoder_may_stand_alone(tmp_path: Path) -> None:
    """As ``T5EncoderModel`` saves it; all that is missing is the decoder."""
    whole = saved(tmp_path / "whole", "T5")
    alone = tmp_path / "alone"
    transformers.T5EncoderModel.from_pretrained(whole).save_pretrained(alone)
    word_pieces().save_pretrained(alone)
    states = [
        encoder.build(SIZES, 5).eval()(encoder.read(SENTENCES, KNOWN).gather(torch.arange(len(SENTENCES))))
        for encoder in (tuned(whole), tuned(alone), replace(tuned(alone), tune=False))
    ]
    assert torch.equal(states[0], states[1])
    torch.testing.assert_close(states[1], states[2], rtol=0, atol=4e-3)


def test_a_decoder_without_its_weights_is_refused(tmp_path: Path) -> None:
    """OPT's layers are named as a decoder's, and nothing of them may be missing."""
    config = transformers.OPTConfig(
        vocab_size=len(VOCABULARY), hidden_size=8, ffn_dim=12, num_hidden_layers=2, num_attention_heads=2,
        word_embed_proj_dim=8, max_position_embeddings=20, pad_token_id=0,
    )  # fmt: skip
    network = transformers.OPTModel(config)
    weights = {name: each for name, each in network.state_dict().items() if ".layers.1." not in name}
    network.save_pretrained(tmp_path, state_dict=weights)
    word_pieces().save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"must hold all weights of OPTModel, but \d+ are absent"):
        tuned(tmp_path).build(SIZES, 5)


def test_two_networks_put_together_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold one network, but it holds an encoder and a decoder put together"):
        tuned(Path(networks.saved("bert", tmp_path))).build(SIZES, 5)


def test_layers_with_fewer_states_than_pieces_are_refused(tmp_path: Path) -> None:
    config = transformers.FunnelConfig(
        vocab_size=len(VOCABULARY), block_sizes=[1, 1], d_model=8, n_head=2, d_head=4, d_inner=12, num_decoder_layers=1,
        pad_token_id=0,
    )  # fmt: skip
    transformers.FunnelModel(config).save_pretrained(tmp_path)
    word_pieces().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"^layer 2 of a network of the type funnel has \d+ states for \d+ pieces"):
        tuned(tmp_path, layers=(-1,)).build(SIZES, 5)
