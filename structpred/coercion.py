"""Values of the kinds a config can hold: numbers by their type and limits, texts, choices, tuples, other configs."""

import math
import numbers
import os
import types
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from structpred.errors import ConfigError
from structpred.registry import nearest


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
Fraction = Annotated[float, Interval(least=0, below=1)]
Count = Annotated[int, Interval(least=1)]
Few = Annotated[int, Interval(least=1, most=1000)]
"""Processes, threads, machines or seeds: more is a slip of the finger that would bring the machine down."""


def coerce(value: object, hint: Any, where: str) -> object:
    """``value`` as the type ``hint`` asks.

    Raises:
        ConfigError: it is of another kind or outside its limits; the message names ``where``.
        TypeError: the type is none that a config can hold.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _limited(coerce(value, arguments[0], where), arguments[1:], where)
    if origin is Literal:
        return _choice(value, arguments, where)
    if origin is tuple:
        return _tuple(value, arguments[0], where)
    if origin in (Union, types.UnionType):
        return _optional(value, arguments, where)
    if hint in _COERCE:
        return _COERCE[hint](value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _instance(value, hint, where)
    raise TypeError(f"{where} has type {hint}, which a Config cannot hold; see structpred.config")


def _as_it_is(value: object) -> object:
    return value


def _instance(value: object, hint: Any, where: str) -> object:
    """An instance of a class, or what `structpred.config.Config.accept` makes one of."""
    made = value if isinstance(value, hint) else getattr(hint, "accept", _as_it_is)(value)
    if isinstance(value, type) and issubclass(value, hint):
        raise ConfigError(f"{where} must be {article(hint.__name__)}, but got the class; write {value.__name__}()")
    return made if isinstance(made, hint) else refuse(where, article(hint.__name__), value)


def refuse(where: str, expected: str, value: object) -> Any:
    """Say what was expected where, and what came.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(f"{where} must be {expected}, but got {shown(value)}")


def shown(value: object) -> str:
    """A value as it is written in Python, cut after 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def article(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'AEIOU' else 'a'} {noun}"


def _bool(value: object, where: str) -> bool:
    return value if isinstance(value, bool) else bool(refuse(where, "True or False", value))


def _int(value: Any, where: str) -> int:
    whole = isinstance(value, numbers.Integral) or _number(value).is_integer()
    if isinstance(value, bool) or not whole:
        refuse(where, "a whole number", value)
    number = int(value)  # not by way of float, which would lose digits
    if not -(2**63) <= number < 2**63:
        refuse(where, "a whole number of at most 64 bits", value)
    return number


def _float(value: Any, where: str) -> float:
    number = _number(value)
    if isinstance(value, bool) or not math.isfinite(number):
        refuse(where, "a finite number", value)
    return number + 0.0  # -0.0 becomes 0.0: the two are equal and must be written alike


def _number(value: Any) -> float:
    """A real number as a float, and anything else as not a number."""
    try:
        return float(value) if isinstance(value, numbers.Real) else math.nan
    except OverflowError:
        return math.inf


def _str(value: object, where: str) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        return str(refuse(where, "a text", value))
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        refuse(where, "a text that UTF-8 can write", value)  # else the run's identity cannot be computed
    return str(text)


_COERCE: dict[object, Callable[[object, str], object]] = {bool: _bool, int: _int, float: _float, str: _str}


def _limited(value: object, limits: tuple[object, ...], where: str) -> object:
    assert isinstance(value, int | float)
    for limit in limits:
        if isinstance(limit, Interval) and value not in limit:
            refuse(where, str(limit), value)
    return value


def _choice(value: object, choices: tuple[object, ...], where: str) -> object:
    if value not in choices:
        hint = nearest(str(value), [str(choice) for choice in choices])
        raise ConfigError(f"{where} must be one of {', '.join(map(repr, choices))}, but got {value!r}; {hint}")
    return choices[choices.index(value)]  # not the value itself: 1.0 equals 1 but is written otherwise


def _tuple(value: object, item: Any, where: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple | range):
        return tuple(refuse(where, "a tuple", value))
    return tuple(coerce(each, item, f"{where}[{i}]") for i, each in enumerate(value))


def _optional(value: object, exactly_one_of: tuple[Any, ...], where: str) -> object:
    if value is None and type(None) in exactly_one_of:
        return None
    (hint,) = (alternative for alternative in exactly_one_of if alternative is not type(None))
    return coerce(value, hint, where)
