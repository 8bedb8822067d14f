"""Imports point one way: experiments → tasks, objectives → structpred; and downwards inside structpred."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shapes import CHECKED

ROOT = Path(__file__).resolve().parents[1]
OUTER = ("objectives", "tasks", "experiments")

# Lowest first. A name is a module or a package of structpred; those of one layer may import each other, one way.
LAYERS = (
    "errors text protocols foreign registry declared values config assignment blame returned sequences vocabulary "
    "metrics task reading downloads results files seeds provenance "
    "imports tally statistics running",
    "distributions rewards",
    "payoffs models pretrained objective training",
    "experiment runs report forecast display",
    "engine",
    "comparison diagnosis environments capabilities testing",
    "tuning",
    "cli",
)
LAYER = {name: layer for layer, names in enumerate(LAYERS) for name in names.split()}


def modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Dotted names below structpred, and files; the three links are not followed."""
    inner = folder.name == "structpred"
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder if inner else ROOT).with_suffix("").parts
        if not (inner and parts[0] in OUTER):
            yield ".".join(part for part in parts if part != "__init__"), path


def imported(source: str, package: str) -> set[str]:
    """Dotted names below structpred that a module of ``package`` imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ["structpred", *package.split(".")][: -node.level + 1 or None] if node.level else []
            home = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{home}.{alias.name}" for alias in node.names}
    return {name.removeprefix("structpred.") for name in found if name.startswith("structpred.")}


def imports_of(folder: Path) -> list[tuple[str, str]]:
    """Pairs of a module and what it imports, both as dotted names below structpred."""
    pairs = []
    for name, path in modules(folder):
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        pairs += [(name, other) for other in sorted(imported(path.read_text(encoding="utf-8"), package))]
    return pairs


def top(name: str) -> str:
    return name.partition(".")[0]


INSIDE = imports_of(ROOT / "structpred")


def test_imports_are_found_however_they_are_written() -> None:
    source = """
import structpred.tasks, os
from structpred import models
from structpred.rewards.hamming import Hamming
from . import base
from ..config import Config
def later():
    from structpred.objectives import RML
"""
    assert imported(source, "payoffs") == {
        "tasks", "models", "rewards.hamming.Hamming", "payoffs.base", "config.Config", "objectives.RML",
    }  # fmt: skip
    assert ("config", "errors.ConfigError") in INSIDE


def test_structpred_imports_no_objective_task_or_experiment() -> None:
    assert [pair for pair in INSIDE if top(pair[1]) in OUTER] == []


@pytest.mark.parametrize("folder", ["objectives", "tasks"])
def test_objectives_and_tasks_import_only_structpred_and_their_own(folder: str) -> None:
    forbidden = set(OUTER) - {folder}
    assert [pair for pair in imports_of(ROOT / folder) if top(pair[1]) in forbidden] == []


def test_every_module_has_a_layer() -> None:
    homeless = {top(name) for name, _ in modules(ROOT / "structpred")} - set(LAYER) - {"", "__main__"}
    assert homeless == set(), "give it a layer in LAYERS"


def test_the_map_has_the_same_layers() -> None:
    """The first table of docs/architecture.md: one line for each layer, lowest first."""
    map_ = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = map_.partition("|---|---|\n")[2].partition("\n\n")[0].splitlines()
    drawn = [set(re.findall(r"`structpred/(\w+)(?:\.py|/)`", line)) for line in lines]
    assert drawn == [set(names.split()) for names in LAYERS]


def test_imports_point_downwards() -> None:
    layers = [(pair, LAYER.get(top(pair[0])), LAYER.get(top(pair[1]))) for pair in INSIDE if top(pair[0]) in LAYER]
    assert [pair for pair, _, theirs in layers if theirs is None] == [], "names of structpred itself: import their home"
    assert [pair for pair, own, theirs in layers if own is not None and theirs is not None and theirs > own] == []


def test_no_two_packages_import_each_other() -> None:
    edges = {(top(one), top(other)) for one, other in INSIDE if top(one) != top(other)}
    assert [edge for edge in sorted(edges) if edge[::-1] in edges] == []
    assert ("rewards", "payoffs") not in edges
    assert ("distributions", "models") not in edges


def test_training_never_goes_through_an_environment() -> None:
    assert {top(one) for one, other in INSIDE if top(other) == "environments"} == {"environments"}


def test_no_circle_of_packages() -> None:
    edges = {(top(one), top(other)) for one, other in INSIDE if top(one) and top(one) != top(other)}
    left = {name for edge in edges for name in edge}
    while free := {name for name in left if not any(one == name and other in left for one, other in edges)}:
        left -= free
    assert left == set(), "these import each other in a circle"


def test_shapes_are_checked_wherever_they_are_stated() -> None:
    stating = {
        name
        for folder in ("structpred", "objectives", "tasks")
        for name, path in modules(ROOT / folder)
        if "from jaxtyping import" in path.read_text(encoding="utf-8")
    }
    assert "training.data" in stating
    unchecked = {name for name in stating if not any(f"{name}.".startswith(f"{package}.") for package in CHECKED)}
    assert unchecked == set(), "add its package to CHECKED of tests/support/shapes.py"
