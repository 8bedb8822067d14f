"""The order of the tests, and which of them `make quick` runs."""

import pytest

from tests.support.tiers import quick


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
