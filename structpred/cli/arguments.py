"""From the words of a command line to a command: help with examples, and mistakes in one line."""

import ast
import contextlib
import importlib.resources
import io
import pkgutil
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Protocol, get_type_hints, runtime_checkable

import tyro
from rich.console import Console

from structpred.errors import ConfigError
from structpred.registry import nearest


@runtime_checkable
class Command(Protocol):
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
    if name not in COMMANDS:
        raise ConfigError(f"there is no command {name!r}; {nearest(name, list(COMMANDS))}")
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
    given: Any = _tyro(name, rest)
    parsed: Command = replace(given, words=given.words + tuple(assigned)) if assigned else given
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
