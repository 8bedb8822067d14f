"""The scores of a comparison as rows, CSV and LaTeX, for other programs and for papers."""

import csv
import importlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from structpred.comparison.analysis import Contrast, Row
from structpred.comparison.findings import ComparisonResult
from structpred.report.document import Document, Figure
from structpred.report.drawing import WRITTEN, pdf, standalone
from structpred.report.files import CSV, CSV_COLUMNS
from structpred.report.latex import escaped, fonts, tabular
from structpred.results import Measure, RunResult
from structpred.statistics import Estimate, fixed
from structpred.statistics.estimates import ROUNDING
from structpred.text import file_stems, plain
from structpred.values import coerce, refuse

Format = Literal["pdf", "svg", "tex"]


def rows(report: ComparisonResult) -> list[dict[str, Any]]:
    """One tidy row for each arm, seed, split and metric; `CSV_COLUMNS` are its keys."""
    return [
        {
            "arm": arm,
            "seed": seed,
            "split": split,
            "metric": metric.name,
            "score": run.scores[split][metric.name],
            "higher_is_better": metric.higher_is_better,
            **_run(run),
        }
        for arm in report.arms
        for seed, run in zip(report.seeds, report.results[arm], strict=True)
        for split in ("dev", "test")
        for metric in report.metrics
    ]


def _run(run: RunResult) -> dict[str, Any]:
    return {name: getattr(run, name) for name in CSV_COLUMNS[6:]}


def frame(found: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as a pandas DataFrame, or as they are where pandas is not installed."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return list(found)
    return pandas.DataFrame(list(found))


def as_csv(found: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV in UTF-8, a line each: control characters in names are escaped, numbers have all their digits."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: plain(each) if isinstance(each, str) else each for key, each in row.items()} for row in found
    )
    return stream.getvalue()


def as_latex(report: ComparisonResult) -> str:
    r"""One tabular: the test scores of every arm on every metric, and their differences, marked by their verdicts.

    It needs ``\usepackage{booktabs}``. The best mean of a metric is bold.
    """
    several = len(report.arms) > 1
    columns = [r"arm", *(title for metric in report.metrics for title in _titles(metric, several))]
    tables = [report.table(metric) for metric in report.metrics]
    body = [
        [escaped(arm), *(cell for cells in _cells(report.metrics, tables, row) for cell in cells)]
        for row, arm in enumerate(report.arms)
    ]
    margins = ", ".join(f"{metric.name} ±{report.design.margin(metric.name):g}" for metric in report.metrics)
    seeds = "one seed" if len(report.seeds) == 1 else f"{len(report.seeds)} seeds"
    says = [
        WRITTEN,
        f"Test scores in percent over {seeds}; needs \\usepackage{{booktabs}}.",
        "Means with 95 % intervals (ranges for two or three seeds); Delta: difference from the baseline, by seed.",
        "Bold: the best mean, whether or not a difference is shown.",
        f"*: a difference is shown at the 5 % level after Holm's correction; approx: it is within {margins}.",
    ]
    says = [*(says if several else says[:3]), *fonts("".join(cell for row in body for cell in row))]
    return tabular(columns, body, "l" + "r" * (len(columns) - 1), says)


def _titles(metric: Measure, several: bool) -> tuple[str, ...]:
    arrow = r"$\uparrow$" if metric.higher_is_better else r"$\downarrow$"
    title = f"{escaped(metric.name)} {arrow}"
    return (title, r"$\Delta$") if several else (title,)


def _cells(metrics: Sequence[Measure], tables: Sequence[tuple[Row, ...]], row: int) -> Iterable[tuple[str, ...]]:
    for metric, table in zip(metrics, tables, strict=True):
        sign = 1 if metric.higher_is_better else -1
        best = max(sign * each.test.mean for each in table)
        of = table[row]
        score = _number(of.test, bold=len(table) > 1 and math.isclose(sign * of.test.mean, best, rel_tol=ROUNDING))
        if len(table) == 1:
            yield (score,)
        elif of.contrast is None:
            yield score, ""
        else:
            yield score, _number(of.contrast.difference, sign="+", mark=_mark(of.contrast))


def _mark(contrast: Contrast) -> str:
    """What stands after a difference, in mathematics."""
    shown = contrast.verdict in ("better", "worse")
    return r"^{*}" if shown else r"^{\approx}" if contrast.within else ""


def _number(estimate: Estimate, *, sign: str = "-", bold: bool = False, mark: str = "") -> str:
    mean = fixed(estimate.mean, sign)
    mean = rf"\mathbf{{{mean}}}" if bold else mean
    if estimate.ends is not None:
        low, high = (fixed(end, sign) for end in estimate.ends)
        return f"${mean}{mark}$ (${low}$ to ${high}$)"
    spread = "" if estimate.half_width is None else rf" \pm {fixed(estimate.half_width)}"
    return f"${mean}{spread}{mark}$"


def figures(document: Document, formats: Sequence[str]) -> dict[str, str | bytes]:
    """The document's figures as files of these formats, by name, such as ``figures/per_1.pdf``."""
    drawn = [
        (section.title.partition(",")[0], block)
        for section in document.sections
        for block in section.blocks
        if isinstance(block, Figure)
    ]
    stems = file_stems(list(dict.fromkeys(title for title, _ in drawn)))
    count: dict[str, int] = {}
    files: dict[str, str | bytes] = {}
    for title, figure in drawn:
        count[title] = count.get(title, 0) + 1
        for each in formats:
            content = pdf(figure.draw) if each == "pdf" else f"{standalone(figure.draw())}<!-- {WRITTEN} -->\n"
            files[f"figures/{stems[title]}_{count[title]}.{each}"] = content
    return files


def extras(
    document: Document, found: Sequence[Mapping[str, Any]], tables: Mapping[str, str], formats: Sequence[Format]
) -> dict[str, str | bytes]:
    """The files beside a report that other programs read: ``report.csv`` always, the rest as it was asked for.

    Args:
        document: the report.
        found: its rows.
        tables: its tables as LaTeX, by file name.
        formats: what else to write.

    Raises:
        ConfigError: there is no such format.
    """
    if isinstance(formats, str):
        refuse("figures", 'several formats, such as ("pdf", "svg")', formats)
    chosen = [coerce(each, Format, "a format of figures") for each in formats]
    wanted = tables if "tex" in chosen else {}
    return {CSV: as_csv(found), **wanted, **figures(document, [str(each) for each in chosen if each != "tex"])}
