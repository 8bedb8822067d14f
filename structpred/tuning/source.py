"""The best experiment as a Python module that runs and compares."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, replace
from typing import Any

from structpred.config import Config, components, hints
from structpred.experiment import Experiment
from structpred.registry import objectives

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
    arms, extra, baseline = '"tuned": TUNED', set(), ""
    if type(experiment.objective) is not likelihood:
        arms = f'"ML": replace(TUNED, objective={likelihood.__name__}()), {arms}'
        extra = {("dataclasses", "replace"), (likelihood.__module__, likelihood.__name__)}
        baseline = "ML is the same with maximum likelihood, which had no search of its own.\n"
    tuned = expression(replace(experiment, seed=0))
    classes = {type(part) for part in components(experiment) if re.search(rf"\b{type(part).__name__}\(", tuned)}
    needed = {(each.__module__, each.__qualname__) for each in classes}
    imports = needed | extra | {("structpred.comparison.runner", "compare"), ("structpred.experiment", "Experiment")}
    return _MODULE.format(
        question=f"Does what the study {name} found best beat likelihood?",
        budget=textwrap.fill(budget, 100),
        baseline=baseline,
        part="took part" if {0, 1, 2, 3, 4} & set(seeds) else "took no part",
        imports="\n".join(_imports(imports)),
        tuned=tuned,
        arms=arms,
        stem=stem,
    )


def expression(value: object, indent: int = 0) -> str:
    """Python that makes a config again, with the fields that are not at their defaults."""
    if not isinstance(value, Config):
        if isinstance(value, tuple) and any(isinstance(item, Config) for item in value):
            return f"({', '.join(expression(item, indent) for item in value)},)"
        return repr(value)
    given = [each for each in fields(value) if each.name in hints(type(value)) and not _is_default(value, each)]
    inner = " " * (indent + 4)
    lines = [f"{inner}{each.name}={expression(getattr(value, each.name), indent + 4)},\n" for each in given]
    flat = ", ".join(line.strip().removesuffix(",") for line in lines)
    name = type(value).__qualname__
    if len(flat) + len(name) + indent < 90 and "\n" not in flat:
        return f"{name}({flat})"
    return f"{name}(\n{''.join(lines)}{' ' * indent})"


def _is_default(config: Config, field: "Field[Any]") -> bool:
    value = getattr(config, field.name)
    return field.default is not MISSING and value == field.default and type(value) is type(field.default)


def _imports(names: set[tuple[str, str]]) -> Iterator[str]:
    """Lines of imports, those of the standard library first."""
    standard = sorted(name for name in names if name[0] == "dataclasses")
    for home, name in standard:
        yield f"from {home} import {name}"
    if standard:
        yield ""
    by_home: dict[str, list[str]] = {}
    for home, name in sorted(names - set(standard)):
        by_home.setdefault(home, []).append(name.partition(".")[0])
    for home, found in by_home.items():
        yield f"from {home} import {', '.join(dict.fromkeys(found))}"
