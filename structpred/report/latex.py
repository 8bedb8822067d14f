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
    "`": "{`}",  # ?` and `` would be other characters
}
_GREEK = "α β γ δ ε ζ η θ ι κ λ μ ν ξ π ρ σ τ υ φ χ ψ ω Γ Δ Θ Λ Ξ Π Σ Φ Ψ Ω"
_GREEK_NAMES = (
    "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon varphi chi "
    "psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
_SIGNS = "− ≤ ≥ ≠ ≈ → ← ↑ ↓ ∞ ∅ ∈ √"
_SIGN_NAMES = "- leq geq neq approx rightarrow leftarrow uparrow downarrow infty emptyset in surd"
_IN_MATHEMATICS = dict(zip(f"{_GREEK} {_SIGNS}".split(), f"{_GREEK_NAMES} {_SIGN_NAMES}".split(), strict=True))
_WRITTEN |= {sign: "$-$" if name == "-" else rf"$\{name}$" for sign, name in _IN_MATHEMATICS.items()}
_SPECIAL = re.compile("[" + re.escape("".join(_WRITTEN)) + "]")
_LATIN = re.compile(r"[\x00-\u017f–—‘’“”„…•†‡€]*")
"""What pdfLaTeX's own fonts have: ASCII, letters of European languages, dashes and quotation marks."""


def escaped(text: str) -> str:
    r"""The text on one line, with everything that TeX reads specially written out.

    Examples:
        >>> print(escaped("50 % of ML_2 & [RML]"))
        50 \% of ML\_2 \& {[}RML{]}
    """
    return _SPECIAL.sub(lambda found: _WRITTEN[found[0]], plain(text)).replace("--", "-{}-").replace("--", "-{}-")


def fonts(text: str) -> tuple[str, ...]:
    """A comment on escaped text that pdfLaTeX's own fonts cannot set; none where they can."""
    if _LATIN.fullmatch(text):
        return ()
    return ("Some names hold letters that pdfLaTeX may have no font for; LuaLaTeX takes one that has them.",)


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
