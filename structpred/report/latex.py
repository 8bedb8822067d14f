"""Tables for LaTeX, with the rules of the package booktabs."""

import re
from collections.abc import Sequence

from structpred.text import plain

_WRITTEN = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r'{\string"}',  # babel makes it active in some languages
    "[": "{[}",  # after the end of a row it would begin an option of \\
    "]": "{]}",
    "*": "{*}",  # likewise
}
_SPECIAL = re.compile("[" + re.escape("".join(_WRITTEN)) + "]")


def escaped(text: str) -> str:
    r"""The text on one line, with everything that TeX reads specially written out.

    >>> print(escaped("50 % of ML_2 & [RML]"))
    50 \% of ML\_2 \& {[}RML{]}
    """
    return _SPECIAL.sub(lambda found: _WRITTEN[found[0]], plain(text))


def tabular(columns: Sequence[str], rows: Sequence[Sequence[str]], alignment: str, comments: Sequence[str] = ()) -> str:
    r"""A ``tabular`` environment between ``\toprule`` and ``\bottomrule``.

    Args:
        columns: the headings, as LaTeX; `escaped` makes it of text.
        rows: one cell a column, as LaTeX.
        alignment: a letter for each column, such as ``"lrr"``.
        comments: lines for whoever opens the file.
    """
    lines = [f"% {plain(comment)}" for comment in comments]
    lines += [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", _row(columns), r"\midrule"]
    lines += [*map(_row, rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, ""])


def _row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"
