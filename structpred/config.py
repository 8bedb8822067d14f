"""The object is the config: frozen, keyword-only dataclasses that coerce and check their own fields.

A field's type is one of: ``bool``, ``int``, ``float``, ``str``, ``Literal``, another `Config`, a tuple of these,
``None`` beside one of these, or one of these with limits, as in ``Annotated[float, Interval(above=0)]``.
"""

import hashlib
import json
import math
import numbers
import os
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from structpred import foreign
from structpred.declared import check_class, field_types
from structpred.errors import ConfigError
from structpred.registry import Registry, article, nearest

Json = None | bool | int | float | str | list[Any] | dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of everything a user chooses. Subclasses are ``@dataclass(frozen=True, kw_only=True)``.

    The constructor only coerces and checks. Rules between fields go into `check`.

    Attributes:
        family: the registry with the names of this family's classes; None for a class without a name.
        version: raised when the meaning of the class changes, so that older runs are not taken for new ones.
        exactly_one_of: optional fields of which exactly one must be given.
        identity_optional: fields added after runs had been made. They enter a run's identity only if they differ from
            their default, so that older runs are still found.
        outside: fields that do not affect what a run does and never enter its identity.

    Raises:
        ConfigError: a field's value is of the wrong kind or outside its limits.
    """

    family: ClassVar[Registry | None] = None
    version: ClassVar[int] = 1
    exactly_one_of: ClassVar[tuple[str, ...]] = ()
    identity_optional: ClassVar[tuple[str, ...]] = ()
    outside: ClassVar[tuple[str, ...]] = ()
    # Constructors accept whatever `coerce` converts, so jaxtyping's run-time checks in tests leave them alone.
    __no_type_check__: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        foreign.remember(cls)

    def __post_init__(self, *passed: object) -> None:
        if passed:
            raise ConfigError(
                f"the class {type(self).__name__} has an InitVar, which could not be stored; make it a field"
            )
        if type(self) not in _CHECKED:
            check_class(type(self), Config)
            _CHECKED.add(type(self))
        for name, hint in hints(type(self)).items():
            value = coerce(getattr(self, name), hint, f"{type(self).__name__}.{name}")
            object.__setattr__(self, name, value)
        given = [name for name in self.exactly_one_of if getattr(self, name) is not None]
        if self.exactly_one_of and len(given) != 1:
            raise ConfigError(
                f"{type(self).__name__} takes exactly one of {', '.join(self.exactly_one_of)}, "
                f"but got {' and '.join(given) or 'none of them'}"
            )
        self.check()

    def check(self) -> None:
        """Raise `ConfigError` for combinations of fields that cannot work."""

    @classmethod
    def accept(cls, value: object) -> object:
        """Convert a value given for a field of this class; values that it cannot convert are returned unchanged."""
        return value

    @classmethod
    def named(cls, text: str) -> Json:
        """The JSON tree of the member of this family that a text names."""
        return {"type": text}

    def fingerprint(self) -> tuple[str, ...]:
        """Whatever affects behaviour besides the fields, such as the source of a user's function."""
        return ()

    def code(self) -> tuple[type, ...]:
        """The classes whose code affects this object's behaviour; see `structpred.foreign`."""
        return (type(self),)

    def to_json(self) -> str:
        """Canonical JSON: keys sorted, no spaces, every field written out."""
        return canonical(encode(self))

    @classmethod
    def from_json(cls: type["Made"], text: str) -> "Made":
        """Read what `to_json` wrote; fields added since then take their defaults.

        Raises:
            ConfigError: the text is not JSON, or it names a class, field or value that does not exist.
        """
        try:
            node = json.loads(text)
        except (ValueError, RecursionError) as error:
            expected = f"expected the JSON of {article(cls.__name__)}"
            raise ConfigError(f"{expected}, but it cannot be parsed: {error}") from None
        try:
            decoded = decode(node, cls, cls.__name__)
        except RecursionError:
            raise ConfigError(f"the JSON of {article(cls.__name__)} is nested too deeply to be one") from None
        if not isinstance(decoded, cls):
            refuse("the JSON", f"that of {article(cls.__name__)}", decoded)
        assert isinstance(decoded, cls)
        return decoded


def hints(cls: type[Config]) -> dict[str, Any]:
    """The resolved type of each field, in order.

    Raises:
        ConfigError: the class is none of a config; see `structpred.declared`.
    """
    if cls not in _HINTS:
        _HINTS[cls] = field_types(cls, Config)
    return _HINTS[cls]


_HINTS: dict[type, dict[str, Any]] = {}
_CHECKED: set[type] = set()
"""The classes that have what their bases ask for."""


def config_classes(hint: Any) -> list[type[Config]]:
    """The config classes that a type names: itself, those of a union, or that of a tuple's items."""
    return [each for each in (hint, *get_args(hint)) if isinstance(each, type) and issubclass(each, Config)]


def required(cls: type[Config]) -> tuple[str, ...]:
    """The fields that have no default."""
    return tuple(f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)


def canonical(node: Json) -> str:
    """JSON in the one form that is hashed and stored."""
    return json.dumps(node, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(node: Json) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(node).encode()).hexdigest()


Made = TypeVar("Made", bound=Config)


def encode(
    config: Config, *, versions: bool = False, past: Mapping[type, int] | None = None, code: bool = True
) -> Json:
    """The JSON tree of a config: its registered name as ``type`` where it has one, then its fields.

    Args:
        config: what to write.
        versions: also write what affects behaviour besides the fields: each class's version, its fingerprint, and a
            digest of its code if that is from outside the package.
        past: versions of some classes to write instead of the present ones.
        code: False leaves out the digests of code, which the oldest runs do not have.
    """
    node: dict[str, Json] = {}
    if config.family is not None:
        node["type"] = registered_name(config)
    defaults = {
        field.name: field.default for field in fields(config) if versions and field.name in config.identity_optional
    }
    for name in hints(type(config)):
        value = getattr(config, name)
        if versions and name in config.outside:
            continue
        if name not in defaults or value != defaults[name]:
            node[name] = _encode_value(value, versions, past, code)
    if versions:
        node["version"] = config.version if past is None else past.get(type(config), config.version)
        # "sources" is the key under which every run so far was hashed
        node["sources"] = [*config.fingerprint(), *(foreign.digests(config.code()) if code else ())]
    return node


def registered_name(config: Config) -> str:
    """The name of a config's class in its family.

    Raises:
        ConfigError: the class was never registered, so a saved run could not find it again.
    """
    assert config.family is not None
    cls = type(config)
    name = config.family.name_of(cls)
    if name is None and any(_same_place(cls, known) for known in config.family.classes()):
        raise ConfigError(
            f"{cls.__module__}:{cls.__qualname__} was defined again after {shown(config)} was made; make that again"
        )
    if name is None:
        raise ConfigError(
            f"{cls.__module__}:{cls.__qualname__} has no name, so a saved run could not find it again; "
            f'put @{config.family.group.rpartition(".")[2]}.register("a-name") above the class'
        )
    return name


def _same_place(one: type, other: type) -> bool:
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _encode_value(value: object, versions: bool, past: Mapping[type, int] | None, code: bool) -> Json:
    if isinstance(value, Config):
        return encode(value, versions=versions, past=past, code=code)
    if isinstance(value, tuple):
        return [_encode_value(item, versions, past, code) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    expected = "None, a number, a text, a tuple or a Config (a __post_init__ of your own calls super().__post_init__())"
    raise ConfigError(f"a config holds {expected}, but got {shown(value)}; correct its class")


def decode(node: Json, hint: Any, where: str) -> object:
    """The value that a JSON tree encodes for a field of the given type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return coerce(decode(node, arguments[0], where), hint, where)
    if origin is tuple and isinstance(node, str) and getattr(arguments[0], "family", None) is not None:
        node = [each.strip() for each in node.split(",")]
    if origin is tuple and isinstance(node, list):
        return tuple(decode(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(node))
    if origin in (Union, types.UnionType) and node is not None:
        (hint,) = (alternative for alternative in arguments if alternative is not type(None))
        return decode(node, hint, where)
    if isinstance(hint, type) and issubclass(hint, Config):
        return _decode_config(node, hint, where)
    return coerce(node, hint, where)


def _decode_config(node: Json, hint: type[Config], where: str) -> Config:
    if isinstance(node, str) and hint.family is not None:
        node = hint.named(node)
    if not isinstance(node, dict):
        refuse(where, f"the fields of {article(hint.__name__)}", node)
    assert isinstance(node, dict)
    values = dict(node)
    cls = hint
    if hint.family is not None:
        cls = hint.family[str(values.pop("type", "(no type given)"))]
    known = hints(cls)
    for name in values:
        if name not in known:
            raise ConfigError(f"{where} ({cls.__name__}) has no field {name!r}; {nearest(name, list(known))}")
    for name in required(cls):
        if name not in values:
            raise ConfigError(f"{where} ({cls.__name__}) needs a value for {name!r}")
    return cls(**{name: decode(value, known[name], f"{where}.{name}") for name, value in values.items()})


def components(config: Config) -> Iterator[Config]:
    """A config and all configs in it, at any depth."""
    yield config
    for name in hints(type(config)):
        value = getattr(config, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Config):
                yield from components(part)


def leaves(node: Config | Json, place: str = "") -> Iterator[tuple[str, str]]:
    """Dotted name and value, as text, of every field in a config or in the JSON tree of one, for tables of differences.

    Args:
        node: the config, or its tree.
        place: the dotted name of the config itself.
    """
    node = encode(node) if isinstance(node, Config) else node
    if isinstance(node, dict):
        for name, value in node.items():
            if name != "type":
                yield from leaves(value, f"{place}.{name}" if place else name)
            elif place:
                yield place, str(value)
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for number, item in enumerate(node):
            yield from leaves(item, f"{place}[{number}]")
    elif isinstance(node, list):
        yield place, str(tuple(node))
    else:
        yield place, "-" if node is None else str(node)


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
    """An instance of a dataclass, after conversion by `Config.accept`."""
    made = hint.accept(value) if issubclass(hint, Config) and not isinstance(value, hint) else value
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
