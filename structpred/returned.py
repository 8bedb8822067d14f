"""Checks of the values that components return: a wrong shape broadcasts silently, a NaN spoils the weights.

Shapes, types and devices are always checked. Reading numbers on a device synchronises with it, so they are checked only
within `waiting`, which training enters at steps that synchronise anyway. Numbers in main memory are always checked.
"""

import contextlib
import math
import numbers
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import NoReturn

import torch
from torch import Tensor

from structpred.errors import ConfigError
from structpred.registry import article

LARGEST = torch.finfo(torch.float32).max
"""The largest number in single precision."""

_WAITS: ContextVar[bool | None] = ContextVar("waits", default=None)
"""Whether checks may synchronise with a device; None outside of training."""


@contextlib.contextmanager
def waiting(wanted: bool = True) -> Iterator[None]:
    """Within the block, also check numbers on a device (or do not)."""
    before = _WAITS.set(wanted)
    try:
        yield
    finally:
        _WAITS.reset(before)


def may_look(device: torch.device) -> bool:
    """Whether lengths may be compared: always in main memory; on a device unless the step must not synchronise.

    Lengths come from the data, which were checked when they were read, so it is enough to check in few steps.
    """
    return device.type == "cpu" or _WAITS.get() is not False


def refuse(what: str, expected: str, found: str, advice: str) -> NoReturn:
    """Raise `ConfigError`: what a component must return, what it returned, and what to do."""
    raise ConfigError(f"{what} must return {expected}, but returned {found}; {advice}")


def checked(
    found: object, shape: Sequence[int], *, what: str, axes: str, like: torch.device, finite: bool = True
) -> Tensor:
    """Check that a component returned a floating-point tensor of the right shape, and return it.

    Args:
        found: the returned value.
        shape: the expected shape.
        what: the class and its method, for messages.
        axes: the names of the axes, such as ``"[batch, candidates]"``.
        like: the expected device.
        finite: whether its numbers must be finite in single precision.

    Raises:
        ConfigError: the value is something else.
    """
    expected = f"a tensor {axes} of floating-point numbers"
    if not isinstance(found, Tensor):
        refuse(what, expected, described(found), "make it one")
    assert isinstance(found, Tensor)
    if tuple(found.shape) != tuple(shape):
        advice = "nothing is broadcast, so return a number for each"
        refuse(what, f"a tensor {axes} of shape {tuple(shape)}", f"one of shape {tuple(found.shape)}", advice)
    if not found.is_floating_point():
        refuse(what, expected, f"one of {found.dtype}", "convert it by .float()")
    if found.layout != torch.strided:
        refuse(what, expected, f"one of layout {found.layout}", "convert it by .to_dense()")
    if found.device != like:
        refuse(what, f"{expected} on {like}", f"one on {found.device}", "compute it where its arguments are")
    if finite and _may_read(like):
        _check_finite(found, what)
    return found


def check_lengths(lengths: Tensor, longest: int, what: str) -> None:
    """Check that lengths are within the outputs they are of; in main memory, as a device would have to synchronise.

    Raises:
        ConfigError: one is negative or beyond the time axis, and would reach into other outputs.
    """
    if lengths.device.type == "cpu" and lengths.numel():
        low, high = int(lengths.min()), int(lengths.max())
        if not 0 <= low <= high <= longest:
            expected = f"numbers from 0 to {longest}, the size of the time axis"
            refuse(f"{what}, lengths,", expected, f"{low} to {high}", "correct them")


def not_negative(found: Tensor, counted: Tensor, what: str, advice: str) -> Tensor:
    """Check that a tensor has no number below 0 where ``counted`` is True, and return it.

    Raises:
        ConfigError: it has one.
    """
    if _may_read(found.device) and bool((below := (found < 0) & counted).any()):
        place = below.nonzero()[0].tolist()
        refuse(what, "no negative numbers", f"{float(found[tuple(place)]):g} at {place}", advice)
    return found


def number(value: object, what: str) -> float:
    """Check that a component returned a number, finite in single precision, and return it.

    Raises:
        ConfigError: the value is something else.
    """
    advice = "return a float, and a low one for outputs that have no value"
    if not isinstance(value, numbers.Real):
        refuse(what, "a number", shortened(repr(value)), advice)
    try:
        found = float(value)
    except OverflowError:  # an integer beyond double precision
        found = math.inf
    if not abs(found) <= LARGEST:  # in this form NaN is refused as well
        refuse(what, "a number that is finite in single precision", shortened(repr(value)), advice)
    return found


def detached(found: Tensor, what: str) -> Tensor:
    """Check that a tensor requires no gradient, and return it.

    Raises:
        ConfigError: it does.
    """
    if found.requires_grad:
        refuse(what, "numbers without a gradient", "a tensor that requires one", "detach it")
    return found


def described(found: object) -> str:
    """A value that is no tensor, for messages.

    Examples:
        >>> described(None), described([0.5])
        ('None', 'a list: [0.5]')
    """
    if found is None:
        return "None"
    return f"{article(type(found).__name__)}: {shortened(repr(found))}"


def shortened(text: str, most: int = 80) -> str:
    """The text on one line, cut where it is longer than ``most`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _may_read(device: torch.device) -> bool:
    return device.type == "cpu" or bool(_WAITS.get())


def _check_finite(found: Tensor, what: str) -> None:
    if not found.numel():
        return
    low, high = found.detach().aminmax()  # one pass; NaN anywhere makes both NaN
    if float(low) >= -LARGEST and float(high) <= LARGEST:
        return
    place = (~(found.detach().abs() <= LARGEST)).nonzero()[0].tolist()
    value = float(found.detach()[tuple(place)])
    expected, advice = "numbers that are finite in single precision", "give the worst outputs a low number instead"
    refuse(what, expected, f"{value:g} at {place}", advice)
