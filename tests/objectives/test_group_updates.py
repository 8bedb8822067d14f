"""GRPO with several updates on the same samples: the ratios, what clipping stops, and what the gradient then is."""

import json
import math
from dataclasses import replace
from itertools import product
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from structpred.config import encode
from structpred.distributions.protocols import TokenLogProbs
from structpred.errors import ConfigError
from structpred.objective import Losses, Requirement
from structpred.objectives import (
    GRPO,
    KLToRun,
    MaximumLikelihood,
    Point,
    Switch,
    SwitchOut,
    Weighted,
    WeightedSum,
)
from structpred.objectives.group_relative import clipped, relative
from structpred.rewards import EditDistance
from structpred.sequences import Sequences
from structpred.testing.spaces import built, every_output, targets_for, tiny_models

INPUTS = Sequences.of([[0, 1], [2, 0], [1, 1]])
Ratio = Literal["token", "sequence"]
Length = Literal["mean", "kept"]
WAYS: list[tuple[str, Ratio, Length]] = [
    ("seq2seq", "token", "mean"),
    ("lstm-tagger", "token", "kept"),
    ("seq2seq", "sequence", "mean"),
    ("crf", "sequence", "kept"),
]


def gradient(values: Tensor, network: nn.Module) -> Tensor:
    found = torch.autograd.grad(values.sum(), list(network.parameters()), allow_unused=True, retain_graph=True)
    pairs = zip(network.parameters(), found, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])


def moved(network: nn.Module, by: float) -> nn.Module:
    """The network after some learning: its weights moved at random."""
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in network.parameters():
            each.add_(by * torch.randn(each.shape, generator=source, dtype=each.dtype))
    return network


def first(objective: GRPO, network: nn.Module, targets: Sequences) -> Losses:
    return objective(network(INPUTS), targets, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1.1, 2.0, 2.2, 2.2),
        (1.5, 2.0, 2.4, 0.0),  # good and already more probable: no push
        (0.5, 2.0, 1.0, 1.0),
        (0.9, -2.0, -1.8, -1.8),
        (0.5, -2.0, -1.6, 0.0),  # bad and already less probable: no push
        (1.5, -2.0, -3.0, -3.0),
        (1.5, 0.0, 0.0, 0.0),
        (math.inf, 2.0, 2.4, 0.0),
    ],
)
def test_clipping_stops_what_has_gone_far_enough_and_nothing_else(
    ratio: float, advantage: float, value: float, slope: float
) -> None:
    """By hand; the slope is that in the logarithm of the ratio, ρ A."""
    log_ratio = torch.full((1, 1, 1), math.log(ratio), dtype=torch.float64, requires_grad=True)
    found, flat = clipped(log_ratio, torch.full((1, 1), advantage, dtype=torch.float64), 0.2)
    (derivative,) = torch.autograd.grad(found.sum(), log_ratio)
    assert found.item() == pytest.approx(value, abs=1e-12)
    assert derivative.item() == pytest.approx(slope, abs=1e-12)
    assert flat.item() == (slope == 0 and advantage != 0), "without an advantage nothing is held back"


@pytest.mark.parametrize(("name", "ratio", "length"), WAYS)
def test_at_the_same_weights_every_update_has_the_gradient_of_one(name: str, ratio: Ratio, length: Length) -> None:
    model = tiny_models()[name]
    network, targets = built(model), targets_for(model, INPUTS)
    several = GRPO(updates=3, ratio=ratio, length=length)
    one, begun = first(GRPO(length=length), network, targets), first(several, network, targets)
    later = several(network(INPUTS), targets, kept=begun.kept)
    wanted = gradient(one.values, network)
    assert wanted.norm() > 0.01
    assert not one.kept
    for each in (begun, later):
        torch.testing.assert_close(each.values, one.values)
        torch.testing.assert_close(gradient(each.values, network), wanted, rtol=0, atol=1e-12)
    assert later.diagnostics["clipped"].tolist() == [0.0] * len(targets)


@pytest.mark.parametrize(("name", "ratio", "length"), WAYS)
def test_a_later_update_is_the_paper_s_formula_one_symbol_after_another(
    name: str, ratio: Ratio, length: Length
) -> None:
    model = tiny_models()[name]
    network, targets = built(model), targets_for(model, INPUTS)
    objective = GRPO(updates=2, ratio=ratio, length=length, samples=6, clip=0.1)
    kept = first(objective, network, targets).kept
    outputs = Sequences(kept["labels"], kept["lengths"], kept.get("ended"))
    old = scores(network(INPUTS), outputs, ratio).detach()
    p = moved(network, 0.3)(INPUTS)
    found = objective(p, targets, kept=kept)
    new = scores(p, outputs, ratio)
    advantages = relative(EditDistance().score(outputs, targets).double(), "deviation").tolist()
    loss, flat = torch.zeros((), dtype=torch.float64), 0
    for i, j in product(range(len(targets)), range(6)):
        symbols = max(int(outputs.lengths[i, j]) + (not p.fixed_length and bool(kept["ended"][i, j])), 1)
        root, weight = (symbols, 1) if ratio == "sequence" else (1, symbols)
        if length == "kept":
            root = weight = 1
        for change in (new - old)[i, j] / root:
            rho, advantage = change.exp(), advantages[i][j]
            bounded = rho.clamp(0.9, 1.1) * advantage
            flat += bool(bounded < rho * advantage)
            loss = loss - torch.minimum(rho * advantage, bounded) / weight / 6
    assert flat >= 2
    assert float(found.diagnostics["clipped"].sum()) > 0
    torch.testing.assert_close(gradient(found.values, network), gradient(loss, network), rtol=0, atol=1e-10)


def scores(p: Any, outputs: Sequences, ratio: Ratio) -> Tensor:
    found: Tensor = p.token_log_probs(outputs) if ratio == "token" else p.log_prob(outputs).unsqueeze(-1)
    return found


@pytest.mark.parametrize("name", ["crf", "seq2seq"])
def test_whole_ratios_make_up_for_old_samples(name: str) -> None:
    """Unclipped and not normalised, its mean over all pairs of old samples is the new gradient of −E_p[r], halved."""
    model, inputs = tiny_models()[name], Sequences.of([[0, 1]])
    network, target = built(model), targets_for(model, inputs)
    every = every_output(network(inputs), 2)
    log_old = network(inputs).log_prob(every)[0].detach()
    rewards = EditDistance().score(every, target)[0].double()
    network = moved(network, 0.5)
    log_new = network(inputs).log_prob(every)[0]
    assert (log_new - log_old).abs().max() > 0.2
    truth = gradient(-(log_new.exp() * rewards).sum(), network)
    rows = torch.tensor(list(product(range(len(rewards)), repeat=2)))
    kept = {
        "labels": every.labels[0, rows],
        "lengths": every.lengths[0, rows],
        "rewards": rewards[rows],
        "log_probs": log_old[rows].unsqueeze(-1),
    } | ({} if every.ended is None else {"ended": every.ended[0, rows]})
    same = torch.zeros(len(rows), dtype=torch.long)
    objective = GRPO(samples=2, scale="none", length="kept", updates=2, ratio="sequence", clip=1e9)
    values = objective(network(inputs.select(same)), target.select(same), kept=kept).values
    found = gradient(log_old[rows].sum(1).exp() * values, network)
    torch.testing.assert_close(found, truth / 2, rtol=0, atol=1e-9)


def test_parts_of_a_sum_count_in_every_update() -> None:
    model = tiny_models()["seq2seq"]
    network, targets = built(model), targets_for(model, INPUTS)
    several = GRPO(updates=2)
    both = WeightedSum(parts=(Weighted(objective=several), Weighted(objective=MaximumLikelihood(), weight=0.5)))
    assert both.updates == 2
    begun = both(network(INPUTS), targets, generator=torch.Generator().manual_seed(0))
    kept = first(several, network, targets).kept
    p = moved(network, 0.1)(INPUTS)
    found = both(p, targets, kept=begun.kept).values
    wanted = several(p, targets, kept=kept).values + 0.5 * MaximumLikelihood()(p, targets).values
    torch.testing.assert_close(gradient(found, network), gradient(wanted, network), rtol=0, atol=1e-12)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"GRPO\.clip and GRPO\.ratio matter only from the second update .* updates=1"
    ):
        GRPO(clip=0.1)
    by_symbol = Requirement(TokenLogProbs, "GRPO with updates > 1", "ratio='sequence'")
    assert by_symbol in GRPO(updates=2).requirements()
    assert by_symbol not in (*GRPO().requirements(), *GRPO(updates=2, ratio="sequence").requirements())
    two, four = GRPO(updates=2), GRPO(updates=4)
    WeightedSum(parts=(Weighted(objective=two), Weighted(objective=KLToRun(run="runs/start"))))
    with pytest.raises(ConfigError, match=r"a WeightedSum share the updates .* GRPO makes 2 and GRPO makes 4; set"):
        WeightedSum(parts=(Weighted(objective=two), Weighted(objective=four, name="other")))
    with pytest.raises(ConfigError, match=r"GRPO makes several updates .* 'switch-out' would put other noise"):
        WeightedSum(parts=(Weighted(objective=two), Weighted(objective=SwitchOut())))
    with pytest.raises(ConfigError, match=r"a Switch share .* MaximumLikelihood makes 1 and GRPO makes 2; use two exp"):
        Switch(first=MaximumLikelihood(), second=two, at=Point(step=3))
    Switch(first=two, second=replace(two, samples=2), at=Point(step=3))


def test_one_update_has_the_identity_that_it_had() -> None:
    def said(objective: GRPO) -> str:
        return json.dumps(encode(objective, versions=True))

    assert not any(name in said(GRPO()) for name in ("updates", "clip", "ratio"))
    assert len({said(GRPO()), said(GRPO(updates=2)), said(GRPO(updates=2, ratio="sequence"))}) == 3
