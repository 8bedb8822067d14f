"""Which tests `make quick` runs."""

from itertools import groupby

import pytest


def quick(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests of the quick tier, in their order."""
    kept: list[pytest.Item] = []
    fast = [item for item in items if not item.get_closest_marker("slow")]
    for _, cases in groupby(fast, key=lambda item: item.nodeid.partition("[")[0]):
        several = list(cases)
        kept += several if len(several) < 3 else [several[0], several[-1]]
    return kept
