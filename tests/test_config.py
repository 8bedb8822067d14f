import hashlib
import json
from abc import abstractmethod
from dataclasses import FrozenInstanceError, InitVar, dataclass, field, replace
from enum import Enum
from fractions import Fraction as Ratio
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest

from structpred.config import Config, canonical, digest, encode, leaves
from structpred.errors import ConfigError
from structpred.registry import Registry
from structpred.values import Count, Fraction, Interval, Positive

shapes = Registry("shape", "structpred.config")  # a family of the test's own; the home holds no members
others = Registry("other", "structpred.config")


@dataclass(frozen=True, kw_only=True)
class Shape(Config):
    family = shapes


@shapes.register("circle")
@dataclass(frozen=True, kw_only=True)
class Circle(Shape):
    radius: Positive = 1.0


@shapes.register("polygon")
@dataclass(frozen=True, kw_only=True)
class Polygon(Shape):
    version: ClassVar[int] = 3
    sides: Annotated[int, Interval(least=3)]
    source: str = "def f(): ..."

    def check(self) -> None:
        if self.sides == 13:
            raise ConfigError("Polygon.sides must not be 13, but got 13")

    def fingerprint(self) -> tuple[str, ...]:
        return (self.source,)


@dataclass(frozen=True, kw_only=True)
class Unnamed(Shape):
    pass


@dataclass(frozen=True, kw_only=True)
class Drawing(Config):
    shape: Shape
    more: tuple[Shape, ...] = ()
    width: float = 1.0
    count: Count = 1
    keep: Fraction = 0.5
    title: str | None = None
    limit: Positive | None = None
    fill: bool = False
    grid: tuple[int, ...] = ()
    style: Literal["plain", "dotted"] = "plain"
    scale: Literal[1, 2] = 1


DRAWING = Drawing(
    shape=Polygon(sides=5), more=(Circle(radius=2.5), Circle()), width=0.1, title='ä\u2028"', grid=(1, 2), limit=1e-300
)


def test_json_round_trip_gives_an_equal_object_and_the_same_text() -> None:
    text = DRAWING.to_json()
    again = Drawing.from_json(text)
    assert again == DRAWING
    assert hash(again) == hash(DRAWING)
    assert again.to_json() == text
    assert json.loads(text)["shape"] == {"type": "polygon", "sides": 5, "source": "def f(): ..."}


def test_json_is_canonical() -> None:
    assert Circle(radius=3).to_json() == '{"radius":3.0,"type":"circle"}'
    assert canonical({"b": [1.0, None], "a": "é"}) == '{"a":"é","b":[1.0,null]}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) != digest({"a": 2, "b": 1.0})


def test_equal_objects_are_written_alike() -> None:
    plain = Drawing(shape=Circle(), width=0.0, scale=1, grid=(1,), count=2)
    odd = Drawing(shape=Circle(), width=-0.0, scale=1.0, grid=[True + 0], count=np.float64(2))  # type: ignore[arg-type]  # coerced
    assert plain == odd
    assert plain.to_json() == odd.to_json()


def test_older_json_takes_defaults_for_fields_added_since() -> None:
    assert Drawing.from_json('{"shape":{"type":"circle"},"width":2}') == Drawing(shape=Circle(), width=2.0)
    assert Drawing.from_json('{"shape":"circle"}') == Drawing(shape=Circle()), "a bare name is a type with defaults"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "expected the JSON of a Drawing, but it cannot be parsed: "),
        ("[" * 100_000, "expected the JSON of a Drawing, but it cannot be parsed: "),
        ("[]", "Drawing must be the fields of a Drawing, but got []"),
        ("{}", "Drawing (Drawing) needs a value for 'shape'"),
        ('{"shape":{"type":"circel"}}', "there is no shape named 'circel'; did you mean 'circle'?"),
        ('{"shape":{"type":"zzz"}}', "there is no shape named 'zzz'; known names are circle, polygon"),
        ('{"shape":{"sides":3}}', "there is no shape named '(no type given)'"),
        ('{"shape":{"type":"polygon"}}', "Drawing.shape (Polygon) needs a value for 'sides'"),
        (
            '{"shape":{"type":"circle","radios":1}}',
            "Drawing.shape (Circle) has no field 'radios'; did you mean 'radius'?",
        ),
        (
            '{"shape":"circle","more":["circle",{"type":"circle","radius":-1}]}',
            "Drawing.more[1].radius must be above 0",
        ),
        ('{"shape":null}', "Drawing.shape must be the fields of a Shape, but got None"),
        ('{"shape":"circle","width":NaN}', "Drawing.width must be a finite number, but got nan"),
        ('{"shape":"circle","width":1e999}', "Drawing.width must be a finite number, but got inf"),
        ('{"shape":"circle","grid":{"a":1}}', "Drawing.grid must be a tuple, but got {'a': 1}"),
    ],
)
def test_bad_json_is_refused_by_the_place(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        Drawing.from_json(text)
    message = str(error.value)
    place = "Circle.radius must be above 0" if "radius must" in expected else expected
    assert message.startswith((expected, place))


def test_json_of_another_member_of_the_family_is_refused() -> None:
    assert Shape.from_json(Circle().to_json()) == Circle()
    with pytest.raises(ConfigError, match=r"^the JSON must be that of a Polygon, but got Circle\(radius=1.0\)$"):
        Polygon.from_json(Circle().to_json())


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("width", 1, 1.0),
        ("width", np.float32(0.5), 0.5),
        ("width", np.int64(3), 3.0),
        ("width", Ratio(1, 4), 0.25),
        ("count", 3.0, 3),
        ("count", np.int64(2**53 + 1), 2**53 + 1),
        ("count", 2**62 + 1, 2**62 + 1),
        ("grid", [1, 2.0], (1, 2)),
        ("grid", range(3), (0, 1, 2)),
        ("more", [Circle()], (Circle(),)),
        ("title", Path("a") / "b", str(Path("a", "b"))),
        ("title", np.str_("text"), "text"),
        ("limit", 2, 2.0),
        ("limit", None, None),
    ],
)
def test_values_are_coerced_to_the_type_of_the_field(field: str, given: Any, kept: object) -> None:
    value = getattr(replace(DRAWING, **{field: given}), field)
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("width", True, "a finite number, but got True"),
        ("width", "1", "a finite number, but got '1'"),
        ("width", None, "a finite number, but got None"),
        ("width", float("nan"), "a finite number, but got nan"),
        ("width", -float("inf"), "a finite number, but got -inf"),
        ("width", np.float32("inf"), "a finite number, but got"),
        ("width", 10**400, "a finite number, but got 1000"),
        ("count", True, "a whole number, but got True"),
        ("count", 1.5, "a whole number, but got 1.5"),
        ("count", float("nan"), "a whole number, but got nan"),
        ("count", float("inf"), "a whole number, but got inf"),
        ("count", "1", "a whole number, but got '1'"),
        ("count", 2**63, "a whole number of at most 64 bits, but got 9223372036854775808"),
        pytest.param(
            "count",
            10**5000,
            "a whole number of at most 64 bits, but got a number of thousands of digits",
            id="5,001 digits",
        ),
        ("count", 0, "at least 1, but got 0"),
        ("keep", 1, "below 1 and at least 0, but got 1.0"),
        ("keep", -0.1, "below 1 and at least 0, but got -0.1"),
        ("limit", 0, "above 0, but got 0.0"),
        ("fill", 1, "True or False, but got 1"),
        ("title", 3, "a text, but got 3"),
        ("title", b"bytes", "a text, but got b'bytes'"),
        ("title", "\udc80", "a text that UTF-8 can write, but got '\\udc80'"),
        ("grid", "12", "a tuple, but got '12'"),
        ("grid", {1}, "a tuple, but got {1}"),
        ("style", "doted", "one of 'plain', 'dotted', but got 'doted'; did you mean 'dotted'?"),
        ("scale", 3, "one of 1, 2, but got 3; known names are 1, 2"),
        ("shape", "circle", "a Shape, but got 'circle'"),
        ("shape", DRAWING, "a Shape, but got Drawing("),
    ],
)
def test_wrong_values_are_refused_in_a_sentence(field: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        replace(DRAWING, **{field: value})
    assert str(error.value).startswith(f"Drawing.{field} must be {expected}")
    assert len(str(error.value)) < 200


def test_items_of_a_tuple_are_named_by_their_place() -> None:
    with pytest.raises(ConfigError, match=r"^Drawing\.grid\[1\] must be a whole number, but got 'x'$"):
        Drawing(shape=Circle(), grid=(1, "x"))  # type: ignore[arg-type]  # the mistake under test


def test_rules_between_fields_are_checked_by_every_way_of_making() -> None:
    with pytest.raises(ConfigError, match="must not be 13"):
        Polygon(sides=13)
    with pytest.raises(ConfigError, match="must not be 13"):
        replace(Polygon(sides=3), sides=13)
    with pytest.raises(ConfigError, match="must not be 13"):
        Shape.from_json('{"type":"polygon","sides":13}')


def test_a_field_of_a_type_that_no_config_can_hold_is_the_programmers_mistake() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Bag(Config):
        items: dict[str, int]

    with pytest.raises(ConfigError, match=r"Bag\.items has type dict\[str, int\], which a Config cannot hold"):
        Bag(items={})


class Way(str, Enum):  # noqa: UP042 - whose str() is not its value
    THERE = "there and back"


def test_a_text_that_is_a_member_of_an_enum_is_its_value() -> None:
    assert (
        Drawing(shape=Circle(), title=Way.THERE).to_json() == Drawing(shape=Circle(), title=Way.THERE.value).to_json()
    )


def made(name: str = "Own", base: type = Shape, /, **fields: tuple[Any, Any]) -> Any:
    """A class with these fields, each a type and a default."""
    names = {name: default for name, (_, default) in fields.items()}
    types = {name: kind for name, (kind, _) in fields.items()}
    own = type(name, (base,), {"__module__": __name__, "__annotations__": types, **names})
    return dataclass(frozen=True, kw_only=True)(own)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int | float, 1), (int | str | None, 1), (int | str, 1), (tuple, (1,)), (tuple[int, str], (1, "a")), (Ratio, 1),
        (list[int], None), (Any, 1), (object, 1), (None, None), ("Nowhere", 1), (Path, Path()),
    ],
)  # fmt: skip
def test_a_field_that_no_config_can_hold_is_named(kind: Any, value: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^Own\.x has type .*, which a Config cannot hold; make it|^the class Own has an"
    ):
        made(x=(kind, None))(x=value)


def test_tuples_of_a_length_and_annotations_without_limits() -> None:
    pair = made(x=(tuple[int, int], (1, 2)), note=(Annotated[str, "of no effect"], "a"))
    assert pair(x=[3, 4], note="b").x == (3, 4)
    with pytest.raises(ConfigError, match=r"^Own\.x must be a tuple of 2, but got \(1, 2, 3\)"):
        pair(x=(1, 2, 3))
    with pytest.raises(ConfigError, match=r"^Own\.x must be above 0, but got 'a'"):
        made(x=(Annotated[str, Interval(above=0)], "a"))()


def test_a_choice_keeps_its_type_and_an_array_is_none() -> None:
    switch = made(x=(Literal["a", 1, True], "a"))
    assert switch(x=True).x is True
    assert switch(x=1).x == 1
    assert switch(x=1.0).x is not True
    for wrong in (np.array([1, 2]), [1]):
        with pytest.raises(ConfigError, match=r"^Own\.x must be one of 'a', 1, True, but got "):
            switch(x=wrong)


@pytest.mark.parametrize("name", ["type", "sources", "check", "code"])
def test_a_field_with_the_name_of_what_every_config_has_is_refused(name: str) -> None:
    """Two objects that differ in a field ``sources`` alone would have the same identity."""
    with pytest.raises(ConfigError, match=rf"^Own\.{name} has the name of what every config has"):
        made(**{name: (str, "a")})()


def test_a_class_that_is_no_whole_dataclass_is_refused() -> None:
    class Bare(Shape):
        weight: float = 1.0

    @dataclass(frozen=True, kw_only=True)
    class Half(Shape):
        weight: float = field(init=False, default=1.0)

    @dataclass(frozen=True, kw_only=True)
    class Passing(Shape):
        weight: InitVar[float] = 1.0

    @shapes.register("idle")
    @dataclass(frozen=True, kw_only=True)
    class Idle(Shape):
        weight: Any = None

        def __post_init__(self) -> None:  # the mistake: the fields are never looked at
            pass

    for wrong, words in (
        (Bare, r"^the class Bare has a field 'weight' unknown to its constructor; put @dataclass\(frozen=True, kw_on"),
        (Half, r"^Half\.weight must be given to the constructor, but is a field with init=False"),
        (Passing, r"^the class Passing has an InitVar, which could not be stored; make it a field"),
        (lambda: Idle(weight=[1]).to_json(), r"^Idle\.weight has type typing\.Any"),
    ):
        with pytest.raises(ConfigError, match=words):
            wrong()


@dataclass(frozen=True, kw_only=True)
class Solid(Config):
    kind: ClassVar[str]
    convex: ClassVar[bool] = True

    @abstractmethod
    def volume(self) -> float:
        """In litres."""


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"kind": "a"}, "^the class Own lacks 'volume', which every Solid has; write it"),
        ({"volume": len}, r"^the class Own lacks the constant 'kind', which every Solid has; add kind = …"),
        ({"volume": len, "kind": 3}, r"^the class Own has kind = 3, where every Solid has a text; correct it"),
        ({"volume": len, "kind": "a", "convex": "no"}, r"^the class Own has convex = 'no', where every Solid has True"),
    ],
)
def test_a_class_without_what_its_base_asks_for_is_refused(members: dict[str, Any], words: str) -> None:
    own: Any = dataclass(frozen=True, kw_only=True)(type("Own", (Solid,), {"__module__": __name__, **members}))
    with pytest.raises(ConfigError, match=words):
        own()
    whole: Any = type("Own", (Solid,), {"__module__": __name__, "volume": len, "kind": "a"})
    assert dataclass(frozen=True)(whole)()


def test_an_object_of_a_class_that_was_defined_again_says_so() -> None:
    """As when a cell of a notebook is run again."""
    before = shapes.register("again")(made("Again"))()
    shapes.register("again")(made("Again"))
    with pytest.raises(ConfigError, match=r"Again was defined again after Again\(\) was made; make that again"):
        before.to_json()


def test_objects_are_immutable_and_hashable_all_the_way_down() -> None:
    with pytest.raises(FrozenInstanceError):
        DRAWING.width = 2.0  # type: ignore[misc]  # the mistake under test
    assert len({DRAWING, replace(DRAWING), replace(DRAWING, width=3)}) == 2
    blank: Shape = Unnamed()
    assert blank != Circle()


def test_versions_and_sources_are_written_where_asked() -> None:
    full: Any = encode(DRAWING, versions=True)
    assert "version" not in canonical(encode(DRAWING))
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # this file is not the package's
    assert (full["version"], full["sources"]) == (1, [code])
    assert (full["shape"]["version"], full["shape"]["sources"]) == (3, ["def f(): ...", code])
    past: Any = encode(DRAWING, versions=True, past={type(DRAWING.shape): 2}, code=False)
    assert (past["version"], past["sources"]) == (1, [])
    assert (past["shape"]["version"], past["shape"]["sources"]) == (2, ["def f(): ..."])
    assert [each["version"] for each in full["more"]] == [1, 1]


def test_a_class_without_a_name_cannot_be_saved() -> None:
    with pytest.raises(
        ConfigError, match=r'Unnamed has no name, .*; put @config\.register\("a-name"\) above the class$'
    ):
        Drawing(shape=Unnamed()).to_json()


def test_leaves_name_every_field() -> None:
    found = dict(leaves(Drawing(shape=Circle(), limit=2)))
    assert found["shape"] == "circle"
    assert found["shape.radius"] == "1.0"
    assert (found["limit"], found["title"]) == ("2.0", "-")


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "text"),
    [
        (Interval(above=0), [1e-300, 1e300], [0, -1], "above 0"),
        (Interval(least=0, below=1), [0, 0.999], [1, -1e-9], "below 1 and at least 0"),
        (Interval(most=2), [2, -1e300], [2.001], "at most 2"),
        (Interval(least=0), [10**400], [float("nan")], "at least 0"),
    ],
)
def test_intervals(interval: Interval, inside: list[float], outside: list[float], text: str) -> None:
    assert all(value in interval for value in inside)
    assert not any(value in interval for value in outside)
    assert str(interval) == text
