"""Whether a network of transformers reads as its decoder here assumes: each is tried on a few symbols when built."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structpred.distributions.search import Decoder
from structpred.errors import DataError, StructpredError
from structpred.pretrained.library import quiet
from structpred.returned import shortened
from structpred.sequences import Sequences
from structpred.text import plain

SHORTER, LONGER, STEPS = 2, 5, 3
"""Symbols of the two inputs, and labels of the output, that a network is tried on."""
ROOM = LONGER + STEPS + 2
"""The positions that this takes."""

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


def fault(
    bound: Callable[[Sequences], Decoder],
    plainly: Callable[[Sequences, Int[Tensor, " steps"]], Float[Tensor, "steps symbols"]],
    inputs: Sequences,
    num_labels: int,
) -> str | None:
    """What scores depend on that they should not depend on, in words; None if there is nothing.

    Args:
        bound: the decoder over encoded inputs.
        plainly: the scores after each symbol of an output, which begins with the start (V), for one input, by one call
            of the network without padding and without kept keys and values.
        inputs: two, of `LONGER` and of `SHORTER` symbols.
        num_labels: V.
    """
    labels = torch.arange(STEPS) % num_labels
    outputs = Sequences(labels.repeat(2, 1, 1), torch.full((2, 1), STEPS))
    every = torch.arange(2 * (STEPS + 1))
    beside = bound(inputs).logits(outputs, every).view(2, STEPS + 1, -1)[1]
    alone = Sequences(inputs.labels[1:, :SHORTER], inputs.lengths[1:])
    decoder = bound(alone)
    scores = decoder.logits(Sequences(outputs.labels[1:], outputs.lengths[1:]), every[: STEPS + 1])
    if not alike(scores, beside):
        return "its scores of an output change with the padding of its input"
    previous = torch.cat([torch.tensor([num_labels]), labels])
    state, found = decoder.start(1), []
    for symbol in previous:
        after, state = decoder.step(symbol.view(1, 1), state)
        found.append(after.flatten())
    if not alike(scores, torch.stack(found)):
        return "its scores change when an output is read step by step"
    if not alike(scores, plainly(alone, previous)):
        return "its scores are others when it is called without kept keys and values"
    return None
