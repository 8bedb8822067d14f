"""A report as headings, sentences, tables and figures; Markdown, HTML and the terminal render the same document."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from structpred.statistics import Estimate

Tone = Literal["", "good", "bad"]
Stroke = Literal["", "best", "dashed"]


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
class Dot:
    """A row of `Strip`: an arm's values, one a seed, and their mean; or a number by itself.

    Attributes:
        arm: its name.
        values: one a seed; none for a number by itself.
        mean: of them, or that number.
        low, high: the ends of the interval, or the lowest and the highest value; None for one value.
        note: what stands below the name, such as the verdict.
        tone: of the note.
    """

    arm: str
    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Strip:
    """Rows of dots over one axis.

    Attributes:
        label: what the axis measures, with its unit.
        line: where the dashed line stands, such as the mean of the baseline.
        rows: the arms, from the top.
        seeds: of the values.
        title: stands above it; empty for none.
        reversed: True where smaller numbers are to the right, because they are better.
    """

    label: str
    line: float
    rows: tuple[Dot, ...]
    seeds: tuple[int, ...]
    title: str = ""
    reversed: bool = False


@dataclass(frozen=True)
class Dots:
    """Strips, one below the other."""

    strips: tuple[Strip, ...]
    kind: Literal["dots"] = "dots"


@dataclass(frozen=True)
class Curve:
    """An arm's scores while it trained, the mean over seeds; or a single score.

    Attributes:
        arm: its name.
        mean, low, high: of the seeds, one a point.
        x: by the name of a horizontal axis where the points are; an axis that not every arm has is not offered.
        values: of a single point that is drawn with its seeds, one a seed; none otherwise.
        look: the best one stands out; a dashed line is of what was stopped.
    """

    arm: str
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    x: Mapping[str, tuple[float, ...]]
    values: tuple[float, ...] = ()
    look: Stroke = ""

    @classmethod
    def point(
        cls, arm: str, x: Mapping[str, float], values: Sequence[float], of: Estimate, look: Stroke = ""
    ) -> "Curve":
        """A single score with its seeds.

        Args:
            arm: its name.
            x: by the name of the horizontal axis where it is.
            values: one a seed.
            of: their mean, with its interval.
            look: as of a curve.
        """
        low, high = of.span or (of.mean, of.mean)
        places = {axis: (float(place),) for axis, place in x.items()}
        return cls(arm, (of.mean,), (low,), (high,), places, tuple(values), look)


@dataclass(frozen=True)
class Curves:
    """Curves of several arms over axes to choose from.

    Attributes:
        label: says what is measured.
        curves: one an arm.
        levels: where dashed lines stand, such as the mean of the baseline.
        joined: True if each curve is a single point of one curve through all of them.
        log: True if the horizontal axis is logarithmic.
        band: the ends of a stretch of the horizontal axis that is shaded; none for no such stretch.
    """

    label: str
    curves: tuple[Curve, ...]
    levels: tuple[float, ...] = ()
    joined: bool = False
    log: bool = False
    band: tuple[float, ...] = ()
    kind: Literal["curves"] = "curves"


@dataclass(frozen=True)
class Figure:
    """A drawing, shown where drawings can be shown.

    Attributes:
        draw: makes a self-contained ``<svg>`` element; drawing is slow, so it is called only where the figure is shown.
        caption: describes the figure, also for readers who cannot see it.
        file: the name of a file beside the report that holds it too, so that Markdown can show it; empty for none.
        chart: the numbers behind it, from which the page's script draws it anew with values to point at; None where the
            drawing stands as it is.
    """

    draw: Callable[[], str]
    caption: str
    file: str = ""
    chart: Dots | Curves | None = None


@dataclass(frozen=True)
class Browser:
    """Examples to look through; only pages with scripts show them.

    Attributes:
        examples: a tree of what JSON holds, such as `structpred.comparison.inspection.Inspection.shown`.
    """

    examples: Mapping[str, Any]


Block = Sentences | Table | Figure | Browser


@dataclass(frozen=True)
class Section:
    """A heading of level 2 or 3 and the blocks below it.

    Attributes:
        title: the heading.
        blocks: below it.
        level: of the heading.
        on_page: True for what only the page shows, because it is long and there to be looked through.
    """

    title: str
    blocks: tuple[Block, ...]
    level: int = 2
    on_page: bool = False


@dataclass(frozen=True)
class Document:
    """A title and sections.

    Attributes:
        title: stands above all.
        sections: in their order.
        arms: the names that readers may show and hide, in the order of their colours; none for no such choice.
    """

    title: str
    sections: tuple[Section, ...]
    arms: tuple[str, ...] = ()

    @property
    def pictures(self) -> dict[str, Figure]:
        """The figures that have files of their own, by file name."""
        blocks = [block for section in self.sections for block in section.blocks]
        return {block.file: block for block in blocks if isinstance(block, Figure) and block.file}


def joined(names: Sequence[str], last: str = "and") -> str:
    """Names as a sentence lists them.

    Examples:
        >>> joined(["ML", "RML", "smoothing"])
        'ML, RML and smoothing'
    """
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))
