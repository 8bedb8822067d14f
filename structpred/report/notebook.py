"""A document as a fragment of HTML for notebooks: self-contained, without scripts, and without effect on its page."""

import html

from structpred.report.document import Document, Section, Sentences, Table
from structpred.text import plain

_CELL = "padding: .25em .7em; vertical-align: top; "
_COLOURS = {"good": "color: #1f9468; ", "bad": "color: #c8641b; ", "": ""}


def fragment(document: Document) -> str:
    """Title, conclusion and tables of the first metric; styles stand at the elements, as notebooks share one page."""
    sections = document.sections[: 1 + next((n for n, each in enumerate(document.sections) if _has_table(each)), 0)]
    blocks = "".join(_block(block) for section in sections for block in section.blocks)
    return f"<div><p><strong>{_escape(document.title)}</strong></p>{blocks}</div>"


def _has_table(section: Section) -> bool:
    return any(isinstance(block, Table) for block in section.blocks)


def _block(block: object) -> str:
    if isinstance(block, Sentences):
        return "".join(f"<p>{_escape(sentence)}</p>" for sentence in block.sentences)
    return _table(block) if isinstance(block, Table) else ""


def _table(table: Table) -> str:
    head = _row("th", [column.title for column in table.columns], table)
    rows = "".join(_row("td", row, table, _COLOURS[table.tone(i)]) for i, row in enumerate(table.rows))
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _row(element: str, cells: list[str] | tuple[str, ...], table: Table, colour: str = "") -> str:
    sides = ["right" if column.numeric else "left" for column in table.columns]
    written = "".join(
        f'<{element} style="{_CELL}{colour}text-align: {side}">{_escape(cell)}</{element}>'
        for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{written}</tr>"


def _escape(text: str) -> str:
    return html.escape(plain(text))
