"""From the words of a command line to a command: help with examples, and mistakes in one line."""

import contextlib
import inspect
import io
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Protocol, get_type_hints, runtime_checkable

import tyro
from rich.console import Console

from structpred.cli.catalogue import Describe, List
from structpred.cli.cleaning import Clean
from structpred.cli.comparing import Compare
from structpred.cli.inference import Evaluate, Predict
from structpred.cli.training import Train
from structpred.cli.tuning import Tune
from structpred.errors import ConfigError
from structpred.registry import nearest


@runtime_checkable
class Command(Protocol):
    """One command with its arguments; a frozen dataclass whose docstring ends with examples."""

    def run(self, console: Console) -> None:
        """Do it; results go to the console."""


COMMANDS: dict[str, type[Command]] = {
    "compare": Compare,
    "train": Train,
    "tune": Tune,
    "evaluate": Evaluate,
    "predict": Predict,
    "list": List,
    "describe": Describe,
    "clean": Clean,
}
HELP = ("-h", "--help")


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
    if name not in COMMANDS:
        raise ConfigError(f"there is no command {name!r}; {nearest(name, list(COMMANDS))}")
    if any(word in HELP for word in words):
        print(help_of(name))
        return None
    return _parse(name, words)


def overview() -> str:
    """What ``structpred --help`` prints."""
    lines = ["structpred: which training objective should a structured-prediction model use?", "", "Commands:"]
    lines += [f"  {name:<10}{_parts(command)[0]}" for name, command in COMMANDS.items()]
    lines += ["", "Examples:"]
    lines += [_parts(command)[1][0] for command in COMMANDS.values()]
    return "\n".join([*lines, "", "More on each: structpred COMMAND --help"])


def help_of(name: str) -> str:
    """What ``structpred NAME --help`` prints."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        _tyro(name, ["--help"])
    return "\n".join([shown.getvalue().rstrip(), "", "Examples:", *_parts(COMMANDS[name])[1]])


def _parse(name: str, words: Sequence[str]) -> Command:
    """Assignments may stand anywhere among the options; tyro takes the rest."""
    cls = COMMANDS[name]
    options = _options(cls)
    assigned: list[str] = []
    rest: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        option = word.partition("=")[0]
        if word.startswith("--") and option not in options:
            raise ConfigError(f"there is no option {option} of {name}; {nearest(option, list(options))}")
        value = options.get(before, False)
        is_assignment = "=" in word and not word.startswith("-") and not value
        (assigned if is_assignment and "words" in get_type_hints(cls) else rest).append(word)
    command: Any = _tyro(name, rest)
    parsed: Command = replace(command, words=command.words + tuple(assigned)) if assigned else command
    return parsed


def _options(cls: type[Command]) -> dict[str, bool]:
    """Every option, and whether the word after it is its value, whatever it looks like."""
    hints = get_type_hints(cls)
    return {
        f"--{field.name.replace('_', '-')}": hints[field.name] not in (bool, tuple[str, ...] | None)
        for field in fields(cls)  # type: ignore[arg-type]  # every command is a dataclass
        if "Positional" not in str(get_type_hints(cls, include_extras=True)[field.name])
    }


def _tyro(name: str, words: Sequence[str]) -> Command:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed: Command = tyro.cli(
                COMMANDS[name],
                prog=f"structpred {name}",
                description=_parts(COMMANDS[name])[0],
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


def _parts(cls: type[Command]) -> tuple[str, list[str]]:
    """What a command does, and its examples, one a line."""
    description, _, examples = (inspect.getdoc(cls) or "").partition("Examples:")
    return description.strip(), [line.rstrip() for line in examples.splitlines() if line.strip()]
