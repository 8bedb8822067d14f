"""What components return, checked where it is received: a wrong shape broadcasts in silence, a NaN spoils weights.

Shapes, types and devices are known to Python and always checked. To look at numbers a device has to be waited for, so
numbers on a device are checked only within `waiting`, which training enters where it waits in any case; those in main
memory are checked always.
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

LARGEST = torch.finfo(torch.float32).max
"""What single precision holds."""

_WAITS: ContextVar[bool | None] = ContextVar("waits", default=None)
"""Whether a device may be waited for; None where nobody has said, which is outside of training."""


@contextlib.contextmanager
def waiting(wanted: bool = True) -> Iterator[None]:
    """Look at numbers on a device as well for the time of a block, or do not."""
    before = _WAITS.set(wanted)
    try:
        yield
    finally:
        _WAITS.reset(before)


def may_look(device: torch.device) -> bool:
    """Whether lengths may be compared: in main memory always, on a device unless a step must not wait for it.

    Lengths come from the data, which were checked when they were read, so that few steps need to look.
    """
    return device.type == "cpu" or _WAITS.get() is not False


def refuse(what: str, expected: str, found: str, advice: str) -> NoReturn:
    """Say in one sentence what a component returned instead of what it should.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(f"{what} must return {expected}, but returned {found}; {advice}")


def checked(
    found: object, shape: Sequence[int], *, what: str, axes: str, like: torch.device, finite: bool = True
) -> Tensor:
    """A tensor that a component returned, once it is sure that it is one of floating-point numbers and of that shape.

    Args:
        found: what was returned.
        shape: what its shape must be.
        what: the class and its method, for messages.
        axes: the names of the axes, such as ``"[batch, candidates]"``.
        like: where it must be.
        finite: whether its numbers must be finite, in single precision.

    Raises:
        ConfigError: it is something else.
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
    if finite and (like.type == "cpu" or _WAITS.get()):
        _check_finite(found, what)
    return found


def number(value: object, what: str) -> float:
    """A number that a component returned, once it is sure that it is one and finite in single precision.

    Raises:
        ConfigError: it is something else.
    """
    advice = "return a float, and a low one for outputs that have no value"
    if not isinstance(value, numbers.Real):
        refuse(what, "a number", shortened(repr(value)), advice)
    try:
        found = float(value)
    except OverflowError:  # a whole number beyond double precision
        found = math.inf
    if not abs(found) <= LARGEST:  # in this order NaN is refused as well
        refuse(what, "a number that is finite in single precision", shortened(repr(value)), advice)
    return found


def detached(found: Tensor, what: str) -> Tensor:
    """A tensor that must carry no gradient.

    Raises:
        ConfigError: it does.
    """
    if found.requires_grad:
        refuse(what, "numbers without a gradient", "a tensor that requires one", "detach it")
    return found


def described(found: object) -> str:
    """Something that is no tensor, for messages.

    >>> described(None), described([0.5])
    ('None', 'a list: [0.5]')
    """
    if found is None:
        return "None"
    return f"a {type(found).__name__}: {shortened(repr(found))}"


def shortened(text: str) -> str:
    """At most 80 characters on one line."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _check_finite(found: Tensor, what: str) -> None:
    if not found.numel():
        return
    low, high = found.detach().aminmax()  # one pass; both are NaN where anything is
    if float(low) >= -LARGEST and float(high) <= LARGEST:
        return
    place = (~(found.detach().abs() <= LARGEST)).nonzero()[0].tolist()
    value = float(found.detach()[tuple(place)])
    expected, advice = "numbers that are finite in single precision", "give the worst outputs a low number instead"
    refuse(what, expected, f"{value:g} at {place}", advice)
