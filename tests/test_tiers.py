"""What `make quick` leaves out, and that the whole suite leaves nothing out."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.support.tiers import quick

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Collected:
    """What the choice asks of a test that pytest found."""

    nodeid: str
    slow: bool = False

    def get_closest_marker(self, name: str) -> object:
        assert name == "slow"
        return self.slow or None


def test_of_a_sweep_the_first_and_the_last_case_are_quick_and_nothing_slow_is() -> None:
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
        "a.py::test_sweep[0]", "a.py::test_sweep[4]", "a.py::test_pair[x]", "a.py::test_pair[y]",
        "a.py::test_some_slow[1]", "a.py::test_some_slow[2]", "a.py::test_alone", "b.py::test_sweep[0]",
    ]  # fmt: skip


def test_each_tier_is_a_target_and_the_whole_suite_leaves_nothing_out() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = dict(re.findall(r"^(\w+): \$\(VENV\)/\.dev\n((?:\t.*\n)+)", makefile, flags=re.MULTILINE))
    assert "--quick" in recipes["quick"]
    assert "--quick" not in recipes["test"]
    assert "not slow" not in recipes["test"]
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert not any(option.startswith(("-m", "-k", "--quick", "--deselect")) for option in options["addopts"])
