"""Whether results were seen before seeds were added, as an earlier report in the folder shows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from structpred.comparison.findings import ComparisonResult
from structpred.errors import RunError
from structpred.report.files import RESULTS, results_in

Result = TypeVar("Result", bound=ComparisonResult)


@dataclass(frozen=True)
class Look:
    """What an earlier report showed.

    Attributes:
        identities: of its runs.
        seeds: those it had.
        anytime: it was decided by the anytime-valid test.
    """

    identities: frozenset[str]
    seeds: frozenset[int]
    anytime: bool

    def at(self, report: ComparisonResult) -> bool:
        """True where a report has runs that were seen, and its seeds were not fixed before."""
        runs = {run.identity for runs in report.results.values() for run in runs}
        return bool(runs & self.identities) and (self.anytime or self.seeds != {*report.seeds})


def looks_in(folder: Path) -> tuple[Look, ...]:
    """The comparisons reported in a folder; empty if there is no report."""
    try:
        tree = results_in(folder / RESULTS)
        several = tree.get("panels") or tree.get("tasks") or {"": tree}
        return tuple(_look(node) for node in several.values() if "runs" in node)
    except (RunError, LookupError, TypeError, AttributeError):  # nothing that could be read, nothing that was seen
        return ()


def _look(node: dict[str, Any]) -> Look:
    identities = frozenset(run["identity"] for runs in node["runs"].values() for run in runs)
    return Look(identities, frozenset(node["seeds"]), node.get("design", {}).get("rule") == "anytime")


def after_looks(found: Result, looks: tuple[Look, ...]) -> Result:
    """What was found, decided by the anytime-valid test if its seeds were added after one of these looks.

    A comparison with the same seeds as the earlier one is that comparison again, not a further look.
    """
    if not any(look.at(found) for look in looks):
        return found
    return replace(found, design=replace(found.design, rule="anytime"))
