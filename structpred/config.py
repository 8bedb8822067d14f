"""The object is the config: frozen, keyword-only dataclasses that coerce and check their own fields.

A field's type is one of: ``bool``, ``int``, ``float``, ``str``, ``Literal``, another `Config`, a tuple of these,
``None`` beside one of these, or one of these with limits, as in ``Annotated[float, Interval(above=0)]``.
"""

import hashlib
import inspect
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from structpred import foreign
from structpred.coercion import Count, Few, Fraction, Interval, Positive, article, coerce, refuse
from structpred.errors import ConfigError
from structpred.registry import Registry, nearest

__all__ = [
    "Config",
    "Count",
    "Few",
    "Fraction",
    "Interval",
    "Json",
    "Positive",
    "canonical",
    "coerce",
    "components",
    "decode",
    "digest",
    "encode",
    "hints",
    "leaves",
    "registered_name",
    "required",
]

Json = None | bool | int | float | str | list[Any] | dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of everything a user chooses. Subclasses are ``@dataclass(frozen=True, kw_only=True)``.

    The constructor does no work beyond coercing and checking. `check` is the place for rules between fields.

    Attributes:
        family: the registry that names the classes of this family; None for a class that needs no name.
        alternatives: optional fields of which exactly one must be given.
        additions: fields that came after runs had been made; they enter a run's identity once they are given, so that
            runs from before then are still found.
        outside: fields that decide nothing of what a run does, so that they never enter its identity.
        version: raised when the meaning of the class changes, so that older runs are not taken for new ones.

    Raises:
        ConfigError: a field's value is of the wrong kind or outside its limits.
    """

    family: ClassVar[Registry | None] = None
    version: ClassVar[int] = 1
    exactly_one_of: ClassVar[tuple[str, ...]] = ()
    identity_optional: ClassVar[tuple[str, ...]] = ()
    outside: ClassVar[tuple[str, ...]] = ()
    # Constructors take what `coerce` can mend, so jaxtyping's run-time checks in tests leave them alone.
    __no_type_check__: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        foreign.remember(cls)

    def __post_init__(self) -> None:
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
        """Refuse combinations of fields that cannot work, by raising `ConfigError`."""

    @classmethod
    def accept(cls, value: object) -> object:
        """What a field of this class makes of a value that is none; the value itself where it makes nothing of it."""
        return value

    @classmethod
    def named(cls, text: str) -> Json:
        """The JSON tree that a text stands for where a member of this family is wanted: the one registered so."""
        return {"type": text}

    def sources(self) -> tuple[str, ...]:
        """What besides the fields decides how this object behaves, such as the source of a user's function."""
        return ()

    def code(self) -> tuple[type, ...]:
        """The classes whose code decides how this object behaves; see `structpred.foreign`."""
        return (type(self),)

    def to_json(self) -> str:
        """Canonical JSON: keys sorted, no spaces, every field written out."""
        return canonical(encode(self))

    @classmethod
    def from_json(cls: type["Made"], text: str) -> "Made":
        """The object that `to_json` wrote; fields added since then take their defaults.

        Raises:
            ConfigError: the text is not JSON, or names a class, a field or a value that does not exist.
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
    """The resolved type of each field, in order."""
    if cls not in _HINTS:
        resolved: dict[str, Any] = {}  # typing.get_type_hints would stop at __no_type_check__
        for base in reversed(cls.__mro__):
            resolved |= inspect.get_annotations(base, eval_str=True)
        _HINTS[cls] = {field.name: resolved[field.name] for field in fields(cls)}
    return _HINTS[cls]


_HINTS: dict[type, dict[str, Any]] = {}


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
        versions: also write what decides behaviour beside the fields: each class's version, its sources, and a digest
            of its code where that is from outside the package.
        past: write these versions of some classes instead of the present ones.
        code: False leaves the digests of code out, as before there were any.
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
        node["sources"] = [*config.sources(), *(foreign.digests(config.code()) if code else ())]
    return node


def registered_name(config: Config) -> str:
    """The name of a config's class in its family.

    Raises:
        ConfigError: the class was never registered, so a saved run could not find it again.
    """
    assert config.family is not None
    cls = type(config)
    name = config.family.name_of(cls)
    if name is None:
        raise ConfigError(
            f"{cls.__module__}:{cls.__qualname__} has no name, so a saved run could not find it again; "
            f'put @{config.family.group.rpartition(".")[2]}.register("a-name") above the class'
        )
    return name


def _encode_value(value: object, versions: bool, past: Mapping[type, int] | None, code: bool) -> Json:
    if isinstance(value, Config):
        return encode(value, versions=versions, past=past, code=code)
    if isinstance(value, tuple):
        return [_encode_value(item, versions, past, code) for item in value]
    assert value is None or isinstance(value, bool | int | float | str)
    return value


def decode(node: Json, hint: Any, where: str) -> object:
    """The value a JSON tree stands for, given the type of the field it fills."""
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
    """A config and every config in it, however deep."""
    yield config
    for name in hints(type(config)):
        value = getattr(config, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Config):
                yield from components(part)


def leaves(config: Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted field name and value as text of everything in a config, for tables of what differs."""
    if config.family is not None and prefix:
        yield prefix.removesuffix("."), registered_name(config)
    for name in hints(type(config)):
        value, place = getattr(config, name), f"{prefix}{name}"
        if isinstance(value, tuple) and any(isinstance(item, Config) for item in value):
            for number, item in enumerate(value):
                yield from leaves(item, f"{place}[{number}].")
        elif isinstance(value, Config):
            yield from leaves(value, f"{place}.")
        else:
            yield place, "-" if value is None else str(value)
