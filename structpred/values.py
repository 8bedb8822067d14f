"""Values as users give them: limits of numbers, and conversion to a declared type or one clear refusal."""

import math
import numbers
import os
import types
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from structpred.errors import ConfigError
from structpred.registry import article, nearest


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Limits of a number: ``above`` and ``below`` exclude the end, ``least`` and ``most`` include it."""

    above: int | float = -math.inf
    below: int | float = math.inf
    least: int | float = -math.inf
    most: int | float = math.inf

    def __contains__(self, value: int | float) -> bool:
        return self.above < value < self.below and self.least <= value <= self.most

    def __str__(self) -> str:
        limits = {"above": self.above, "below": self.below, "at least": self.least, "at most": self.most}
        return " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit))


Positive = Annotated[float, Interval(above=0)]
NotNegative = Annotated[float, Interval(least=0)]
Fraction = Annotated[float, Interval(least=0, below=1)]
LengthRatio = Annotated[float, Interval(above=0, most=1e6)]
"""Labels of an output for each symbol of its input: more is a typo, and may overflow the limits of a search."""

Count = Annotated[int, Interval(least=1)]
Few = Annotated[int, Interval(least=1, most=1000)]
"""Processes, threads, machines or seeds: more is a typo that would bring the machine down."""


def coerce(value: object, hint: Any, where: str) -> object:
    """Convert ``value`` to the type ``hint``.

    Raises:
        ConfigError: it is of another kind or outside its limits; the message names ``where``.
        TypeError: nothing is converted to this type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _limited(coerce(value, arguments[0], where), arguments[1:], where)
    if origin is Literal:
        return _choice(value, arguments, where)
    if origin is tuple:
        return _tuple(value, arguments, where)
    if origin in (Union, types.UnionType):
        return _optional(value, arguments, where)
    if hint in _COERCE:
        return _COERCE[hint](value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _instance(value, hint, where)
    raise TypeError(f"{where} has type {hint}, to which nothing is converted")


def _instance(value: object, hint: Any, where: str) -> object:
    """An instance of a dataclass, after conversion by its ``accept`` if it is a config."""
    accept = getattr(hint, "accept", None)
    made = value if accept is None or isinstance(value, hint) else accept(value)
    if isinstance(value, type) and issubclass(value, hint):
        raise ConfigError(f"{where} must be {article(hint.__name__)}, but got the class; write {value.__name__}()")
    return made if isinstance(made, hint) else refuse(where, article(hint.__name__), value)


def refuse(where: str, expected: str, value: object) -> Any:
    """Raise `ConfigError`: what was expected, of which argument, and what came."""
    raise ConfigError(f"{where} must be {expected}, but got {shown(value)}")


def shown(value: object) -> str:
    """A value's repr, cut after 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bool(value: object, where: str) -> bool:
    return value if isinstance(value, bool) else bool(refuse(where, "True or False", value))


def _int(value: Any, where: str) -> int:
    whole = isinstance(value, numbers.Integral) or _number(value).is_integer()
    if isinstance(value, bool) or not whole:
        refuse(where, "a whole number", value)
    number = int(value)  # not via float, which would lose digits
    if not -(2**63) <= number < 2**63:
        refuse(where, "a whole number of at most 64 bits", value)
    return number


def _float(value: Any, where: str) -> float:
    number = _number(value)
    if isinstance(value, bool) or not math.isfinite(number):
        refuse(where, "a finite number", value)
    return number + 0.0  # -0.0 becomes 0.0: the two are equal and must be written the same way


def _number(value: Any) -> float:
    """A real number as a float; NaN for anything else."""
    try:
        return float(value) if isinstance(value, numbers.Real) else math.nan
    except OverflowError:
        return math.inf


def _str(value: object, where: str) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        return str(refuse(where, "a text", value))
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        refuse(where, "a text that UTF-8 can write", value)  # the run's identity is computed from UTF-8
    return str.__str__(text)  # str() of a member of an Enum that is a str as well is the member's name


_COERCE: dict[object, Callable[[object, str], object]] = {bool: _bool, int: _int, float: _float, str: _str}


def _limited(value: object, limits: tuple[object, ...], where: str) -> object:
    for limit in limits:
        if isinstance(limit, Interval) and (not isinstance(value, int | float) or value not in limit):
            refuse(where, str(limit), value)
    return value


def _choice(value: object, choices: tuple[object, ...], where: str) -> object:
    plain = isinstance(value, numbers.Real | str | None)  # arrays equal nothing, or each of their numbers something
    equal = [choice for choice in choices if plain and choice == value]
    if not equal:
        hint = nearest(str(value), [str(choice) for choice in choices])
        raise ConfigError(f"{where} must be one of {', '.join(map(repr, choices))}, but got {shown(value)}; {hint}")
    # a choice and not the value itself: 1.0 equals 1 but is written differently, and True equals 1 as well
    return next((choice for choice in equal if type(choice) is type(value)), equal[0])


def _tuple(value: object, items: tuple[Any, ...], where: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple | range):
        return tuple(refuse(where, "a tuple", value))
    if Ellipsis not in items and len(value) != len(items):
        refuse(where, f"a tuple of {len(items)}", value)
    return tuple(coerce(each, items[0], f"{where}[{i}]") for i, each in enumerate(value))


def _optional(value: object, alternatives: tuple[Any, ...], where: str) -> object:
    if value is None and type(None) in alternatives:
        return None
    (hint,) = (alternative for alternative in alternatives if alternative is not type(None))
    return coerce(value, hint, where)
