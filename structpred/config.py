"""The object is the config: frozen, keyword-only dataclasses that coerce and check their own fields.

A field's type is one of: ``bool``, ``int``, ``float``, ``str``, ``Literal``, another `Config`, a tuple of these,
``None`` beside one of these, or one of these with limits, as in ``Annotated[float, Interval(above=0)]``.
"""

import hashlib
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from structpred import foreign
from structpred.declared import check_class, field_types
from structpred.errors import ConfigError
from structpred.registry import Registry, article, nearest
from structpred.values import coerce, refuse, shown

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
