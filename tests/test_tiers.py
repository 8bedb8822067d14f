"""What `make quick` leaves out, that the whole suite leaves nothing out, and where shapes are checked."""

import re
import tomllib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import torch
from jaxtyping import TypeCheckError
from matplotlib.axes import Axes

from structpred.distributions.layout import inside
from structpred.report.drawing import chart
from tests.support.tiers import SHAPES, quick, unrendered

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Collected:
    """What the choice asks of a test that pytest found."""

    nodeid: str
    slow: bool = False

    def get_closest_marker(self, name: str) -> object:
        assert name == "slow"
        return self.slow or None


def test_of_a_sweep_the_first_case_is_quick_and_nothing_slow_is() -> None:
    whole = [
        *(Collected(f"a.py::test_sweep[{number}]") for number in range(5)),
        Collected("a.py::test_pair[x]"),
        Collected("a.py::test_pair[y]"),
        *(Collected(f"a.py::test_some_slow[{number}]", slow=number in (0, 3)) for number in range(4)),
        Collected("a.py::test_alone"),
        Collected("a.py::test_slow", slow=True),
        Collected("b.py::test_sweep[0]"),
    ]
    assert [item.nodeid for item in quick(cast(list[pytest.Item], whole))] == [
        "a.py::test_sweep[0]", "a.py::test_pair[x]", "a.py::test_pair[y]", "a.py::test_some_slow[1]",
        "a.py::test_some_slow[2]", "a.py::test_alone", "b.py::test_sweep[0]",
    ]  # fmt: skip


@pytest.mark.parametrize("case", ["first", "second", "third"])
def test_shapes_are_checked_in_the_first_case_of_a_sweep(case: str, request: pytest.FixtureRequest) -> None:
    checked = request.config.stash[SHAPES]
    selected = [item for item in request.session.items if item.nodeid.startswith(request.node.nodeid.partition("[")[0])]
    first = len(selected) < 3 or request.node is selected[0]
    assert (request.node in checked) == first
    checks = first and not request.config.getoption("quick")
    with pytest.raises(TypeCheckError) if checks else nullcontext():
        inside(torch.zeros(2), 3)  # of floats, where lengths are integers


@pytest.mark.figures
def test_where_figures_are_not_rendered_they_are_built_and_stand_as_empty_ones() -> None:
    built = []

    def draw(axes: Axes) -> None:
        built.append(axes)

    with unrendered():
        empty = chart(draw, (1.0, 1.0), "salt", "x")
    whole = chart(draw, (1.0, 1.0), "salt", "x")
    assert len(built) == 2
    assert (empty.count("<path"), empty.count("<svg "), empty.count("viewBox")) == (0, 1, 1)
    assert whole.count("<path") > 3


def test_each_tier_is_a_target_and_the_whole_suite_leaves_nothing_out() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = dict(re.findall(r"^(\w+): \$\(VENV\)/\.dev\n((?:\t.*\n)+)", makefile, flags=re.MULTILINE))
    assert "--quick" in recipes["quick"]
    assert "--quick" not in recipes["test"]
    assert "not slow" not in recipes["test"]
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert not any(option.startswith(("-m", "-k", "--quick", "--deselect")) for option in options["addopts"])
