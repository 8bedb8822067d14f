"""Experiments from words such as ``task=tsv task.train=pairs.tsv objective.epsilon=0.2``."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, get_args, get_origin

from structpred.config import Config, Json, decode, encode, hints
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.registry import nearest

NUMBER_WITHOUT_ZERO = re.compile(r"\.[0-9]+([eE][+-]?[0-9]+)?")
"""JSON wants a digit before the point; people need none."""

DEFAULTS: dict[str, Json] = {
    "task": {"type": "pronunciation"},
    "model": {"type": "seq2seq"},
    "objective": {"type": "maximum-likelihood"},
}


def experiment(words: Iterable[str], base: Experiment | None = None) -> Experiment:
    """An experiment from assignments, in their order, to ``base`` or to the defaults.

    A family is chosen by name (``objective=rml``), a field by its dotted name (``objective.payoff=hamming``). What is
    assigned to task or model is assigned to the experiment that ``base`` starts from too, which must share them.

    Raises:
        ConfigError: a word is no assignment, or names a field, a class or a value that does not exist; or two words
            exclude each other.
    """
    chosen = list(words)
    refuse_clashes(chosen)
    tree: Json = json.loads(json.dumps(DEFAULTS)) if base is None else encode(base)
    for word in chosen:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise ConfigError(f"expected field=value, such as trainer.epochs=10, but got {word!r}")
        if name == "start" and text != "null":
            raise ConfigError(f"start can only be assigned null, but got {text!r}; use structpred train --start RUN")
        field, *deeper = name.split(".")
        for node in _lineage(tree) if field in ("task", "model") else (tree,):
            _assign(node, Experiment, [field, *deeper], text, name)
    try:
        built = decode(tree, Experiment, "experiment")
    except ConfigError as error:  # the user wrote trainer.epochs=0, so that is what it should be called
        raise ConfigError(str(error).removeprefix("experiment.")) from None
    assert isinstance(built, Experiment)
    refuse_two_conventions(chosen, built)
    return built


def _lineage(tree: Json) -> Iterator[Json]:
    """The tree of an experiment, that of what it starts from, and so on."""
    while isinstance(tree, dict):
        yield tree
        tree = tree.get("start")


def _assign(node: Json, hint: Any, path: list[str], text: str, name: str) -> None:
    """Put the value that ``text`` stands for at ``path`` below ``node``, which stands for a ``hint``."""
    cls = _class(node, hint)
    assert isinstance(node, dict)
    known = hints(cls)
    field, *deeper = path
    if field not in known:
        raise ConfigError(f"{name}: {cls.__name__} has no field {field!r}; {nearest(field, list(known))}")
    if deeper:
        if field not in node:
            node[field] = _default(cls, field)
        if not isinstance(node[field], dict):
            raise ConfigError(f"{name}: {field!r} of {cls.__name__} has no fields of its own")
        _assign(node[field], known[field], deeper, text, name)
        return
    for alternative in cls.alternatives if field in cls.alternatives and text != "null" else ():
        node[alternative] = None
    node[field] = _value(text, known[field])


def refuse_clashes(words: Iterable[str]) -> None:
    """Refuse a field that is assigned twice, and one whose value a later word would undo.

    Raises:
        ConfigError: naming both words.
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


def refuse_two_conventions(words: Sequence[str], made: Experiment) -> None:
    """Refuse words that give two fields of which a component takes exactly one, such as two kinds of temperature.

    Args:
        words: assignments, of ranges too.
        made: the experiment with the assignments.

    Raises:
        ConfigError: naming both words.
    """
    given: dict[tuple[str, ...], str] = {}
    for word in words:
        *above, last = _field(word).split(".")
        owner: object = made
        for name in above:
            owner = getattr(owner, name, None)
        if not isinstance(owner, Config) or last not in owner.alternatives or word.endswith("=null"):
            continue
        other = given.setdefault(tuple(above), word)
        if other != word:
            kinds = ", ".join(owner.alternatives)
            raise ConfigError(f"{'.'.join(above)} takes one of {kinds}, but got {other!r} and {word!r}; leave one out")


def _field(word: str) -> str:
    return word.partition("=")[0]


def _class(node: Json, hint: Any) -> type[Config]:
    """The class a tree stands for: named in the tree where the field takes a family, else the field's own."""
    alternatives = [hint, *get_args(hint)]
    cls = next(each for each in alternatives if isinstance(each, type) and issubclass(each, Config))
    if cls.family is not None and isinstance(node, dict):
        return cls.family[str(node.get("type"))]
    return cls


def _default(cls: type[Config], name: str) -> Json:
    default = next(field.default for field in fields(cls) if field.name == name)
    if isinstance(default, Config):
        return encode(default)
    return {} if default is MISSING else None


def _value(text: str, hint: Any) -> Json:
    """A name for a family, a text where the field takes one, else a JSON value such as 3, 0.1, ["a", "b"] or null."""
    if get_origin(hint) is tuple:
        return value_of(text)
    accepted = {hint, *get_args(hint)}
    if any(isinstance(each, type) and issubclass(each, Config) and each.family for each in accepted):
        return {"type": text}
    if text == "null" or (str not in accepted and not isinstance(next(iter(get_args(hint)), None), str)):
        return value_of(text)
    return text


def value_of(text: str) -> Json:
    """A JSON value such as 3, 0.1 or true, a number such as .1, else the text itself."""
    try:
        value: Json = json.loads(f"0{text}" if NUMBER_WITHOUT_ZERO.fullmatch(text) else text)
    except (ValueError, RecursionError):  # RecursionError: brackets without end
        return text
    return value


def arms(words: Iterable[str], start: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Every arm with the assignments made to it."""
    chosen = list(words)
    return {name: experiment(chosen, arm) for name, arm in start.items()}
