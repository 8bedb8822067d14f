"""A document as Markdown; figures without a file of their own are left to the HTML."""

import re

from structpred.report.document import Browser, Document, Figure, Section, Sentences, Table
from structpred.text import plain


def render(document: Document) -> str:
    """The document as GitHub-flavoured Markdown."""
    sections = "\n".join(_section(section) for section in document.sections if not section.on_page and _blocks(section))
    return f"# {_escape(document.title)}\n\n{sections}"


def _section(section: Section) -> str:
    return "\n".join([f"{'#' * section.level} {_escape(section.title)}\n", *_blocks(section)])


def _blocks(section: Section) -> list[str]:
    shown = [block for block in section.blocks if not isinstance(block, Browser)]
    return [_block(block) for block in shown if not isinstance(block, Figure) or block.file]


def _block(block: Sentences | Table | Figure) -> str:
    if isinstance(block, Table):
        return table(block)
    if isinstance(block, Figure):
        return f"![{_escape(block.caption)}]({block.file})\n"
    sentences = [_escape(sentence) for sentence in block.sentences]
    lead = [f"**{sentences.pop(0)}**\n"] if block.lead else []
    between = ["\n"] if lead and sentences else []
    return "".join([*lead, *between, *(f"* {sentence}\n" for sentence in sentences)])


def table(table: Table) -> str:
    """One table, its columns aligned."""
    cells = [[column.title for column in table.columns], *table.rows]
    texts = [[_escape(cell).replace("|", r"\|") for cell in row] for row in cells]
    widths = [max(3, *(len(row[i]) for row in texts)) for i in range(len(table.columns))]
    rule = [f"{'-' * (width - 1)}{':' if c.numeric else '-'}" for c, width in zip(table.columns, widths, strict=True)]
    lines = [
        _line([_pad(cell, c.numeric, w) for cell, c, w in zip(row, table.columns, widths, strict=True)])
        for row in texts
    ]
    return "\n".join([lines[0], _line(rule), *lines[1:], ""])


def _pad(cell: str, numeric: bool, width: int) -> str:
    return cell.rjust(width) if numeric else cell.ljust(width)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    # Underscores inside words and lone signs mean nothing to Markdown; escaping them too would spoil the plain text.
    return re.sub(r"([\\`*<\[\]]|\b_|_\b)", r"\\\1", plain(text))
