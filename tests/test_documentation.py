"""What the documents say is there, and what they show runs."""

import importlib.metadata
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import structpred
from structpred.environments import IDS
from structpred.registry import FAMILIES, tasks
from structpred.runs.folder import Folder, files_of
from tests.support.forked import python

ROOT = Path(__file__).resolve().parents[1]
PAPERS = ROOT / "docs" / "papers.md"
MAP = ROOT / "docs" / "architecture.md"
PAGES = [
    ROOT / "docs" / name
    for name in (
        "index.md",
        "quick_start.md",
        "python.md",
        "comparison.md",
        "payoffs.md",
        "tasks.md",
        "pretrained.md",
        "rewards.md",
        "decoding.md",
        "training.md",
        "tuning.md",
        "environments.md",
        "diagnosis.md",
        "extending.md",
    )
]
DOCUMENTS = [PAPERS, MAP, *PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
OURS = ("structpred", "objectives", "tasks", "experiments", "tests", "docs", ".ci")


def in_code_type(document: Path) -> list[str]:
    """What stands between single backticks, without the fenced blocks."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def paths_in(document: Path) -> list[str]:
    """Files and folders of this repository that a document names."""
    words = [word for word in in_code_type(document) if re.fullmatch(r"[\w./-]+", word)]
    inside = [word for word in words if word.partition("/")[0] in OURS and "/" in word and word not in IDS]
    at_the_top = [word for word in words if "/" not in word and word.endswith((".md", ".toml", ".txt"))]
    return inside + [word for word in at_the_top if word not in files_of_a_run()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(document: Path) -> None:
    assert [path for path in paths_in(document) if not (ROOT / path).exists()] == []


def test_paths_are_found_in_documents() -> None:
    assert "tests/test_architecture.py" in paths_in(MAP)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_and_names_that_are_named_can_be_imported(document: Path) -> None:
    for word in in_code_type(document):
        if re.fullmatch(r"structpred(\.\w+)+", word):
            resolved(word)


def resolved(name: str) -> object:
    """What a dotted name stands for; where an extra is absent that its module needs, the test is skipped."""
    if name.startswith("structpred.environments.stable_baselines"):
        pytest.importorskip("sb3_contrib", reason="needs the extra rl: pip install structpred[rl]")
    return pkgutil.resolve_name(name)


def test_every_method_has_an_entry_and_every_entry_a_method() -> None:
    families = [registry for registry in FAMILIES if registry is not tasks]
    known = {
        (registry.family, name)
        for registry in families
        for name in registry
        if registry[name].__module__.startswith("structpred.")  # not what other tests or packages register
    }
    words = "|".join(registry.family for registry in families)
    described = re.findall(rf"\b({words}) `([\w-]+)`", PAPERS.read_text(encoding="utf-8"), flags=re.IGNORECASE)
    assert {(family.lower(), name) for family, name in described} == known


def files_of_a_run() -> set[str]:
    """The names of everything that a run's folder may hold."""
    return {path.name for path in files_of(Folder(Path()))} - {".lock"}


def test_the_files_of_a_run_are_those_on_the_map() -> None:
    form = re.compile(r"[\w.]+\.(jsonl?|pt|npz|tsv|txt)|SHA256SUMS")
    assert {word for word in in_code_type(MAP) if form.fullmatch(word)} == files_of_a_run()


# ----------------------------------------------------------------------------------------------------------- site

READ = [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("*.md")),
    ROOT / "experiments" / "records" / "README.md",
]


@pytest.mark.parametrize("document", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_lead_to_what_git_holds(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)[)#\s]", document.read_text(encoding="utf-8"))
    inside = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in inside if not (document.parent / link).exists()] == []
    assert [link for link in inside if link.endswith(".html")] == [], "HTML of reports is not in git"


def anchors(document: Path) -> set[str]:
    """What a link may name of a document: the headings whose anchors are the same on GitHub and on the site."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    words = [re.sub(r"[^\w -]", "", heading.lower()) for heading in headings]
    return {word.replace(" ", "-") for word in words if "--" not in word.replace(" ", "-")}


@pytest.mark.parametrize("document", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_headings_lead_to_one(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s#:]*)#([^)\s]+)\)", document.read_text(encoding="utf-8"))
    for path, anchor in links:
        assert anchor in anchors(document.parent / path if path else document), f"{path}#{anchor}"


def test_headings_have_the_anchors_that_links_name() -> None:
    assert {"payoffs", "edit-distance-payoff-drawn-exactly-payoff-edit-distance"} <= anchors(PAPERS)


def test_every_page_of_the_site_is_in_its_navigation_once() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = re.findall(r"^ +- ([\w/]+\.md)$", navigation, flags=re.MULTILINE)
    assert sorted(pages) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_python_api_on_the_site_has_every_public_name() -> None:
    shown = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [resolved(name) for name in shown]
    within = [getattr(each, name) for each in found if isinstance(each, ModuleType) for name in vars(each)]
    for name in structpred.__all__:
        assert any(getattr(structpred, name) is each for each in [*found, *within]), name


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in text
    assert "\n  - name: The structpred authors\n" in text
    assert "Reward Augmented Maximum Likelihood for Neural Structured Prediction" in text
    assert "arXiv:1609.00150" in text


# ---------------------------------------------------------------------------------------------------- constraints


def pins() -> dict[str, str]:
    """The pinned versions that apply to this Python, by canonical name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = {}
    for pin in (Requirement(line) for line in lines if line and not line.startswith("#")):
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        if pin.marker is None or pin.marker.evaluate():
            found[canonicalize_name(pin.name)] = specifier.version
    return found


def declared() -> list[Requirement]:
    """What pyproject.toml asks for, to run, to develop, and for agents of other libraries."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    return [Requirement(line) for line in [*project["dependencies"], *extras["dev"], *extras["rl"]]]


def applies(requirement: Requirement, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def test_every_dependency_is_pinned_within_its_range() -> None:
    pinned = pins()
    for requirement in filter(applies, declared()):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


def test_what_dependencies_bring_along_is_pinned() -> None:
    pinned, seen = pins(), set()
    waiting = [requirement for requirement in declared() if applies(requirement)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"constraints.txt does not pin {name}"
        if name in seen or name == "torch":  # torch pins what it brings along for a GPU by itself
            continue
        seen.add(name)
        waiting += needed_by(name, requirement.extras)
    assert len(seen) > 20


def needed_by(name: str, extras: set[str]) -> list[Requirement]:
    try:
        requirements = [Requirement(line) for line in importlib.metadata.requires(name) or ()]
    except importlib.metadata.PackageNotFoundError:
        return []
    return [each for each in requirements if any(applies(each, extra) for extra in ("", *extras))]


def locked() -> dict[str, tuple[Requirement, list[str]]]:
    """What requirements.lock asks for, by canonical name, and the digests of each."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for entry in re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines():
        asked, *digests = re.split(r"\s+--hash=", entry.strip())
        requirement = Requirement(asked)
        found[canonicalize_name(requirement.name)] = (requirement, digests)
    return found


def test_the_lock_holds_the_versions_that_were_tried() -> None:
    pinned = pins()
    for name, (requirement, digests) in locked().items():
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
        assert digests, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in digests), requirement
        if not name.startswith(("cuda-", "nvidia-", "triton")):  # torch names exact versions of these
            assert pinned[name] == specifier.version, "make requirements.lock again, by the command at its top"


def test_the_lock_holds_everything_that_running_takes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries, seen = locked(), set()
    waiting = [Requirement(line) for line in project["dependencies"]]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert name in entries, f"requirements.lock does not hold {name}; make it again, by the command at its top"
        assert requirement.specifier.contains(next(iter(entries[name][0].specifier)).version)
        if name not in seen and name != "torch":
            waiting += needed_by(name, requirement.extras)
        seen.add(name)
    assert len(seen) > 20


# --------------------------------------------------------------------------------------------------------- README


@dataclass(frozen=True)
class Block:
    """A Python block of a document and the line it starts at."""

    code: str
    line: int
    document: str = "README.md"


def blocks(text: str) -> Iterator[Block]:
    """Every ``python`` block, but those that follow the comment <!-- not run -->."""
    pattern = re.compile(r"^(<!-- not run -->\s*)?^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
    for found in pattern.finditer(text):
        if found[1] is None:
            yield Block(found[2], text.count("\n", 0, found.start(2)) + 1)


def test_blocks_are_found_and_marked_ones_left_out() -> None:
    fence = "```"
    text = f"Text.\n\n{fence}python\na = 1\n{fence}\n\n<!-- not run -->\n\n{fence}python\nb = 2\n{fence}\n"
    text += f"{fence}sh\nc\n{fence}\n{fence}python\nd = 4\n{fence}\n"
    assert list(blocks(text)) == [Block("a = 1\n", 4), Block("d = 4\n", 16)]


@pytest.mark.slow
def test_the_table_of_what_works_is_the_generated_one() -> None:
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^<!-- what works with what: .*-->\n(.*?)^<!-- end -->", text, flags=re.M | re.S)
    command = [sys.executable, "-m", "structpred", "list", "--markdown"]  # a process of its own: tests register things
    made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert shown.strip() == made.stdout.strip(), "put the output of `structpred list --markdown` there"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all blocks: a later one may use what an earlier one left."""
    return tmp_path_factory.mktemp("readme")


def script_of(block: Block) -> str:
    """The name of its file; a block may name one that a later block imports."""
    named = re.match(r"# (\w+\.py)\n", block.code)
    return named[1] if named else f"{Path(block.document).stem.lower()}_line_{block.line}.py"


def imported_by_others(script: str, shown: list[Block]) -> bool:
    """True for a file that another block imports, which runs it; twice it would register its names twice."""
    return any(re.search(rf"^(from|import) {script.removesuffix('.py')}\b", block.code, re.M) for block in shown)


EXTRAS = {
    "sb3_contrib": "rl",
    "sentencepiece": "subwords",
    "stable_baselines3": "rl",
    "transformers": "pretrained",
}
"""Packages that blocks import and that not everybody has, and the extras that bring them."""
BEHIND = {"structpred.pretrained": "transformers"}
"""Modules of ours that import such a package once they are used."""


def of_extras(block: Block) -> set[str]:
    """Those that a block imports, itself or through a module of ours."""
    named = {package: package for package in EXTRAS} | BEHIND
    return {package for name, package in named.items() if re.search(rf"^(from|import) {name}\b", block.code, re.M)}


def processes(shown: list[Block]) -> Iterator[list[Block]]:
    """Blocks that run in one process: those of a document one after another.

    One with workers of its own is alone, and so are those that need the same extra.
    """
    for _, found in groupby(shown, lambda block: (block.document, of_extras(block))):
        together: list[Block] = []
        for block in found:
            if "__main__" in block.code:
                yield from ([together] if together else [])
                yield [block]
                together = []
            else:
                together.append(block)
        yield from ([together] if together else [])


def test_a_block_that_needs_an_extra_runs_alone() -> None:
    plain, other = Block("import numpy\n", 1), Block("from sb3_contrib import MaskablePPO\n", 9)
    assert list(processes([plain, plain, other, plain])) == [[plain, plain], [other], [plain]]
    ours = [Block("import transformers\n", 1), Block("from structpred.pretrained import Vectors\n", 5)]
    assert list(processes([plain, *ours])) == [[plain], ours]


FIRST = "README.md"
"""What strangers type first: it runs in interpreters of its own, as theirs do."""
SHOWN = list(
    processes(
        [
            replace(block, document=name)
            for name in (FIRST, *(f"docs/{page.name}" for page in PAGES))
            for block in blocks((ROOT / name).read_text(encoding="utf-8"))
        ]
    )
)
ONE_AFTER_ANOTHER = """
import runpy
import sys

for script in sys.argv[1:]:
    print(script, flush=True)
    runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{shown[0].document} from line {shown[0].line}")
def test_what_the_documents_show_runs(shown: list[Block], desk: Path) -> None:
    for package in set().union(*map(of_extras, shown)):
        pytest.importorskip(package, reason=f"needs {package}: pip install structpred[{EXTRAS[package]}]")
    scripts = [script_of(block) for block in shown]
    for script, block in zip(scripts, shown, strict=True):
        (desk / script).write_text(block.code, encoding="utf-8")
    scripts = [script for script in scripts if not imported_by_others(script, shown)]
    words = scripts if len(scripts) == 1 else ["-c", ONE_AFTER_ANOTHER, *scripts]
    if shown[0].document == FIRST or any("__main__" in block.code for block in shown):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, timeout=600)
    else:
        done = python(words, desk, patience=600)
    assert done.returncode == 0, f"{shown[0].document}:\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
