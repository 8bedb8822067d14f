"""What a user gets by pip: the three links are real packages in the wheel, and nothing else is."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("structpred", "objectives", "tasks", "experiments")
KINDS = (".py", ".toml", ".css", ".js", ".jinja")


def tracked() -> list[Path]:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs a git checkout: {error}")
    return [Path(name) for name in listing.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files: no build folder or stray module of the working tree gets in."""
    copy = tmp_path_factory.mktemp("wheel") / "tree"
    for path in tracked():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, copy / path, follow_symlinks=False)
    return copy


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_nothing_else(tree: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(tree)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {"structpred/py.typed"}
    for folder in FOLDERS:
        for path in (path for kind in KINDS for path in (tree / folder).rglob(f"*{kind}")):
            inner = path.relative_to(tree)
            if inner.parts[:2] not in {("structpred", link) for link in FOLDERS[1:]}:
                expected.add(str(inner if folder == "structpred" else Path("structpred") / inner))
    assert len(expected) > 20
    assert "structpred/report/page.js" in names
    assert {name for name in names if name.endswith((*KINDS, "py.typed"))} == expected
    tops = {name.partition("/")[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"structpred"}
