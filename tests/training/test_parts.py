"""Parts of a network with settings of their own, and schedules by steps."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structpred.assignment import assigned
from structpred.config import encode
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.models import Seq2Seq, Transformer
from structpred.objective import Objective
from structpred.objectives import MaximumLikelihood
from structpred.training import Adam, Constant, Cosine, InverseSquareRoot, Linear, Part, Trainer
from structpred.training.data import EncodedData
from structpred.training.monitoring import ignore
from structpred.training.parts import Parts, layers_above
from structpred.training.settings import WarmupWarning
from structpred.training.trainer import Training
from tests.support.tiny import Copying
from tests.training.test_nonfinite import SometimesInfinite

TINY = Experiment(
    task=Copying(train=24),
    model=Seq2Seq(embedding=8, hidden=8, dropout=0.3),
    objective=MaximumLikelihood(),
    optimiser=Adam(lr=1e-2),
    trainer=Trainer(epochs=4, batch_tokens=30),
)
PREPARED = EncodedData.of(TINY.task.load(), TINY.model)


class Stack(nn.Module):
    """Embeddings, two numbered layers, a last normalisation and a head, named as in BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict(
            {
                "embeddings": nn.Embedding(3, 2),
                "layer": nn.ModuleList(nn.Linear(2, 2) for _ in range(2)),
                "normalised": nn.LayerNorm(2),
            }
        )
        self.head = nn.Linear(2, 2)


def training(*parts: Part, objective: Objective | None = None, **trainer: Any) -> Training:
    experiment = replace(
        TINY,
        optimiser=replace(TINY.optimiser, parts=parts),
        objective=objective or TINY.objective,
        trainer=replace(TINY.trainer, **trainer),
    )
    return Training(experiment, PREPARED, device="cpu", observer=ignore)


def steps(run: Training, number: int) -> None:
    """Train on, without scoring dev."""
    for _ in range(number):
        plan = run._plan()
        run._train(plan)
        run.position += 1
        if run.position == len(plan):
            run.epoch, run.position = run.epoch + 1, 0


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in module.state_dict().items()}


def test_groups_have_the_rates_and_weight_decays_of_their_parts() -> None:
    network = Stack()
    parts = (Part(name="body", lr=0.1, weight_decay=0.01, layer_decay=0.5), Part(name="head.bias", lr=3.0))
    optimiser = Adam(lr=0.2, weight_decay=0.3, decay_vectors=False, parts=parts)
    optimizer = optimiser.built(list(network.parameters()), Parts(network, parts, 1))
    names = {id(each): name for name, each in network.named_parameters()}
    settings = {
        names[id(each)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for each in group["params"]
    }
    assert settings == {
        "body.embeddings.weight": (0.025, 0.01),
        "body.layer.0.weight": (0.05, 0.01),
        "body.layer.0.bias": (0.05, 0.0),
        "body.layer.1.weight": (0.1, 0.01),
        "body.layer.1.bias": (0.1, 0.0),
        "body.normalised.weight": (0.1, 0.0),
        "body.normalised.bias": (0.1, 0.0),
        "head.weight": (0.2, 0.3),
        "head.bias": (3.0, 0.0),
    }
    optimiser.set_rates(optimizer, 0.51, 0)
    factor = optimiser.schedule.factor(0.51)
    assert 0 < factor < 1
    assert {group["lr"] for group in optimizer.param_groups} == {factor * rate for rate, _ in settings.values()}


@pytest.mark.parametrize(
    ("names", "above"),
    [
        (["shared.weight", "encoder.block.0.layer.1.o.weight", "encoder.block.1.layer.0.o.weight"], [2, 1, 0]),
        (["encoder.block.1.layer.0.o.weight", "encoder.norm.weight", "decoder.block.0.layer.2.o.weight"], [0, 0, 0]),
        (["wte.weight", "h.0.mlp.weight", "h.11.mlp.weight", "ln_f.bias"], [12, 11, 0, 0]),
        (["encoder.layernorm_embedding.bias", "encoder.layers.0.fc1.bias", "encoder.layers.2.fc1.bias"], [3, 2, 0]),
    ],
    ids=["t5", "t5, two stacks", "gpt2", "bart"],
)
def test_layers_are_counted_from_the_top_of_their_own_stack(names: Sequence[str], above: Sequence[int]) -> None:
    assert list(layers_above(names, "all").values()) == above


def test_the_layers_of_our_transformer_are_numbered() -> None:
    network = Transformer(hidden=4, heads=2, feedforward=4).build(PREPARED.training.sizes)
    above = layers_above([name for name, _ in network.named_parameters()], "all")
    assert above["encoder.0.itself.combined.weight"] == 2
    assert above["decoder.2.input.queries.weight"] == above["output.weight"] == 0


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([Part(name="bodi")], "'bodi' names no parameter of the network; .* such as body, head, body.embeddings"),
        ([Part(name="body"), Part(name="body.layer")], "must not overlap, but 'body' and 'body.layer' do"),
        ([Part(name="body", frozen=0.1), Part(name="head", frozen_epochs=1)], "freeze every weight of the network"),
        ([Part(name="head", layer_decay=0.9)], "needs layers that are numbered .* 'head' has only head.weight"),
    ],
)
def test_parts_that_cannot_be_are_refused_in_one_sentence(parts: list[Part], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Parts(Stack(), Adam(parts=parts).parts, 2)  # type: ignore[arg-type]  # a list becomes a tuple


def test_parts_that_share_a_weight_or_that_the_model_has_frozen_are_refused() -> None:
    network = Stack()
    network.head.weight = network.body["layer"][1].weight  # type: ignore[index]
    with pytest.raises(ConfigError, match=r"'body' and 'head' share the parameter head\.weight"):
        Parts(network, (Part(name="body"), Part(name="head")), 1)
    network.requires_grad_(False)
    with pytest.raises(ConfigError, match="has no weights to train, because the model itself"):
        Parts(network, (Part(name="body"),), 1)


def test_a_frozen_part_stays_as_it_is_until_its_time_and_then_is_trained() -> None:
    run = training(
        Part(name="encoder", frozen_epochs=1), Part(name="bridge", frozen=0.5), Part(name="keys", frozen_epochs=4)
    )
    before, batches = copied(run.model), len(run._plan())
    network: Any = run.model
    optimizer = run.stepper.optimizer
    late = {"encoder": list(network.encoder.parameters()), "bridge": list(network.bridge.parameters())}
    steps(run, batches)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith(("encoder.", "bridge.", "keys.")), name
    assert not any(each in optimizer.state for part in late.values() for each in part)
    steps(run, 1)
    assert all(each in optimizer.state for each in late["encoder"])
    assert not any(each in optimizer.state or each.requires_grad for each in late["bridge"])
    steps(run, batches)
    assert all(each in optimizer.state for part in late.values() for each in part)
    run.rehearse(1)  # as if every epoch were over
    assert torch.equal(network.state_dict()["keys.weight"], before["keys.weight"])
    assert not network.keys.weight.requires_grad
    assert not any(each is network.keys.weight for group in optimizer.param_groups for each in group["params"])


def test_a_run_with_parts_resumes_bit_for_bit() -> None:
    total, stop = 11, 5  # the encoder is trained from step 4 on, the output layer from step 10 on
    parts = (Part(name="encoder", lr=1e-3, frozen_epochs=1), Part(name="output", weight_decay=0.1, frozen=0.6))
    undisturbed = training(*parts, average=0.9, accumulate=2)  # seeds torch's own stream, which dropout uses
    steps(undisturbed, total)
    interrupted = training(*parts, average=0.9, accumulate=2)
    steps(interrupted, stop)
    state = interrupted.state()
    resumed = training(*parts, average=0.9, accumulate=2)
    resumed.restore(state)
    steps(resumed, total - stop)
    for one, other in ((undisturbed.model, resumed.model), (undisturbed.stepper.scored, resumed.stepper.scored)):
        assert all(torch.equal(value, copied(other)[name]) for name, value in copied(one).items())


def test_a_step_that_is_skipped_leaves_a_part_as_it_was_though_its_time_has_come() -> None:
    run = training(Part(name="encoder", frozen_epochs=1), objective=SometimesInfinite(every=5))
    assert len(run._plan()) == 4  # so that the first step with the part is the one that is skipped
    steps(run, 4)
    before = copied(run.model)
    steps(run, 1)
    assert int(run.guard.skipped) == 1
    assert all(torch.equal(value, before[name]) for name, value in copied(run.model).items())
    steps(run, 1)
    assert not torch.equal(copied(run.model)["encoder.end"], before["encoder.end"])


def test_fields_at_their_defaults_are_no_part_of_an_identity() -> None:
    assert not {"parts", "decay_vectors"} & set(encode(Adam(), versions=True))  # type: ignore[arg-type]
    assert "warmup_steps" not in encode(Cosine(), versions=True)  # type: ignore[operator]
    assert "parts" in encode(Adam(parts=(Part(name="head"),)), versions=True)  # type: ignore[operator]


def test_parts_are_assigned_from_the_command_line() -> None:
    chosen = assigned(TINY, {"optimiser.parts": [{"name": "encoder", "layer_decay": 0.9}]})
    assert chosen.optimiser.parts == (Part(name="encoder", layer_decay=0.9),)
    assert Experiment.from_json(chosen.to_json()) == chosen


def test_warm_up_by_steps_is_that_by_share_of_the_same_length() -> None:
    total, warmup = 40, 8
    for by_share, by_steps in [
        (Linear(warmup=0.2), Linear(warmup_steps=warmup)),
        (Cosine(warmup=0.2), Cosine(warmup_steps=warmup)),
        (InverseSquareRoot(warmup=0.2), InverseSquareRoot(warmup_steps=warmup)),
        (Constant(warmup=0.2), Constant(warmup_steps=warmup)),
    ]:
        for step in range(total):
            assert by_steps.factor(step / total, step) == pytest.approx(by_share.factor(step / total)), (by_steps, step)
    assert Linear(warmup=0.2).factor(0.6) == pytest.approx(0.5)
    assert Linear(warmup=0.2).factor(1.0) == 0.0
    assert Linear(warmup_steps=3).factor(1.0, 3) == 1.0


def test_two_warm_ups_are_refused_by_training_but_still_read() -> None:
    both = replace(TINY, optimiser=Adam(schedule=Linear(warmup=0.2, warmup_steps=8)))
    assert Experiment.from_json(both.to_json()) == both, "older versions trained such runs"
    with pytest.raises(
        ConfigError, match=r"^Linear.warmup has no effect beside warmup_steps, but 0.2 and 8 are given; leave one of th"
    ):
        Training(both, PREPARED, device="cpu", observer=ignore)


@pytest.mark.parametrize(("limit", "steps"), [(None, 16), (5, 5)], ids=["by epochs", "by max_steps"])
def test_a_warm_up_that_training_never_finishes_gives_a_warning(limit: int | None, steps: int) -> None:
    """Four epochs of four batches; the weights are those without the warning."""

    def trained(warmup: int) -> Training:
        experiment = replace(
            TINY,
            optimiser=Adam(lr=1e-2, schedule=Linear(warmup_steps=warmup)),
            trainer=replace(TINY.trainer, max_steps=limit),
        )
        made = Training(experiment, PREPARED, device="cpu", observer=ignore)
        made.run(save=lambda state: None, save_every=1e9, stopping=lambda: False)
        return made

    assert trained(steps).steps == steps, "a warm-up as long as training is silent"
    with pytest.warns(
        WarmupWarning, match=rf"^Linear.warmup_steps is {steps * 100}, .* about {steps} steps, at 0.01 of"
    ):
        trained(steps * 100)
