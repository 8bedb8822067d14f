"""The best experiment as a Python module that runs and compares."""

import re
import textwrap
from dataclasses import replace

from structpred.config import components
from structpred.experiment import Experiment
from structpred.plain import plain
from structpred.registry import objectives
from structpred.report.source import expression, imported, imports, local_names

_TAKEN = {"replace", "compare", "import_module", "TUNED", "experiments", "report"}
"""What the module calls its own things."""

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
    names = local_names([*own, likelihood], _TAKEN)
    arms, extra, baseline = '"tuned": TUNED', set(), ""
    if type(experiment.objective) is not likelihood:
        arms = f'"ML": replace(TUNED, objective={names[likelihood]}()), {arms}'
        extra = {("dataclasses", "replace", "replace"), imported(likelihood, names)}
        baseline = "ML is the same with maximum likelihood, which had no search of its own.\n"
    tuned = expression(replace(experiment, seed=0), names)
    needed = {imported(each, names) for each in own if re.search(rf"\b{re.escape(names[each])}\(", tuned)}
    runner = ("structpred.comparison.runner", "compare", "compare")
    return _MODULE.format(
        question=_quoted(f"Does what the study {name} found best beat likelihood?"),
        budget=textwrap.fill(budget, 100),
        baseline=baseline,
        part="took part" if {0, 1, 2, 3, 4} & set(seeds) else "took no part",
        imports="\n".join(imports(needed | extra | {runner, ("structpred.experiment", "Experiment", "Experiment")})),
        tuned=tuned,
        arms=arms,
        stem=stem,
    )


def _quoted(text: str) -> str:
    """The text as it must stand between triple quotes, where a quote or a backslash would mean something."""
    return plain(text).replace("\\", r"\\").replace('"', r"\"")
