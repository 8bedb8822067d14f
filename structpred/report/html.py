"""A document as one self-contained HTML file: style, script, numbers and drawings are inline; nothing is fetched.

A content security policy admits the one script by its digest, so that no text in the page can run. Without scripts the
page holds the same sentences, tables and drawings.
"""

import base64
import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from structpred.report.document import Block, Browser, Document, Figure
from structpred.report.drawing import COLOURS
from structpred.text import plain

_HERE = Path(__file__).parent


def render(document: Document) -> str:
    """The document as HTML that is also well-formed XML."""
    page = _Page(document)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            document=document,
            style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
            script=Markup(_script()),
            digest=base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode(),
            grouped=_grouped,
            drawn=_drawn,
            charted=page.charted,
            browsing=page.browsing,
            number=itertools.count(1).__next__,
            data=page.data,
        )
    )


@cache
def _environment() -> Environment:
    """Everything that is not marked as our own is spelt out by `plain` and escaped."""

    def spelt(value: object) -> object:
        return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    loader = FileSystemLoader(_HERE)
    return Environment(
        loader=loader, autoescape=True, finalize=spelt, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip


@cache
def _script() -> str:
    """The script between marks that hide ``<`` from readers of XML."""
    return f"//<![CDATA[\n{(_HERE / 'page.js').read_text(encoding='utf-8')}//]]>"


def _grouped(blocks: tuple[Block, ...]) -> list[tuple[str, list[Block]]]:
    """Neighbours of one kind together."""
    return [(kind, list(group)) for kind, group in itertools.groupby(blocks, key=lambda block: type(block).__name__)]


_PLACES = re.compile(r' (?:d|x|y|points|transform)="[^"]*"')
_DIGITS = re.compile(r"\d+\.\d{3,}")


def _drawn(figure: Figure) -> Markup:
    """The drawing with its caption as its name, and places to a hundredth of a point, which nobody sees."""

    def shorter(places: re.Match[str]) -> str:
        return _DIGITS.sub(lambda digits: f"{float(digits[0]):.2f}".rstrip("0").rstrip("."), places[0])

    drawing = _PLACES.sub(shorter, figure.draw())
    return Markup(drawing.replace("<svg ", f'<svg aria-label="{escape(plain(figure.caption))}" ', 1))


class _Page:
    """Collects what the script needs, while the template goes through the document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.charts: list[object] = []
        self.browsers: list[object] = []

    def charted(self, figure: Figure) -> Markup:
        """The attribute that leads from a figure to its numbers."""
        if figure.chart is None:
            return Markup()
        self.charts.append(figure.chart)
        return Markup(f' data-chart="{len(self.charts) - 1}"')

    def browsing(self, browser: Browser) -> Markup:
        """The attribute that leads to its examples."""
        self.browsers.append(browser.examples)
        return Markup(f' data-browser="{len(self.browsers) - 1}"')

    def data(self) -> Markup:
        """All of it as JSON, packed by zlib and spelt in base64, in which nothing can end the element around it.

        Twenty arms say much alike, which packs to a fifth; the script unpacks it.
        """
        tree = {
            "arms": self.document.arms, "colours": COLOURS, "charts": self.charts, "browsers": self.browsers,
        }  # fmt: skip
        text = json.dumps(_spelt(tree), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return Markup(base64.b64encode(zlib.compress(text.encode(), 9)).decode())


def _spelt(tree: Any) -> Any:
    """A tree of values for JSON, its texts spelt out by `plain` and its numbers with as many digits as are shown."""
    if isinstance(tree, str):
        return plain(tree)
    if isinstance(tree, float):
        return round(tree, 5)
    if is_dataclass(tree) and not isinstance(tree, type):
        return _spelt(asdict(tree))
    if isinstance(tree, Mapping):
        return {plain(str(key)): _spelt(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple | Iterator):
        return [_spelt(each) for each in tree]
    return tree
