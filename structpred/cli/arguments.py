"""Parse a command line into a command: argparse, configured by the command's fields.

A command is a frozen dataclass. Its docstring describes it and ends with examples; `option` and `positional` make its
fields and hold their help. The field's type converts the value and sets its limits.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NoReturn,
    Protocol,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from rich.console import Console

from structpred.errors import ConfigError
from structpred.protocols import Checkable
from structpred.registry import nearest
from structpred.values import Few, coerce, refuse

HELP = ("-h", "--help")
NUMBERS = {
    int: (re.compile(r"[+-]?[0-9]{1,1000}"), "a whole number"),
    float: (re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"), "a number"),
}
"""Accepted forms of numbers: Python would also accept 1_000, inf and digits of other scripts."""
METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


@runtime_checkable
class Command(Checkable, Protocol):
    """A command with its arguments: a frozen dataclass whose docstring ends with examples.

    Attributes:
        resumes: True if the same command goes on where it was interrupted, False if it begins again.
    """

    resumes: ClassVar[bool]

    def run(self, console: Console) -> None:
        """Run the command; results go to the console."""


def option(default: object, says: str, *, flag: str = "", metavar: str = "", again: bool = False) -> Any:
    """A field that is given as ``--field VALUE``.

    Args:
        default: the value if the option is not given.
        says: the help.
        flag: the option's name if it differs from the field's.
        metavar: the placeholder of the value in the help; by default its type.
        again: the option may be given several times, with one value each.
    """
    return field(default=default, metadata={"says": says, "flag": flag, "metavar": metavar, "again": again})


def positional(says: str, *, metavar: str, default: object = MISSING) -> Any:
    """A field given by position; required unless it has a default."""
    return field(default=default, metadata={"says": says, "metavar": metavar})


def words_field(says: str) -> Any:
    """Assignments, such as ``seed=1``."""
    return positional(says, metavar="[FIELD=VALUE ...]", default=())


def root_field() -> Any:
    """``--root``."""
    return option(Path("runs"), "The folder of run folders.")


def imports_field() -> Any:
    """``--import``."""
    says = "Import this module or .py file first, for components of your own; may be given several times."
    return option((), says, flag="import", metavar="MODULE", again=True)


@dataclass(frozen=True)
class Argument:
    """A field of a command as an argument of the command line.

    Attributes:
        field: the field's name.
        flag: such as ``--seeds``; empty for a positional argument.
        hint: the field's type, with its limits.
        kind: the type of one value; bool for a flag without a value.
        many: whether it takes several values, up to the next option.
        again: whether it may be given several times.
        metavar: the placeholder of a value in the help.
        says: the help, with the default.
        required: whether it must be given.
    """

    field: str
    flag: str
    hint: Any
    kind: Any
    many: bool
    again: bool
    metavar: str
    says: str
    required: bool

    @classmethod
    def of(cls, owner: "Field[Any]", hint: Any) -> "Argument":
        """From a field of a command and its type."""
        marks, kind = owner.metadata, _kind(hint)
        flag = "" if "flag" not in marks else f"--{marks['flag'] or owner.name.replace('_', '-')}"
        shown = owner.default if isinstance(owner.default, str | int | float | Path) else ""
        default = f" (default: {shown})" if flag and kind is not bool and str(shown) else ""
        choices = f"{{{','.join(get_args(kind))}}}" if get_origin(kind) is Literal else ""
        again = marks.get("again", False)
        return cls(
            field=owner.name,
            flag=flag,
            hint=hint,
            kind=kind,
            many=not again and _is_tuple(hint),
            again=again,
            metavar=marks["metavar"] or choices or METAVARS.get(kind, ""),
            says=marks["says"] + default,
            required=owner.default is MISSING,
        )

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add it to a parser; values stay text, and arguments not given have no value."""
        shared: dict[str, Any] = {"default": argparse.SUPPRESS, "help": self.says.replace("%", "%%")}
        if not self.flag:
            several = "+" if self.required else "*"
            nargs = several if self.many else None if self.required else "?"
            parser.add_argument(self.field, nargs=nargs, metavar=self.metavar, **shared)
        elif self.kind is bool:
            parser.add_argument(self.flag, dest=self.field, action=_Once, nargs=0, **shared)
        elif self.again:
            parser.add_argument(self.flag, dest=self.field, action="append", metavar=self.metavar, **shared)
        else:
            nargs = "*" if self.many else None
            parser.add_argument(self.flag, dest=self.field, action=_Once, nargs=nargs, metavar=self.metavar, **shared)

    def value(self, given: str | bool | list[str]) -> object:
        """Convert the given text to the field's type.

        Raises:
            ConfigError: it is empty, of another type, or outside the limits.
        """
        if isinstance(given, bool):
            return given
        values = [given] if isinstance(given, str) else given
        if not all(values):
            raise ConfigError(f"{self._name} needs a value, but it is empty; write one, or leave {self._name} out")
        if self.kind is Path:
            paths = tuple(map(Path, values))
            return paths if _is_tuple(self.hint) else paths[0]
        made = [_number(self._name, self.kind, each) if self.kind in NUMBERS else each for each in values]
        return coerce(tuple(made) if _is_tuple(self.hint) else made[0], self.hint, self._name)

    @property
    def _name(self) -> str:
        return self.flag or self.metavar.strip("[]")


def _is_tuple(hint: Any) -> bool:
    return any(get_origin(each) is tuple for each in (hint, *get_args(hint)))


def _kind(hint: Any) -> Any:
    """The type of one value: without limits and None, and for a tuple that of its items."""
    if get_origin(hint) in (None, Literal):
        return hint
    if get_origin(hint) in (Annotated, tuple):
        return _kind(get_args(hint)[0])
    (kind,) = (each for each in get_args(hint) if each is not NoneType)
    return _kind(kind)


def _number(name: str, kind: Any, text: str) -> int | float:
    form, expected = NUMBERS[kind]
    number: int | float = kind(text) if form.fullmatch(text) else refuse(name, expected, text)
    return number


class _Once(argparse.Action):
    """Store the value, and refuse a second one, or none where there may be several."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if hasattr(namespace, self.dest):
            raise ConfigError(f"{option_string} of {parser.prog.split()[-1]} is given twice; leave one out")
        if self.nargs == "*" and not values:
            raise ConfigError(f"{option_string} needs at least one value, but got none; give one, or leave it out")
        setattr(namespace, self.dest, True if self.nargs == 0 else values)


class Parser(argparse.ArgumentParser):
    """Raises mistakes as one sentence instead of printing them; for modules of experiments as well.

    Args:
        prog: how the program is called, such as ``python -m structpred.experiments.dial``.
        about: what it does.
        settings: more arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, prog: str, about: str, **settings: Any) -> None:
        super().__init__(prog, description=about, allow_abbrev=False, exit_on_error=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{message}; see {self.prog} --help")

    def read(self, words: Sequence[str] | None = None) -> argparse.Namespace:
        """The values of all arguments, given by position or by option; by default those of this process.

        Raises:
            ConfigError: an argument does not exist or cannot take its value.
        """
        try:
            given, left = self.parse_known_intermixed_args(words)
        except argparse.ArgumentError as error:
            self.error(f"{error.argument_name}: {error.message}" if error.argument_name else error.message)
        if left:
            self.error(f"there is no {'option' if left[0].startswith('-') else 'place for'} {left[0]!r:.80}")
        return given


def one_of(names: Iterable[str]) -> Callable[[str], str]:
    """The type of an argument of a `Parser` that is one of these names."""
    known = list(names)

    def read(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"there is no {text!r}; {nearest(text, known)}")
        return text

    return read


def few(text: str) -> int:
    """The type of an argument of a `Parser` that counts seeds or processes."""
    try:
        number: int = coerce(_number("the value", int, text), Few, "the value")  # type: ignore[assignment]  # as Few says
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return number


def arguments_of(cls: type[Command]) -> list[Argument]:
    """The arguments of a command, in the order of its fields."""
    hints = get_type_hints(cls, include_extras=True)
    return [Argument.of(each, hints[each.name]) for each in fields(cls)]  # type: ignore[arg-type]  # a dataclass


def parsed(name: str, cls: type[Command], words: Sequence[str]) -> Command:
    """The command given by the words after its name; assignments may stand anywhere among the options.

    Raises:
        ConfigError: an option does not exist or cannot take its value.
    """
    arguments = arguments_of(cls)
    _check(name, words, {each.flag for each in arguments if each.flag})
    assigned, rest = _assignments(words, arguments) if any(each.field == "words" for each in arguments) else ([], words)
    parser = _parser(name, cls, arguments)
    values = vars(parser.read(rest))
    if assigned:
        values["words"] = [*values.get("words", ()), *assigned]
    return cls(**{each.field: each.value(values[each.field]) for each in arguments if each.field in values})


def help_of(name: str, cls: type[Command]) -> str:
    """The text of ``structpred NAME --help``."""
    shown = _parser(name, cls, arguments_of(cls)).format_help()
    return "\n".join([shown, "Examples:", *description_of(cls)[1]])


def description_of(cls: type[Command]) -> tuple[str, list[str]]:
    """The description of a command and its examples, one per line."""
    description, _, examples = (inspect.getdoc(cls) or "").partition("Examples:")
    return description.strip(), [line.rstrip() for line in examples.splitlines() if line.strip()]


def _parser(name: str, cls: type[Command], arguments: Iterable[Argument]) -> Parser:
    arguments = list(arguments)
    alone = [f"{each.metavar}{' ...' if each.many and each.required else ''}" for each in arguments if not each.flag]
    parser = Parser(
        f"structpred {name}", description_of(cls)[0], usage=" ".join([f"structpred {name} [OPTIONS]", *alone])
    )
    for each in arguments:
        each.add_to(parser)
    return parser


def _check(name: str, words: Sequence[str], flags: set[str]) -> None:
    """Refuse words that no command accepts, and unknown options."""
    for before, word in zip(["", *words], words, strict=False):
        if not word and before in flags:
            raise ConfigError(f"{before} needs a value, but it is empty; write one, or leave {before} out")
        if not word or "\0" in word:
            raise ConfigError(
                f"an argument of {name} is empty or holds a null character; leave it out or write a value"
            )
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in flags:
            raise ConfigError(f"there is no option {flag} of {name}; {nearest(flag, sorted(flags))}")


def _assignments(words: Sequence[str], arguments: Iterable[Argument]) -> tuple[list[str], list[str]]:
    """Separate words such as ``seed=1``, which argparse would take for values of an option with many values."""
    expecting = {each.flag for each in arguments if each.flag and each.kind is not bool and not each.many}
    assigned: list[str] = []
    rest: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        is_assignment = "=" in word and not word.startswith("-") and before not in expecting
        (assigned if is_assignment else rest).append(word)
    return assigned, rest
