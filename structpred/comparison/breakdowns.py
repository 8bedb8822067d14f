"""Sections of a report on individual outputs: errors by kind of example and by symbol, and examples to browse."""

from structpred.comparison.findings import ComparisonResult
from structpred.comparison.inspection import Breakdown, Inspection
from structpred.report.document import Browser, Column, Section, Sentences, Table

_WHAT = "errors by length, label, frequency and position, confusions and examples"


def note(found: Inspection | None) -> str:
    """Where the report examines individual outputs, or why it does not."""
    if found is None:
        return (
            f"These results do not include outputs, so {_WHAT} are left out; a report that structpred compare writes "
            "from the folders of the runs has them."
        )
    if not found.counted:
        return f"{_WHAT.capitalize()} are left out: {found.notice}."
    return f"{_WHAT.capitalize()} are on the page, report.html."


def sections(report: ComparisonResult) -> tuple[Section, ...]:
    """Both sections; empty if no outputs were examined, as `note` then explains."""
    found = report.inspection
    if found is None or not found.counted:
        return ()
    return (_errors(found, list(report.arms)), _examples(found))


def _errors(found: Inspection, arms: list[str]) -> Section:
    how = "positions that differ" if found.in_place else "symbols to change, leave out or put in (edit distance)"
    part = (
        f"{found.counted:,} of {found.total:,} test examples, evenly spread"
        if _sampled(found)
        else (f"all {found.total:,} test examples")
    )
    says = (
        f"Errors are {how}, counted against the nearest reference, on {part}; values are means over seeds. They "
        "describe where arms differ and are not tested: among many rows some differ by chance.",
    )
    blocks: list[Sentences | Table] = [Sentences(says)]
    for each in found.breakdowns:
        blocks += [_table(each, arms)]
        if each.chosen is not None and each.chosen > len(each.rows):
            blocks.append(
                Sentences(
                    (
                        f"These {len(each.rows)} of {each.chosen:,} were chosen because arms differ most in them, so "
                        "their differences are exaggerated.",
                    )
                )
            )
    return Section("Where the errors are", tuple(blocks), on_page=True)


def _sampled(found: Inspection) -> bool:
    return found.counted < found.total


def _table(breakdown: Breakdown, arms: list[str]) -> Table:
    first = [Column(f"{breakdown.title} ({breakdown.unit})", numeric=False), Column(breakdown.counted)]
    columns = (*first, *map(Column, arms))
    rows = tuple((row.name, f"{row.count:,}", *(f"{row.values[arm]:.2f}" for arm in arms)) for row in breakdown.rows)
    return Table(columns, rows)


def _examples(found: Inspection) -> Section:
    if not found.shown:
        return Section("Examples", (Sentences((f"No examples are shown: {found.notice}.",)),), on_page=True)
    number = len(found.shown["examples"])
    part = f"{number:,} of {found.total:,}, evenly spread" if number < found.total else f"all {found.total:,}"
    says = (
        f"Test examples ({part}) with the output of every arm under one seed. Marked: what differs from the reference; "
        "struck through: what the output lacks. An arm's gain is how many errors fewer it makes than the baseline.",
        f"Source: {found.notice}.",
    )
    return Section("Examples", (Sentences(says), Browser(found.shown)), on_page=True)
