"""The order of the tests, which of them `make quick` runs, where shapes are checked, and what no test may leave on."""

import gc
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch

from tests.support.shapes import check_shapes
from tests.support.tiers import SHAPES, quick, unrendered

A_FEW = 3
"""Seconds that a test marked slow is taken to need if its mark says nothing else."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick``."""
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out slow tests, and all but the first case of each sweep",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check shapes, but for ``--quick``."""
    if not config.getoption("quick"):
        check_shapes()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files that take longest first, so that processes which share the files end at about the same time."""
    if config.getoption("quick"):
        kept = set(quick(items))
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]
    seconds: Counter[Path] = Counter()
    for item in items:
        slow = item.get_closest_marker("slow")
        seconds[item.path] += slow.kwargs.get("seconds", A_FEW) if slow else 0
    items.sort(key=lambda item: -seconds[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Check shapes in the tests of the quick tier, and render figures for tests that are slow or look at them.

    The others repeat the same calls with other values. Fixtures of any scope count to the test that asks first.
    """
    jaxtyping.config.update("jaxtyping_disable", item not in item.config.stash[SHAPES])
    if item.get_closest_marker("slow") or item.get_closest_marker("figures"):
        return (yield)
    with unrendered():
        return (yield)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Choose where shapes are checked, and exempt all that was imported from garbage collection."""
    session.config.stash[SHAPES] = frozenset(quick(session.items))
    gc.collect()
    gc.freeze()  # it would be walked again and again


@pytest.fixture(autouse=True)
def _subnormals() -> Iterator[None]:
    """A test that leaves the flushing of subnormal numbers on fails, and not one that needs them an hour later."""
    yield
    if sys.float_info.min / 2 == 0:
        torch.set_flush_denormal(False)
        pytest.fail("subnormal numbers are flushed to zero from this test on: restore the setting of the process")
