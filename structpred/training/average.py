"""A moving average of a network's weights (Polyak and Juditsky 1992, in its exponential form)."""

import copy

import torch
from torch import nn


class Average:
    """A second network whose weights follow those of the first: a ← a + (1 − d)(w − a) after each step.

    The decay d of step t is the smaller of ``decay`` and (1 + t) / (10 + t), so that the random weights of the
    beginning are soon forgotten, as TensorFlow's ExponentialMovingAverage does.

    Args:
        model: the network that is trained.
        decay: the larger, the longer the memory: about 1 / (1 − decay) steps.

    Attributes:
        model: the network with the averaged weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._pairs = list(zip(self.model.parameters(), model.parameters(), strict=True))
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def follow(self, steps: int) -> None:
        """Take in the weights after so many steps."""
        weight = 1 - min(self.decay, (1 + steps) / (10 + steps))
        for average, current in self._pairs:
            average.lerp_(current, weight)
        for buffer, content in self._buffers:
            buffer.copy_(content)
