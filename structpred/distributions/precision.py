"""Probabilities are computed in float32 or better, even if the network runs in half precision."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def at_least_float(scores: Tensor) -> Tensor:
    """float64 unchanged, everything else as float32."""
    return scores if scores.dtype == torch.float64 else scores.float()


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Matrix products inside this context keep the precision of their operands."""
    return torch.autocast(device.type, enabled=False)
