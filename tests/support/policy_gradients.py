"""What tests of policy gradients and of their baselines share: tiny networks, and gradients as one vector."""

import torch
from torch import Tensor, nn

from structpred.objective import Objective
from structpred.sequences import Sequences
from structpred.testing.spaces import built, repeated, sizes_of, targets_for, tiny_models

INPUTS = Sequences.of([[0, 1]])
OTHERS = Sequences.of([[2, 1], [1, 1], [0, 0]])


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    parameters = list(network.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    zeros = (torch.zeros_like(each) for each in parameters)
    return torch.cat([(zero if each is None else each).flatten() for each, zero in zip(found, zeros, strict=True)])


def warmed(objective: Objective, network: nn.Module, targets: Sequences) -> nn.Module | None:
    """What the baseline learnt from a few steps on other inputs."""
    state = objective.state(sizes_of(2))
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        objective(network(OTHERS), repeated(targets, len(OTHERS)), state=state, generator=generator)
    return state


def prepared(name: str) -> tuple[nn.Module, Sequences]:
    model = tiny_models()[name]
    return built(model), targets_for(model, INPUTS)
