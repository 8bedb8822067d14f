"""From the words of a command line to a command: help with examples, and mistakes in one line."""

import ast
import contextlib
import importlib.resources
import io
import itertools
import pkgutil
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any, Protocol, get_args, get_type_hints, runtime_checkable

import tyro
from rich.console import Console

from structpred.coercion import refuse
from structpred.errors import ConfigError
from structpred.protocols import Checkable
from structpred.registry import nearest


@runtime_checkable
class Command(Checkable, Protocol):
    """One command with its arguments; a frozen dataclass whose docstring ends with examples."""

    def run(self, console: Console) -> None:
        """Do it; results go to the console."""


COMMANDS = {
    "compare": "structpred.cli.comparing:Compare",
    "train": "structpred.cli.training:Train",
    "tune": "structpred.cli.tuning:Tune",
    "evaluate": "structpred.cli.inference:Evaluate",
    "predict": "structpred.cli.inference:Predict",
    "list": "structpred.cli.catalogue:List",
    "describe": "structpred.cli.catalogue:Describe",
    "clean": "structpred.cli.cleaning:Clean",
}
"""The class of each command; its module is imported only when the command is used, as most need PyTorch."""
HELP = ("-h", "--help")
VERSION = "--version"
NUMBERS = {
    int: (re.compile(r"[+-]?[0-9]{1,1000}"), "a whole number"),
    float: (re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"), "a number"),
}
"""How the values of options are written: Python would also take 1_000, inf and digits of other scripts."""


OTHER_NAMES = {"imports": "import"}
"""Options whose fields could not bear their names."""


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        kind: the type of its value; bool for one that takes none.
        many: it takes several values, up to the next option.
        again: it may be given several times.
    """

    kind: type
    many: bool
    again: bool

    @property
    def takes_next(self) -> bool:
        """True where the word after it is its value, whatever that looks like."""
        return self.kind is not bool and not self.many


def command(name: str) -> type[Command]:
    """The class of one of the `COMMANDS`."""
    cls: type[Command] = pkgutil.resolve_name(COMMANDS[name])
    return cls


def parse(arguments: Sequence[str]) -> Command | None:
    """The command to run, or None once help was printed.

    Raises:
        ConfigError: no such command or option, or a value that an option cannot take.
    """
    if not arguments:
        raise ConfigError(f"expected a command, one of {', '.join(COMMANDS)}; see structpred --help")
    name, *words = arguments
    if name in HELP:
        print(overview())
        return None
    if name == VERSION:
        print(f"structpred {metadata.version('structpred')}")
        return None
    if name not in COMMANDS:
        if name.startswith("-"):
            raise ConfigError(
                f"expected a command before {name!r}, one of {', '.join(COMMANDS)}; see structpred --help"
            )
        raise ConfigError(f"there is no command {name!r}; {nearest(name, [*COMMANDS, HELP[1], VERSION])}")
    if any(word in HELP for word in words):
        print(help_of(name))
        return None
    return _parse(name, words)


def overview() -> str:
    """What ``structpred --help`` prints."""
    lines = ["structpred: which training objective should a structured-prediction model use?", "", "Commands:"]
    parts = {name: _parts(_docstring(name)) for name in COMMANDS}
    lines += [f"  {name:<10}{description}" for name, (description, _) in parts.items()]
    lines += ["", "Examples:"]
    lines += [examples[0] for _, examples in parts.values()]
    return "\n".join([*lines, "", "More on each: structpred COMMAND --help"])


def help_of(name: str) -> str:
    """What ``structpred NAME --help`` prints."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        _tyro(name, ["--help"])
    return "\n".join([shown.getvalue().rstrip(), "", "Examples:", *_parts(_docstring(name))[1]])


def _parse(name: str, words: Sequence[str]) -> Command:
    """Assignments may stand anywhere among the options; tyro takes the rest."""
    cls = command(name)
    options = options_of(cls)
    _check(name, words, options)
    takes_assignments = "words" in get_type_hints(cls)
    assigned: list[str] = []
    rest: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        is_value = before in options and options[before].takes_next
        is_assignment = "=" in word and not word.startswith("-") and not is_value
        (assigned if is_assignment and takes_assignments else rest).append(word)
    given: Any = _tyro(name, rest)
    parsed: Command = replace(given, words=given.words + tuple(assigned)) if assigned else given
    return parsed


def _check(name: str, words: Sequence[str], options: Mapping[str, Option]) -> None:
    """Refuse unknown and repeated options, and values that are empty or no numbers where numbers are asked for."""
    seen: set[str] = set()
    for word, after in itertools.zip_longest(words, words[1:]):
        if not word or "\0" in word:
            raise ConfigError(
                f"an argument of {name} is empty or holds a null character; leave it out or write a value"
            )
        flag, equals, value = word.partition("=")
        if not flag.startswith("--"):
            continue
        if flag not in options:
            raise ConfigError(f"there is no option {flag} of {name}; {nearest(flag, list(options))}")
        if flag in seen and not options[flag].again:
            raise ConfigError(f"{flag} of {name} is given twice; leave one out")
        seen.add(flag)
        _check_value(flag, value if equals else after, options[flag])


def _check_value(flag: str, value: str | None, option: Option) -> None:
    if option.kind is bool or value is None:  # tyro says what is missing
        return
    if not value:
        raise ConfigError(f"{flag} needs a value, but it is empty; write one, or leave {flag} out")
    if option.kind in NUMBERS and not value.startswith("--"):
        form, expected = NUMBERS[option.kind]
        if not form.fullmatch(value):
            refuse(flag, expected, value)


def options_of(cls: type[Command]) -> dict[str, Option]:
    """Every option by the name it has on the command line."""
    found = {}
    for name, hint in get_type_hints(cls, include_extras=True).items():
        marks = [str(mark) for mark in getattr(hint, "__metadata__", ())]
        if "Positional" not in " ".join(marks):
            found[f"--{OTHER_NAMES.get(name, name).replace('_', '-')}"] = _option(get_type_hints(cls)[name], marks)
    return found


def _option(hint: Any, marks: Sequence[str]) -> Option:
    kinds = [each for each in (get_args(hint) or (hint,)) if each in (bool, int, float)]
    again = "UseAppendAction" in " ".join(marks)
    return Option(kind=kinds[0] if kinds else str, many=not again and hint == tuple[str, ...] | None, again=again)


def _tyro(name: str, words: Sequence[str]) -> Command:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed: Command = tyro.cli(
                command(name),
                prog=f"structpred {name}",
                description=_parts(_docstring(name))[0],
                args=list(words),
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ConfigError(f"{_unboxed(said.getvalue())}; see structpred {name} --help") from None
    return parsed


def _unboxed(box: str) -> str:
    """The first paragraph of the box that tyro draws around a mistake."""
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()]
    body = [line for line in lines if not line.startswith("─ ")]
    rule = next((i for i, line in enumerate(body) if line.startswith("──")), len(body))
    return " ".join(" ".join(body[:rule]).split()).rstrip(".")


def _docstring(name: str) -> str:
    """A command's docstring, read from its source: whoever asks which commands there are need not wait for PyTorch."""
    module, _, cls = COMMANDS[name].partition(":")
    source = importlib.resources.files("structpred.cli").joinpath(f"{module.rpartition('.')[2]}.py")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls)
    return ast.get_docstring(found) or ""


def _parts(docstring: str) -> tuple[str, list[str]]:
    """What a command does, and its examples, one a line."""
    description, _, examples = docstring.partition("Examples:")
    return description.strip(), [line.rstrip() for line in examples.splitlines() if line.strip()]
