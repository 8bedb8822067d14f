"""The order of the tests, and which of them `make quick` runs."""

from itertools import groupby

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick``."""
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out slow tests, and all but the first and the last case of each sweep",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that processes which share the files end at about the same time."""
    if config.getoption("quick"):
        kept = set(quick(items))
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def quick(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests of the quick tier, in their order."""
    kept: list[pytest.Item] = []
    fast = [item for item in items if not item.get_closest_marker("slow")]
    for _, cases in groupby(fast, key=lambda item: item.nodeid.partition("[")[0]):
        several = list(cases)
        kept += several if len(several) < 3 else [several[0], several[-1]]
    return kept
