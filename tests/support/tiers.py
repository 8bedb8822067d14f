"""Which tests `make quick` runs, in which shapes are checked, and what tests leave out that look at no figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any, TextIO

import pytest

EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt" viewBox="0 0 1 1"><g/></svg>'

SHAPES = pytest.StashKey[frozenset[pytest.Item]]()
"""The tests in which shapes are checked."""


def quick(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests of the quick tier, in their order: none that is slow, and the first case of each sweep."""
    return first_cases([item for item in items if not item.get_closest_marker("slow")])


def first_cases(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests in their order, but of each sweep only the first case.

    Two cases are no sweep but two different things.
    """
    kept: list[pytest.Item] = []
    for _, cases in groupby(items, key=lambda item: item.nodeid.partition("[")[0]):
        several = list(cases)
        kept += several if len(several) < 3 else several[:1]
    return kept


@contextmanager
def unrendered() -> Iterator[None]:
    """Figures are built as always, but their SVG is empty: rendering takes matplotlib most of the time of a report."""
    from matplotlib.figure import Figure

    rendered = Figure.savefig

    def savefig(self: Figure, stream: TextIO, *, format: str, **settings: Any) -> None:
        if format == "svg":
            stream.write(EMPTY)
        else:
            rendered(self, stream, format=format, **settings)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Figure, "savefig", savefig)
        yield
