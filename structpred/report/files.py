"""The files of a report, none of which is written over another's file."""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from structpred.errors import ConfigError, RunError, StructpredError
from structpred.files import folder_to_write, write_atomically
from structpred.report import html, markdown
from structpred.report.document import Document, Figure, Section, Sentences, Table
from structpred.report.drawing import WRITTEN, standalone

Kept = TypeVar("Kept")
FORMAT = 1
"""Version of every results.json."""
RESULTS, MARKDOWN, HTML = "results.json", "report.md", "report.html"
PICTURE = "report.svg"
"""Only beside reports of several panels."""

CSV = "report.csv"
CSV_COLUMNS = (
    "arm", "seed", "split", "metric", "score", "higher_is_better", "identity", "best_epoch", "steps", "skipped",
    "seconds", "cpu_seconds", "tokens_per_second", "device",
)  # fmt: skip
"""Of a report's rows, one for each arm, seed, split and metric; before them ``panel`` where there are several."""

PANELS = {"format", "panels"}
_KEYS = ({"format", "arms"}, PANELS, {"format", "studies"}, {"average", "tasks"})
"""Keys by which the results of a comparison, of panels, of tuning and of arms across tasks are recognised."""


def write_files(
    folder: Path | str, document: Document, results: str, others: Mapping[str, str | bytes] | None = None
) -> tuple[Path, ...]:
    """Write a document as ``report.md`` and ``report.html``, and beside them ``results.json`` and its pictures.

    Args:
        folder: where.
        document: the report.
        results: the text of ``results.json``.
        others: more files by name, each of which says that structpred wrote it; see `is_ours`.

    Raises:
        ConfigError: a file that is not from an earlier report would be overwritten; see `refuse_others`.
    """
    pictures = {name: standalone(figure.draw()) for name, figure in document.pictures.items()}
    others = others or {}
    refuse_others(folder, *pictures, *others)
    page, text = html.render(document), markdown.render(document)
    files = {RESULTS: results, **others, MARKDOWN: text, HTML: page, **pictures}
    place = Path(folder)
    for name in files:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
    if CSV not in files and is_ours(place / CSV):
        (place / CSV).unlink()
    papers = [*place.glob("report*.tex"), *place.glob("figures/*")]
    for path in papers:  # of the report that this one replaces
        if str(path.relative_to(place)) not in files and is_ours(path):
            path.unlink()
    if PICTURE not in files and _report(place / RESULTS).keys() >= PANELS:
        (place / PICTURE).unlink(missing_ok=True)
    return tuple(write_atomically(place / name, text) for name, text in files.items())


def refuse_others(folder: Path | str, *pictures: str) -> None:
    """Refuse a folder that cannot be written, or whose files of a report's names are not from a report.

    Args:
        folder: where a report is to be written.
        pictures: names of other files that it is going to have, if any.

    Raises:
        ConfigError: it cannot be written, or there is such a file, which would be lost; the message names it.
    """
    folder_to_write(Path(folder))
    place, report = Path(folder), _report(Path(folder) / RESULTS)
    known = any(keys <= report.keys() for keys in _KEYS)
    ours = {*([RESULTS, MARKDOWN, HTML] if known else []), *([PICTURE] if report.keys() >= PANELS else [])}
    names = [name for name in (RESULTS, MARKDOWN, HTML, *pictures) if name not in ours]
    there = [place / name for name in names if os.path.lexists(place / name) and not is_ours(place / name)]
    if there:
        raise ConfigError(
            f"{there[0]} is not from a report of structpred and would be overwritten; move it away, or name another "
            "folder for the report"
        )


def is_ours(path: Path) -> bool:
    """True for a CSV file with the columns of a report, and for LaTeX and figures that say who wrote them."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    if path.name == CSV:
        return content.partition(b"\n")[0].decode(errors="replace").removeprefix("panel,") == ",".join(CSV_COLUMNS)
    return path.suffix in (".tex", ".pdf", ".svg") and path.name != PICTURE and WRITTEN.encode() in content


def _report(results: Path) -> dict[str, object]:
    """The results of a report; empty where there are none."""
    try:
        tree = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def results_file(place: Path | str) -> Path:
    """The ``results.json`` that a path names, by itself or by its folder."""
    path = Path(place)
    return path / RESULTS if path.is_dir() else path


def results_in(file: Path) -> dict[str, Any]:
    """The tree in a ``results.json``.

    Raises:
        RunError: it cannot be read, or no report wrote it.
    """
    if not file.is_file():
        raise RunError(f"{file}: there is no such file; name a {RESULTS}, or the folder that holds one")
    try:
        tree: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read as a report: {error}") from None
    known = isinstance(tree, dict) and any(keys <= tree.keys() for keys in _KEYS)
    if not known or tree.get("format", FORMAT) != FORMAT:
        raise RunError(f"{file}: expected a {RESULTS} of format {FORMAT}; write the report again")
    return tree


def readable(file: Path, read: Callable[[dict[str, Any]], Kept]) -> Kept:
    """What ``read`` makes of the tree in a ``results.json``.

    Raises:
        RunError: the file cannot be read, or holds no report of the kind that ``read`` takes.
    """
    tree = results_in(file)
    try:
        return read(tree)
    except StructpredError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{file} holds no report ({type(error).__name__}: {error}); write the report again") from error


def written(tree: Mapping[str, object], document: Document | None = None) -> str:
    """A tree as text, indented for people and differences.

    Args:
        tree: what the report can be made from again.
        document: the report, whose sentences, tables and numbers of pictures are put beside it as ``page``, so that
            everything that a reader sees can be looked up; nothing reads them back.
    """
    page = {} if document is None else {"page": [_shown(section) for section in document.sections]}
    return json.dumps(without_infinities({**tree, **page}), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _shown(section: Section) -> dict[str, object]:
    """What a section says; examples to look through are left out, for they are in the tree itself."""
    blocks = section.blocks
    return {
        "title": section.title,
        "sentences": [sentence for block in blocks if isinstance(block, Sentences) for sentence in block.sentences],
        "tables": [
            {"columns": [column.title for column in block.columns], "rows": [list(row) for row in block.rows]}
            for block in blocks
            if isinstance(block, Table)
        ],
        "figures": [
            {"caption": block.caption, "numbers": None if block.chart is None else asdict(block.chart)}
            for block in blocks
            if isinstance(block, Figure)
        ],
    }


def without_infinities(tree: Any) -> Any:
    """A tree of values that JSON can hold; it has no NaN: a diverged loss becomes null, and is read back as NaN."""
    if isinstance(tree, Mapping):
        return {key: without_infinities(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [without_infinities(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
