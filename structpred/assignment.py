"""Values assigned to fields of a config by their dotted names, such as ``optimiser.lr``."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_args, get_origin

from structpred.config import Config, Json, decode, encode, hints
from structpred.errors import ConfigError
from structpred.registry import nearest

Some = TypeVar("Some", bound=Config)


def assigned(config: Some, values: Mapping[str, Json]) -> Some:
    """A config with other values of some fields by their dotted names; a field of a family takes a name.

    Args:
        config: what is changed; it stays as it was.
        values: one a field, in the order in which they are assigned.

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
    """The config that a tree stands for; fields are called as in assignments.

    Raises:
        ConfigError: a value that a field cannot take, or several that exclude one another.
    """
    try:
        config = decode(tree, cls, cls.__name__)
    except ConfigError as error:  # the user wrote trainer.epochs=0, so that is what it should be called
        raise ConfigError(str(error).removeprefix(f"{cls.__name__}.")) from None
    assert isinstance(config, cls)
    return config


def assign(tree: Json, cls: type[Config], name: str, value_for: Callable[[Any], Json]) -> None:
    """Put a value at its place in the tree of a config; alternatives to the field become null.

    Args:
        tree: what `encode` made of an object of the class, changed in place.
        cls: the class.
        name: the field's dotted name.
        value_for: the value, given the type of the field.

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
    """The class of the objects that a field holds, by its type, where they belong to a family and have names."""
    accepted = () if get_origin(hint) is tuple else (hint, *get_args(hint))
    found = (each for each in accepted if isinstance(each, type) and issubclass(each, Config) and each.family)
    return next(found, None)


def _class(node: Json, hint: Any) -> type[Config]:
    """The class a tree stands for: named in the tree where the field takes a family, else the field's own."""
    cls = next(each for each in (hint, *get_args(hint)) if isinstance(each, type) and issubclass(each, Config))
    if cls.family is not None and isinstance(node, dict):
        return cls.family[str(node.get("type"))]
    return cls


def _default(cls: type[Config], name: str) -> Json:
    default = next(field.default for field in fields(cls) if field.name == name)
    if isinstance(default, Config):
        return encode(default)
    return {} if default is MISSING else None
