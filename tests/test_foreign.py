"""The source of components from outside the package in a run's identity."""

import importlib
import linecache
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from structpred.experiment import Experiment
from structpred.foreign import UNREADABLE, UnreadableSourceWarning, digests
from structpred.models import Seq2Seq
from structpred.objectives import RML, MaximumLikelihood
from structpred.tasks import Tsv
from tests.support.forked import python

BUILT_IN = Experiment(task=Tsv(train="a.tsv", dev="b.tsv"), model=Seq2Seq(hidden=8), objective=RML(), seed=3)

MINE = """
from dataclasses import dataclass
from typing import ClassVar
from structpred.metrics import WordErrorRate
from structpred.objectives import MaximumLikelihood
from structpred.registry import objectives, tasks
from structpred.tasks import Tsv

def helper(): return 1

@objectives.register("mine-in-a-test")
@dataclass(frozen=True, kw_only=True)
class Mine(MaximumLikelihood):
    def losses(self, p, targets, given):
        return super().losses(p, targets, given)
"""


@pytest.fixture
def define(own_registries: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ModuleType]:
    """Write a module and import it afresh."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, source: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    return write


def identity(module: ModuleType, name: str = "Mine") -> str:
    return replace(BUILT_IN, objective=getattr(module, name)()).identity("data")


def test_identities_of_the_package_are_those_of_before() -> None:
    """Recorded before there were digests of code: every run that anybody has is found by these."""
    warm = replace(BUILT_IN, start=replace(BUILT_IN, objective=MaximumLikelihood()))
    past, warm_past = ({*each.past_identities("data", code=False)} for each in (BUILT_IN, warm))
    assert "9be6c185ae926449f7aa71df996a0bd1ea8e47ea960e22414dbb79aa16a269a5" in past
    assert "b17ab830c89e7c08fea8cff8b089fc5b031413146f1603eae57a2ae46233cdaa" in warm_past
    assert BUILT_IN.identity("data") in past
    assert warm.identity("data") in warm_past


def test_an_edit_of_the_file_of_a_component_is_another_identity(define: Callable[[str, str], ModuleType]) -> None:
    first = identity(define("mine_one", MINE))
    assert identity(define("mine_one", MINE)) == first
    assert identity(define("mine_one", MINE.replace("return 1", "return 2"))) != first, "a helper function counts"
    assert identity(define("mine_one", MINE.replace("\n", "\r\n"))) == first, "line ends do not"


def test_an_edit_of_a_base_class_in_another_file_is_another_identity(
    define: Callable[[str, str], ModuleType],
) -> None:
    child = (
        "from dataclasses import dataclass\nfrom mine_base import Mine\nfrom structpred.registry import objectives\n"
    )
    child += (
        '@objectives.register("mine-child-in-a-test")\n@dataclass(frozen=True, kw_only=True)\nclass Child(Mine): ...\n'
    )
    found = set()
    for source in (MINE, MINE.replace("super().losses", "MaximumLikelihood().losses")):
        define("mine_base", source)
        found.add(identity(define("mine_child", child), "Child"))
    assert len(found) == 2


def test_a_metric_of_a_task_counts(define: Callable[[str, str], ModuleType]) -> None:
    metric = "from structpred.metrics import WordErrorRate\nclass Mine(WordErrorRate):\n    name = 'MINE'\n"
    task = """
        from dataclasses import dataclass
        from mine_metric import Mine
        from structpred.registry import tasks
        from structpred.tasks import Tsv
        @tasks.register("mine-task-in-a-test")
        @dataclass(frozen=True, kw_only=True)
        class Task(Tsv):
            metrics = (Mine(),)
        """
    found = set()
    for source in (metric, metric + "    def score(self, totals): return 0.0\n"):
        define("mine_metric", source)
        made = define("mine_task", task).Task(train="a.tsv", dev="b.tsv")
        found.add(replace(BUILT_IN, task=made).identity("data"))
    assert len(found) == 2


def test_the_digest_is_that_of_the_code_that_runs(define: Callable[[str, str], ModuleType], tmp_path: Path) -> None:
    """Not of what the file has become since it was imported."""
    module = define("mine_one", MINE)
    (tmp_path / "mine_one.py").write_text(MINE.replace("return 1", "return 2"), encoding="utf-8")
    changed = identity(module)
    assert changed == identity(define("mine_one", MINE))


def test_a_class_whose_source_cannot_be_read_says_so() -> None:
    space = {"__name__": "__main__"}
    exec("class Typed:\n    def f(self): return 1\n", space)
    with pytest.warns(UnreadableSourceWarning, match="source of __main__:Typed cannot be read.*define it in a file"):
        assert digests([space["Typed"]]) == (f"{UNREADABLE}__main__:Typed",)  # type: ignore[list-item]


def test_a_class_in_a_cell_of_a_notebook_has_the_source_of_the_class() -> None:
    def cell(source: str, number: int) -> tuple[str, ...]:
        name = f"<cell {number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        space = {"__name__": "__main__"}
        exec(compile(source, name, "exec"), space)
        return digests([space["Typed"]])  # type: ignore[list-item]

    source = "class Typed:\n    weight = 1\n    def f(self): return 1\n"
    first = cell(source, 1)
    assert cell("import os\n\n" + source, 2) == first, "the rest of the cell does not count"
    assert cell(source.replace("weight = 1", "weight = 2"), 3) != first


SCRIPT = (
    MINE
    + """
if __name__ == "__main__":
    from multiprocessing import get_context
    from concurrent.futures import ProcessPoolExecutor
    from structpred.config import encode
    def sources(mine): return encode(mine, versions=True)["sources"]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(encode, Mine(), versions=True).result()["sources"] == sources(Mine())
    print(sources(Mine())[0])
"""
)


@pytest.mark.slow
def test_a_class_of_a_script_has_one_digest_in_the_script_and_in_its_workers(tmp_path: Path) -> None:
    script, found = tmp_path / "script.py", []
    for source in (SCRIPT, SCRIPT.replace("return super()", "return  super()")):
        script.write_text(source, encoding="utf-8")
        done = python([str(script)], tmp_path)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] != found[1]
