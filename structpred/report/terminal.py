"""A document on the terminal: tables drawn by rich; plain Markdown where the output is a file or a pipe."""

from abc import ABC, abstractmethod

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from structpred.report import markdown
from structpred.report.document import Document, Section, Sentences, Table
from structpred.text import plain

_STYLES = {"": "", "good": "green", "bad": "red"}


class Printable(ABC):
    """What can be printed as a report."""

    @abstractmethod
    def document(self) -> Document:
        """The whole report."""

    def show(self, console: Console | None = None) -> None:
        """Print the report: coloured tables on a terminal, Markdown into a file or a pipe."""
        show(self.document(), console or Console())


def show(document: Document, console: Console) -> None:
    """Print the document. Brackets in names are no markup, and control characters are spelt out."""
    if not console.is_terminal:
        console.print(Text(markdown.render(document)), soft_wrap=True, end="")
        return
    console.print(Text(plain(document.title), style="bold"))
    for section in document.sections:
        if section.on_page:
            continue
        _show_section(section, console)


def _show_section(section: Section, console: Console) -> None:
    blocks = [block for block in section.blocks if isinstance(block, Table | Sentences)]
    if blocks:
        console.print(Text(f"\n{plain(section.title)}", style="bold"))
    for block in blocks:
        if isinstance(block, Table):
            console.print(_table(block))
        else:
            _show_sentences(block, console)


def _show_sentences(block: Sentences, console: Console) -> None:
    for index, sentence in enumerate(block.sentences):
        lead = block.lead and index == 0
        console.print(Text(plain(sentence if lead else f"- {sentence}"), style="bold" if lead else ""))


def _table(table: Table) -> RichTable:
    drawn = RichTable(box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        drawn.add_column(Text(plain(column.title)), justify="right" if column.numeric else "left")
    for index, row in enumerate(table.rows):
        drawn.add_row(*(Text(plain(cell)) for cell in row), style=_STYLES[table.tone(index)])
    return drawn
