"""Best experiments as files: ``best_NAME.json``, and ``best_NAME.py``, a module that runs and compares them."""

import hashlib
import itertools
import keyword
import math
import re
import sys
import textwrap
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any

from structpred.config import Config, components, hints
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.files import write_atomically
from structpred.registry import objectives
from structpred.text import file_stems, plain

_WRITTEN = "Written by ``structpred tune``."
_SEAL = re.compile(rb"# SHA-256 of the lines above: ([0-9a-f]{64}); of the JSON beside: ([0-9a-f]{64})\n\Z")
_TAKEN = {"replace", "compare", "import_module", "TUNED", "experiments", "report"}
"""Names that the module defines itself."""

_MODULE = '''"""{question}

Written by ``structpred tune``.
{budget}
{baseline}
Compare them with ``structpred compare {stem}.py`` or ``python {stem}.py``.
The seeds of a comparison, from 0 on, {part} in the search.
"""

{imports}

TUNED = {tuned}


def experiments() -> dict[str, Experiment]:
    """The arms, by name."""
    return {{{arms}}}


if __name__ == "__main__":
    report = compare(experiments())
    report.show()
    report.write("reports/{stem}")
'''


def module(experiment: Experiment, *, name: str, stem: str, budget: str, seeds: tuple[int, ...]) -> str:
    """The text of a module whose ``experiments()`` are the tuned arm and likelihood with the same settings.

    Args:
        experiment: the best one.
        name: of the study.
        stem: of the file.
        budget: a sentence on what was spent.
        seeds: those that the search used.
    """
    likelihood = objectives["maximum-likelihood"]
    own = list(dict.fromkeys(type(part) for part in components(experiment)))
    names = _local_names([*own, likelihood], _TAKEN)
    arms, extra, baseline = '"tuned": TUNED', set(), ""
    if type(experiment.objective) is not likelihood:
        arms = f'"ML": replace(TUNED, objective={names[likelihood]}()), {arms}'
        extra = {("dataclasses", "replace", "replace"), _imported(likelihood, names)}
        baseline = "ML is the same with maximum likelihood, which had no search of its own.\n"
    tuned = _expression(replace(experiment, seed=0), names)
    needed = {_imported(each, names) for each in own if re.search(rf"\b{re.escape(names[each])}\(", tuned)}
    runner = ("structpred.comparison.runner", "compare", "compare")
    return _MODULE.format(
        question=_quoted(f"Does what the study {name} found best beat likelihood?"),
        budget=textwrap.fill(budget, 100),
        baseline=baseline,
        part="took part" if {0, 1, 2, 3, 4} & set(seeds) else "took no part",
        imports="\n".join(_imports(needed | extra | {runner, ("structpred.experiment", "Experiment", "Experiment")})),
        tuned=tuned,
        arms=arms,
        stem=stem,
    )


def _quoted(text: str) -> str:
    """The text escaped for a triple-quoted string."""
    return plain(text).replace("\\", r"\\").replace('"', r"\"")


def stems(names: Iterable[str]) -> list[str]:
    """The names of the files, without the suffix, of studies by their names."""
    return [f"best_{stem}" for stem in file_stems(list(names)).values()]


def write(folder: Path, stem: str, *, module: str, config: str) -> tuple[Path, Path]:
    """Write both files; the module's last line tells whether they have been changed since.

    Args:
        folder: where.
        stem: their name without the suffix.
        module: text of the Python module.
        config: text of the JSON file.

    Returns:
        The paths of the JSON file and of the module.
    """
    path = folder / f"{stem}.json"
    path.unlink(missing_ok=True)  # a process that is killed in between leaves no JSON rather than another module's
    seal = f"# SHA-256 of the lines above: {_digest(module.encode())}; of the JSON beside: {_digest(config.encode())}\n"
    written = write_atomically(folder / f"{stem}.py", f"{module}{seal}")
    return write_atomically(path, config), written


def refuse_others(folder: Path, stems: Sequence[str]) -> None:
    """Refuse to write over a file that no report wrote, or that was changed since.

    Raises:
        ConfigError: there is one.
    """
    for module in (folder / f"{stem}.py" for stem in stems):
        sealed = _sealed(module)
        for path in (module, module.with_suffix(".json")):
            if path.exists() and path not in sealed:
                raise ConfigError(
                    f"{path} was not written by structpred tune, or was changed since; move it away, or name another "
                    "folder for the report"
                )


def remove_others(folder: Path, stems: Sequence[str]) -> None:
    """Remove the best experiments of earlier reports, but no file that was changed since."""
    for module in sorted(folder.glob("best_*.py")):
        sealed = () if module.stem in stems else _sealed(module)
        for path in sealed:
            path.unlink()
        if module.stem not in stems and not sealed and _WRITTEN.encode() in module.read_bytes():
            warnings.warn(f"{module} is of an earlier report and was changed since, so it stays", stacklevel=3)


def _sealed(module: Path) -> tuple[Path, ...]:
    """The module and the JSON beside it, if they are as they were written; the module's last line tells."""
    content, config = module.read_bytes() if module.is_file() else b"", module.with_suffix(".json")
    seal = _SEAL.search(content)
    if seal is None or _digest(content[: seal.start()]) != seal[1].decode():
        return ()
    same = config.is_file() and _digest(config.read_bytes()) == seal[2].decode()
    return (module, config) if same else (module,)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _local_names(classes: Sequence[type], taken: Collection[str]) -> dict[type, str]:
    """A name for each class in a module where some names are taken; equal names are numbered."""
    names: dict[type, str] = {Experiment: "Experiment"}
    for each in classes:
        outer, dot, inner = each.__qualname__.partition(".")
        used = {*taken, *(name.partition(".")[0] for name in names.values())}
        number = next(i for i in itertools.count(1) if (outer if i == 1 else f"{outer}_{i}") not in used)
        names.setdefault(each, f"{outer if number == 1 else f'{outer}_{number}'}{dot}{inner}")
    return names


def _imported(each: type, names: Mapping[type, str]) -> tuple[str, str, str]:
    """The module of a class, what to import from it, and under which name."""
    return _home(each), each.__qualname__.partition(".")[0], names[each].partition(".")[0]


def _home(each: type) -> str:
    """The module; a script's own name where the class was defined in the script that runs."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).stem if each.__module__ == "__main__" and file else each.__module__


def _expression(value: object, names: Mapping[type, str], indent: int = 0) -> str:
    """Python that makes a config again, with the fields that are not at their defaults."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if not isinstance(value, Config):
        if isinstance(value, tuple) and any(isinstance(item, Config | float) for item in value):
            return f"({', '.join(_expression(item, names, indent) for item in value)},)"
        return repr(value)
    given = [each for each in fields(value) if each.name in hints(type(value)) and not _is_default(value, each)]
    inner = " " * (indent + 4)
    lines = [f"{inner}{each.name}={_expression(getattr(value, each.name), names, indent + 4)},\n" for each in given]
    flat = ", ".join(line.strip().removesuffix(",") for line in lines)
    name = names[type(value)]
    if len(flat) + len(name) + indent < 90 and "\n" not in flat:
        return f"{name}({flat})"
    return f"{name}(\n{''.join(lines)}{' ' * indent})"


def _is_default(config: Config, field: "Field[Any]") -> bool:
    value = getattr(config, field.name)
    return field.default is not MISSING and value == field.default and type(value) is type(field.default)


def _imports(needed: set[tuple[str, str, str]]) -> Iterator[str]:
    """Lines of imports, those of the standard library first, and last what Python's syntax cannot import."""
    by_home: dict[str, list[tuple[str, str]]] = {}
    for home, name, local in sorted(needed):
        by_home.setdefault(home, []).append((name, local))
    unwritable = {home: by_home.pop(home) for home in list(by_home) if not _can_be_written(home)}
    standard = [f"from {home} import {_listed(by_home.pop(home))}" for home in ("dataclasses",) if home in by_home]
    if unwritable:
        standard.append("from importlib import import_module")
    if standard:
        yield from (*standard, "")
    for home, names in by_home.items():
        yield f"from {home} import {_listed(names)}"
    for home, names in unwritable.items():  # such as my-space.py
        yield from ("", *(f"{local} = import_module({home!r}).{name}" for name, local in names))


def _can_be_written(home: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in home.split("."))


def _listed(names: Sequence[tuple[str, str]]) -> str:
    return ", ".join(dict.fromkeys(name if name == local else f"{name} as {local}" for name, local in names))
