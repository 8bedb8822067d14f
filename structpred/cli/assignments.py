"""Experiments from words such as ``task=tsv task.train=pairs.tsv objective.epsilon=0.2``."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args, get_origin

from structpred.assignment import assign, family_of, made
from structpred.config import Config, Json, encode
from structpred.distributions.decoding import idle
from structpred.distributions.protocols import Decoding
from structpred.errors import ConfigError
from structpred.experiment import Experiment

NUMBER_WITHOUT_ZERO = re.compile(r"\.[0-9]+([eE][+-]?[0-9]+)?")
"""JSON requires a digit before the decimal point; users may omit it."""

DEFAULTS: dict[str, Json] = {
    "task": {"type": "pronunciation"},
    "model": {"type": "seq2seq"},
    "objective": {"type": "maximum-likelihood"},
}


def experiment(words: Iterable[str], base: Experiment | None = None) -> Experiment:
    """Apply assignments, in their order, to ``base`` or to the defaults.

    A component is chosen by its name (``objective=rml``), a field by its dotted name (``objective.payoff=hamming``).
    Assignments to task or model also apply to the experiment that ``base`` starts from, which must share them.

    Raises:
        ConfigError: a word is no assignment, names a field, class or value that does not exist, excludes another, or
            sets what has no effect.
    """
    chosen = list(words)
    built = _built(chosen, base)
    refuse_idle(chosen, [(Decoding() if base is None else base.decoding, built)])
    return built


def _built(chosen: Sequence[str], base: Experiment | None) -> Experiment:
    refuse_clashes(chosen)
    if "decoding.reward=null" in chosen and base is not None:  # without it, what it chose among has no effect
        decoding = replace(base.decoding, reward=None, candidates="n-best", num_candidates=Decoding().num_candidates)
        base = replace(base, decoding=decoding)
    tree: Json = json.loads(json.dumps(DEFAULTS)) if base is None else encode(base)
    for word in chosen:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise ConfigError(f"expected field=value, such as trainer.epochs=10, but got {word!r}")
        if name == "start" and text != "null":
            raise ConfigError(f"start can only be assigned null, but got {text!r}; use structpred train --start RUN")
        for node in _lineage(tree) if name.partition(".")[0] in ("task", "model") else (tree,):
            assign(node, Experiment, name, partial(_value, text))
        if name == "start" and isinstance(tree, dict):
            tree["start_seed"] = None
    built = made(tree, Experiment)
    refuse_two_conventions(chosen, built)
    return built


def _lineage(tree: Json) -> Iterator[Json]:
    """The tree of an experiment, of its start, of the start's start, and so on."""
    while isinstance(tree, dict):
        yield tree
        tree = tree.get("start")


def refuse_clashes(words: Iterable[str]) -> None:
    """Refuse a field that is assigned twice, or whose value a later word would undo.

    Raises:
        ConfigError: with both words in the message.
    """
    before: dict[str, str] = {}
    for word in words:
        field = _field(word)
        if field in before:
            raise ConfigError(f"{field} is assigned twice, by {before[field]!r} and by {word!r}; leave one out")
        undone = next((other for name, other in before.items() if name.startswith(f"{field}.")), None)
        if undone is not None:
            raise ConfigError(f"{word!r} would undo {undone!r} before it; put {word!r} first, or leave one out")
        before[field] = word


def refuse_two_conventions(words: Sequence[str], built: Experiment) -> None:
    """Refuse two assigned fields of which a component takes exactly one, such as two kinds of temperature.

    Args:
        words: assignments, including those of ranges.
        built: the experiment with the assignments applied.

    Raises:
        ConfigError: with both words in the message.
    """
    given: dict[tuple[str, ...], str] = {}
    for word in words:
        *above, last = _field(word).split(".")
        owner: object = built
        for name in above:
            owner = getattr(owner, name, None)
        if not isinstance(owner, Config) or last not in owner.exactly_one_of or word.endswith("=null"):
            continue
        other = given.setdefault(tuple(above), word)
        if other != word:
            kinds = ", ".join(owner.exactly_one_of)
            raise ConfigError(f"{'.'.join(above)} takes one of {kinds}, but got {other!r} and {word!r}; leave one out")


def refuse_idle(words: Iterable[str], changed: Sequence[tuple[Decoding, Experiment]]) -> None:
    """Refuse to change settings of the decoding that have no effect on any of the experiments, as a beam has on a CRF.

    The value that is there already may be assigned, as `structpred show` does with all of them.

    Args:
        words: assignments.
        changed: the decoding before, and the experiment with the assignments applied.

    Raises:
        ConfigError: with the word and the reason in the message.
    """
    for word in words:
        owner, _, field = _field(word).rpartition(".")
        reasons = [idle(each.decoding, each.model.distribution).get(field) for _, each in changed]
        if owner != "decoding" or not reasons or not all(reasons):
            continue
        if any(getattr(before, field) != getattr(each.decoding, field) for before, each in changed):
            model = type(changed[0][1].model).__name__
            raise ConfigError(f"{word!r} has no effect on the outputs of {model}: {reasons[0]}; leave it out")


def _field(word: str) -> str:
    return word.partition("=")[0]


def _value(text: str, hint: Any) -> Json:
    """A name for a component, text for a text field, else a JSON value such as 3, 0.1, ["a", "b"] or null."""
    if get_origin(hint) is tuple:
        return value_of(text)
    if text == "null":
        return None
    accepted = {hint, *get_args(hint)}
    is_text = str in accepted or isinstance(next(iter(get_args(hint)), None), str)
    return text if is_text or family_of(hint) is not None else value_of(text)


def value_of(text: str) -> Json:
    """A JSON value such as 3, 0.1 or true, or a number such as .1; else the text itself.

    Raises:
        ConfigError: it begins as a list or an object and is none.
    """
    try:
        value: Json = json.loads(f"0{text}" if NUMBER_WITHOUT_ZERO.fullmatch(text) else text)
    except json.JSONDecodeError as error:
        if not text.startswith(("[", "{")):
            return text
        why = f"{error.msg}, character {error.pos + 1}"
        raise ConfigError(f"{text!r:.80} must be JSON, but it cannot be read ({why}); correct it") from None
    except (ValueError, RecursionError):  # RecursionError: deeply nested brackets
        return text
    return value


def arms(words: Iterable[str], start: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Apply the assignments to every arm."""
    chosen = list(words)
    built = {name: _built(chosen, arm) for name, arm in start.items()}
    refuse_idle(chosen, [(start[name].decoding, each) for name, each in built.items()])
    return built
