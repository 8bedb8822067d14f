"""Whether a network of transformers reads as it is read here, tried on a few symbols when it is built."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from structpred.errors import DataError, StructpredError
from structpred.pretrained.library import quiet
from structpred.returned import shortened
from structpred.text import plain

TOLERANCE = 1e-3
"""By how much two ways of computing scores may differ, over the scores' standard deviation."""


@contextmanager
def tried(name: str, config: Any) -> Iterator[None]:
    """A block that calls a network for the first time, without gradients.

    Raises:
        DataError: the call fails.
    """
    try:
        with quiet(), torch.no_grad():
            yield
    except StructpredError:
        raise
    except Exception as error:
        reason = shortened(plain(str(error)) or "no reason given", 120)
        raise refusal(name, config, f"calling it fails ({type(error).__name__}: {reason})") from error


def refusal(name: str, config: Any, why: str) -> DataError:
    """The error that says why a network cannot be used."""
    return DataError(f"{name} holds a network of the type {config.model_type}, which cannot be used: {why}")


def alike(one: Float[Tensor, "..."], other: Float[Tensor, "..."]) -> bool:
    """Whether two tensors are the same but for rounding; those that are not finite are left to others to refuse.

    Examples:
        >>> alike(torch.tensor([0.0, 1.0]), torch.tensor([1e-6, 1.0])), alike(torch.zeros(2), torch.ones(2))
        (True, False)
    """
    if one.shape != other.shape:
        return False
    if not bool(one.isfinite().all()):
        return True
    spread = max(float(one.std()), 1e-6) if one.numel() > 1 else 1.0
    return float((one - other).abs().max()) <= TOLERANCE * spread
