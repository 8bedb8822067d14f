"""Components in words, for readers of a report."""

import re
from dataclasses import MISSING, Field, fields
from typing import Any

from structpred.config import Config, hints, registered_name
from structpred.text import counted

BY_DEFAULT = "as by default"
"""Said of a component with all its fields at their defaults."""
_COUNTS = {"k": "output", "samples": "draw"}
"""Fields that are told in any case, and what they count."""


def in_words(config: Config, *, named: bool = False, bracketed: bool = False, whole: bool = False) -> str:
    """A component and its fields that are not at their defaults.

    Args:
        config: the component.
        named: call it by its registered name rather than by its class.
        bracketed: put the fields in parentheses, as for one that is named.
        whole: tell its components and its numbers too where they are at their defaults, but for numbers that are 0.
    """
    told = _told(config, whole)
    if config.family is None:
        return ", ".join(told) or BY_DEFAULT
    name = registered_name(config) if named else _spaced(type(config).__name__)
    return f"{name} ({', '.join(told)})" if told and (named or bracketed) else ", ".join([name, *told])


def _told(config: Config, whole: bool) -> list[str]:
    told: list[str] = []
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in _COUNTS and isinstance(value, int):
            told.append(f"{counted(value, _COUNTS[field.name])} per example")
            continue
        shown = isinstance(value, Config) and bool(_COUNTS.keys() & vars(value).keys())
        shown |= whole and (isinstance(value, Config) or (isinstance(value, float) and value != 0))
        if field.name not in hints(type(config)) or (_is_default(value, field) and not shown):
            continue
        told += _value(field.name.replace("_", " "), value, whole)
    return told


def _is_default(value: object, field: "Field[Any]") -> bool:
    return field.default is not MISSING and bool(value == field.default)


def _value(name: str, value: object, whole: bool) -> list[str]:
    if isinstance(value, Config):
        inner = _told(value, whole)
        if value.family is None:
            return inner
        return [_spaced(type(value).__name__) + (" baseline" if value.family.family == "baseline" else ""), *inner]
    if isinstance(value, tuple):
        return [part for each in value for part in _value(name, each, whole)]
    if value is None or isinstance(value, bool):
        return [name if value else f"no {name}"]
    return [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"]


def _spaced(name: str) -> str:
    """A class's name as words, with abbreviations as they are.

    Examples:
        >>> _spaced("LabelSmoothing"), _spaced("REINFORCE"), _spaced("LSTMTagger")
        ('label smoothing', 'REINFORCE', 'LSTM tagger')
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z\d]+|\d+", name)
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
