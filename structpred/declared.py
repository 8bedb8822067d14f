"""What a class of configs must declare before the first object is made: fields that can be stored, methods, constants.

A mistake in a class of one's own is found here, in words, and not as an error of Python's somewhere in a run.
"""

import inspect
import types
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal, NoReturn, Union, get_args, get_origin

from structpred.errors import ConfigError

PLAIN = (bool, int, float, str)
_CHOICES = (*PLAIN, type(None))
_WRITTEN = ("type", "sources")
"""Keys beside the fields in the JSON of a config; a field of the same name would be lost there."""
_DECORATOR = "@dataclass(frozen=True, kw_only=True)"


def field_types(cls: type, root: type) -> dict[str, Any]:
    """The resolved type of each field, in order, once it is sure that a config can hold all of them.

    Args:
        cls: the class.
        root: the base class of all configs.

    Raises:
        ConfigError: a class was not made a dataclass, a type cannot be resolved or held, or a field is not given to the
            constructor, so that it could not be stored and read again.
    """
    resolved: dict[str, Any] = {}  # typing.get_type_hints would stop at __no_type_check__
    for base in reversed(cls.__mro__):
        own = _annotations(base)
        if issubclass(base, root) and "__dataclass_fields__" not in vars(base):
            for name, hint in own.items():
                if not _constant(hint):
                    _refuse(cls, f"has a field {name!r} unknown to its constructor", f"put {_DECORATOR} above it")
        resolved |= own
    for field in fields(cls):
        where = f"{cls.__name__}.{field.name}"
        if not field.init:
            raise ConfigError(f"{where} must be given to the constructor, but is a field with init=False; remove that")
        if hasattr(root, field.name) or field.name in _WRITTEN:
            raise ConfigError(f"{where} has the name of what every config has; give the field another name")
        if not _holds(resolved[field.name], root):
            raise ConfigError(
                f"{where} has type {resolved[field.name]}, which a Config cannot hold; make it bool, int, float, str, "
                "Literal, another Config, a tuple of one of these, as in tuple[int, ...], or one of these beside None"
            )
    return {field.name: resolved[field.name] for field in fields(cls)}


def check_class(cls: type, root: type) -> None:
    """Refuse a class without the methods and constants that its bases ask for.

    Args:
        cls: the class.
        root: the base class of all configs.

    Raises:
        ConfigError: an abstract method is missing, or a constant, or that is of another type.
    """
    for name in dir(cls):
        if getattr(inspect.getattr_static(cls, name), "__isabstractmethod__", False):
            home = next(base for base in cls.__mro__ if name in vars(base))
            _refuse(cls, f"lacks {name!r}, which every {home.__name__} has", "write it")
    for base in cls.__mro__:
        if not issubclass(base, root):
            continue
        for name, hint in _annotations(base).items():
            if _constant(hint) and get_args(hint) != (tuple[type, ...],):  # verbs: an objective says what to write
                _check_constant(cls, base, name, get_args(hint)[0] if get_args(hint) else Any)


def _check_constant(cls: type, base: type, name: str, hint: Any) -> None:
    missing = object()
    value = inspect.getattr_static(cls, name, missing)
    if value is missing:
        _refuse(cls, f"lacks the constant {name!r}, which every {base.__name__} has", f"add {name} = … to the class")
    if isinstance(value, property | types.MemberDescriptorType) or hasattr(value, "func"):
        return  # computed, or a field
    expected = _expected(value, hint)
    if expected:
        _refuse(cls, f"has {name} = {value!r}, where every {base.__name__} has {expected}", "correct it")


def _expected(value: object, hint: Any) -> str:
    """What a constant of this type should be if it is something else; empty if it fits, or the type is another."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is bool:
        return "" if isinstance(value, bool) else "True or False"
    if hint is int:
        return "" if isinstance(value, int) else "a whole number"
    if hint is str:
        return "" if isinstance(value, str) else "a text"
    if hint is type or origin is type:
        return "" if isinstance(value, type) else "a class"
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis and isinstance(arguments[0], type):
        kind = arguments[0]
        fits = isinstance(value, tuple | list) and all(isinstance(each, kind) for each in value)
        return "" if fits else f"a tuple of objects of the class {kind.__name__}"
    return ""


def _annotations(cls: type) -> dict[str, Any]:
    try:
        return inspect.get_annotations(cls, eval_str=True)
    except Exception as error:  # noqa: BLE001 - the annotations are a user's code
        _refuse(
            cls,
            f"has an annotation that cannot be resolved ({type(error).__name__}: {error})",
            "import what it names at the top of the module, without TYPE_CHECKING, and define it there",
        )


def _constant(hint: Any) -> bool:
    return hint is ClassVar or get_origin(hint) is ClassVar


def _holds(hint: Any, root: type) -> bool:
    """Whether a config can hold values of a type, and its JSON can."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _holds(arguments[0], root)
    if origin is Literal:
        return all(isinstance(each, _CHOICES) for each in arguments)
    if origin is tuple:
        rest = arguments[1:]
        alike = rest == (Ellipsis,) or all(each == arguments[0] for each in rest)
        return bool(arguments) and alike and _holds(arguments[0], root)
    if origin in (Union, types.UnionType):
        others = [each for each in arguments if each is not type(None)]
        return len(others) == 1 < len(arguments) and _holds(others[0], root)
    return hint in PLAIN or (isinstance(hint, type) and issubclass(hint, root))


def _refuse(cls: type, mistake: str, way_out: str) -> NoReturn:
    raise ConfigError(f"the class {cls.__name__} {mistake}; {way_out}")
