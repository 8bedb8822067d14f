"""Assign values to fields of a config by their dotted names, such as ``optimiser.lr``."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_origin

from structpred.config import Config, Json, config_classes, decode, encode, hints
from structpred.errors import ConfigError
from structpred.registry import nearest

Some = TypeVar("Some", bound=Config)


def assigned(config: Some, values: Mapping[str, Json]) -> Some:
    """A copy of a config with other values of some fields; a component may be given by its name.

    Args:
        config: the config; it is not changed.
        values: values by dotted field name, in the order of assignment.

    Raises:
        ConfigError: there is no such field, or it cannot take the value.
    """
    tree = encode(config)
    for name, value in values.items():
        assign(tree, type(config), name, _always(value))
    return made(tree, type(config))


def _always(value: Json) -> Callable[[Any], Json]:
    return lambda hint: value


def made(tree: Json, cls: type[Some]) -> Some:
    """The config that a tree encodes; messages name fields as in assignments.

    Raises:
        ConfigError: a field cannot take its value, or values exclude each other.
    """
    try:
        config = decode(tree, cls, cls.__name__)
    except ConfigError as error:  # the user wrote trainer.epochs=0, so the message should say that
        raise ConfigError(str(error).removeprefix(f"{cls.__name__}.")) from None
    assert isinstance(config, cls)
    return config


def assign(tree: Json, cls: type[Config], name: str, value_for: Callable[[Any], Json]) -> None:
    """Set a field in the tree of a config; alternatives to the field become null.

    Args:
        tree: the tree of an object of the class, changed in place.
        cls: the class.
        name: the field's dotted name.
        value_for: returns the value, given the type of the field.

    Raises:
        ConfigError: there is no such field.
    """
    _assign(tree, cls, name.split("."), value_for, name)


def _assign(node: Json, hint: Any, path: list[str], value_for: Callable[[Any], Json], name: str) -> None:
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
        _assign(node[field], known[field], deeper, value_for, name)
        return
    value = value_for(known[field])
    if field in cls.exactly_one_of and value is not None:
        node.update(dict.fromkeys(cls.exactly_one_of))
    family = family_of(known[field])
    node[field] = family.named(value) if isinstance(value, str) and family is not None else value


def family_of(hint: Any) -> type[Config] | None:
    """The class with a family among those that a field accepts; None for a tuple or without one."""
    accepted = [] if get_origin(hint) is tuple else config_classes(hint)
    return next((cls for cls in accepted if cls.family), None)


def _class(node: Json, hint: Any) -> type[Config]:
    """The class that a tree encodes: the one it names if the field takes a family, else the field's own."""
    cls = config_classes(hint)[0]
    if cls.family is not None and isinstance(node, dict):
        return cls.family[str(node.get("type"))]
    return cls


def _default(cls: type[Config], name: str) -> Json:
    default = next(field.default for field in fields(cls) if field.name == name)
    if isinstance(default, Config):
        return encode(default)
    return {} if default is MISSING else None
