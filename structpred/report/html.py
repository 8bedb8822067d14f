"""A document as one self-contained HTML file: style and drawings are inline, and there are no scripts."""

import html
from collections.abc import Sequence
from string import Template

from structpred.report.document import Document, Figure, Section, Sentences, Table
from structpred.text import plain

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1d2329; --faint: #5b6670; --line: #d8dde2; --grid: #e3e7eb;
  --band: #f4f6f8; --good: #14704a; --bad: #b3372f; }
@media (prefers-color-scheme: dark) { :root { --page: #14181c; --ink: #e4e8ec; --faint: #9aa5af; --line: #343c44;
  --grid: #2c333a; --band: #1c2227; --good: #5cc795; --bad: #f08a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .7rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.8rem 0 .6rem; }
p, ul { max-width: 48rem; }
p.lead { font-size: 1.1rem; font-weight: 600; margin: 0 0 .6rem; }
ul { margin: 0 0 1rem; padding-left: 1.2rem; }
li { margin: .25rem 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; vertical-align: bottom; border-bottom-width: 2px; line-height: 1.3; }
th { white-space: normal; }
td:first-child { font-weight: 600; white-space: normal; min-width: 10.5rem; max-width: 18rem; overflow-wrap: anywhere; }
tbody tr:hover { background: var(--band); }
.number { text-align: right; }
tr.good td:not(:first-child):not(.number) { color: var(--good); font-weight: 600; }
tr.bad td:not(:first-child):not(.number) { color: var(--bad); font-weight: 600; }
.figures { columns: 24rem 2; column-gap: 2rem; margin: 1.2rem 0 1rem; }
figure { margin: 0 0 1.2rem; max-width: 38rem; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; stroke-linejoin: round; stroke-linecap: butt; }
figcaption { color: var(--faint); font-size: .88rem; margin-top: .3rem; }
@media print { body { max-width: none; padding: 0; } .scroll { overflow: visible; } }
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$sections
</main>
</body>
</html>
""")


def render(document: Document) -> str:
    """The document as HTML that is also well-formed XML."""
    sections = "\n".join(_section(section) for section in document.sections)
    return _PAGE.substitute(title=_escape(document.title), style=_STYLE, sections=sections)


def _section(section: Section) -> str:
    figures = "".join(_figure(block) for block in section.blocks if isinstance(block, Figure))
    rest = [_block(block) for block in section.blocks if not isinstance(block, Figure)]
    grid = [f'<div class="figures">\n{figures}</div>'] if figures else []
    heading = f"<h{section.level}>{_escape(section.title)}</h{section.level}>"
    return "\n".join(["<section>", heading, *rest, *grid, "</section>"])


def _figure(figure: Figure) -> str:
    caption = _escape(figure.caption)
    svg = figure.draw().replace("<svg ", f'<svg aria-label="{caption}" ', 1)
    return f"<figure>\n{svg}\n<figcaption>{caption}</figcaption>\n</figure>\n"


def _block(block: Sentences | Table) -> str:
    return _table(block) if isinstance(block, Table) else _sentences(block)


def _sentences(block: Sentences) -> str:
    sentences = [_escape(sentence) for sentence in block.sentences]
    lead = f'<p class="lead">{sentences.pop(0)}</p>\n' if block.lead else ""
    items = "\n".join(f"<li>{sentence}</li>" for sentence in sentences)
    return f"{lead}<ul>\n{items}\n</ul>" if items else lead


def _table(table: Table) -> str:
    numeric = [column.numeric for column in table.columns]
    head = _cells("th", [column.title for column in table.columns], numeric)
    rows = [
        f'<tr class="{table.tone(i) or "plain"}">{_cells("td", row, numeric)}</tr>' for i, row in enumerate(table.rows)
    ]
    body = "\n".join(rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _cells(element: str, texts: Sequence[str], numeric: Sequence[bool]) -> str:
    return "".join(
        f'<{element} class="number">{_escape(text)}</{element}>' if right else f"<{element}>{_escape(text)}</{element}>"
        for text, right in zip(texts, numeric, strict=True)
    )


def _escape(text: str) -> str:
    return html.escape(plain(text))
