"""A report as headings, sentences, tables and figures; Markdown, HTML and the terminal render the same document."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "good", "bad"]


@dataclass(frozen=True)
class Sentences:
    """Plain sentences; ``lead`` sets the first one apart, as the summary of the others."""

    sentences: tuple[str, ...]
    lead: bool = False


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers align right."""

    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Cells of text.

    Attributes:
        columns: the headings.
        rows: one text a column.
        tones: one a row: whether the row is good or bad news; empty for none.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    tones: tuple[Tone, ...] = ()

    def tone(self, row: int) -> Tone:
        """The tone of a row."""
        return self.tones[row] if self.tones else ""


@dataclass(frozen=True)
class Figure:
    """A drawing, shown where drawings can be shown.

    Attributes:
        draw: makes a self-contained ``<svg>`` element; drawing is slow, so it is called only where the figure is shown.
        caption: describes the figure, also for readers who cannot see it.
        file: the name of a file beside the report that holds it too, so that Markdown can show it; empty for none.
    """

    draw: Callable[[], str]
    caption: str
    file: str = ""


@dataclass(frozen=True)
class Section:
    """A heading of level 2 or 3 and the blocks below it."""

    title: str
    blocks: tuple[Sentences | Table | Figure, ...]
    level: int = 2


@dataclass(frozen=True)
class Document:
    """A title and sections."""

    title: str
    sections: tuple[Section, ...]

    @property
    def pictures(self) -> dict[str, Figure]:
        """The figures that have files of their own, by file name."""
        blocks = [block for section in self.sections for block in section.blocks]
        return {block.file: block for block in blocks if isinstance(block, Figure) and block.file}


def joined(names: Sequence[str], last: str = "and") -> str:
    """Names as a sentence lists them.

    >>> joined(["ML", "RML", "smoothing"])
    'ML, RML and smoothing'
    """
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))
