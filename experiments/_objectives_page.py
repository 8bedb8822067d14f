"""The page of `objectives_table`: all finished pieces beside each other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from structpred.comparison.across import Across
from structpred.comparison.analysis import Row
from structpred.comparison.charts import before_training
from structpred.comparison.material import mean_cost
from structpred.comparison.report import Report
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.experiments._objectives_arms import EDIT_RATE, LEFT_OUT, Piece, sorted_out
from structpred.files import write_atomically
from structpred.report import html, markdown
from structpred.report.document import Column, Document, Section, Sentences, Table, joined
from structpred.report.files import HTML, MARKDOWN, RESULTS
from structpred.results import Measure
from structpred.tuning import Tuning
from structpred.tuning.summary import number, optimum, short

TITLE = "Every elementary objective, with equal tuning"
MARKS = {"better": " ▲", "worse": " ▼"}


@dataclass(frozen=True)
class Found:
    """What a finished piece has found.

    Attributes:
        piece: it.
        report: the comparison; the average where there are several tasks.
        tuning: the trials of all arms.
        temperature: the study of RML's edit rate.
    """

    piece: Piece
    report: Report
    tuning: Tuning
    temperature: Tuning

    @classmethod
    def read(cls, piece: Piece, folder: Path) -> "Found":
        """From the three reports that `measured` has written.

        Raises:
            RunError: one of them is missing or cannot be read.
        """
        place = folder / "comparison" / RESULTS
        report = Report.read(place) if len(piece.bases) == 1 else Across.read(place, Experiment).average
        return cls(
            piece, report, Tuning.read(folder / "tuning" / RESULTS), Tuning.read(folder / "temperature" / RESULTS)
        )

    @property
    def measure(self) -> Measure:
        """The metric of published scores; the first one where there are none."""
        name = self.piece.metric or self.report.metrics[0].name
        return next(metric for metric in self.report.metrics if metric.name == name)

    def row(self, arm: str, measure: Measure) -> Row:
        """An arm's row in the table of a metric."""
        return next(row for row in self._tables[measure.name] if row.arm == arm)

    @cached_property
    def _tables(self) -> dict[str, tuple[Row, ...]]:
        return {measure.name: self.report.table(measure) for measure in self.report.metrics}

    def score(self, arm: str) -> str:
        """The score on test, marked by how it compares with ML; empty for an arm that the piece does not have."""
        if arm not in self.report.arms:
            return ""
        row = self.row(arm, self.report.metrics[0])
        within = row.contrast is not None and row.contrast.within
        return f"{row.test}{MARKS.get(row.verdict, ' ≈' if within else '')}"

    def cost(self, arm: str) -> str:
        """CPU-seconds and calls of the reward of a run and what it starts from."""
        if arm not in self.report.arms:
            return ""
        runs, before = self.report.results[arm], before_training(self.report, arm)
        own, calls = sum(run.cpu_seconds for run in runs) / len(runs), mean_cost(runs, "reward_calls", len(runs))
        text = f"{own + (before.cpu_seconds or 0.0):,.1f}"
        return text if not calls else f"{text} ({calls + (before.reward_calls or 0.0):,.0f})"

    def settings(self, arm: str, only: str = "") -> str:
        """What tuning has chosen, or one setting of that, by its dotted name."""
        study = self.tuning.studies.get(arm)
        found = {} if study is None or study.best is None else study.best.parameters
        if only:
            return number(found[only]) if only in found else ""
        return ", ".join(f"{short(name)} {number(value)}" for name, value in found.items())


def page(pieces: Mapping[str, Found], missing: Sequence[str] = ()) -> Document:
    """All finished pieces on one page.

    Args:
        pieces: what each has found, by its name.
        missing: names of pieces that are not finished.

    Raises:
        ConfigError: there are no pieces.
    """
    if not pieces:
        raise ConfigError("expected the reports of at least one finished piece, but found none; run --piece first")
    marks = (
        "Means on test with 95 % intervals over seeds. ▲ and ▼: shown to be better or worse than ML; ≈: shown to be "
        "within half a point of it; no mark: neither. Holm's correction is over all pairs of a piece's arms.",
    )
    taken = "CPU-seconds of a run with all that it starts from; in parentheses the calls of the reward."
    open_ones = (f"Not run yet: {joined(list(missing))}.",) if missing else ()
    flattered = "The best arm here is the best of many on test, which flatters it. Published systems read other inputs."
    given_up = (
        "Best on dev over three seeds, among seven edit rates. In the pieces of letter tagging, the oldest, a rate "
        "that was worse than half of those before it under its first seeds was given up. Nothing is shown of it: the "
        "interval may reach over it."
    )
    scores = {f"{name}, {found.report.metrics[0].name}": found for name, found in pieces.items()}
    return Document(
        TITLE,
        (
            Section("What was found", (Sentences((*_headlines(pieces), *open_ones)),)),
            Section("Test scores", (_by_arm(scores, Found.score), Sentences(marks))),
            Section("Beside published scores", (_published(pieces), Sentences((flattered,)))),
            Section("What training took", (_by_arm(pieces, Found.cost), Sentences((taken,)))),
            Section("Settings that dev chose", (_by_arm(pieces, Found.settings),)),
            Section("RML's best temperature", (_temperatures(pieces), Sentences((given_up,)))),
            Section("Objectives left out", (Sentences(tuple(_left_out(pieces))),)),
        ),
    )


def _by_arm(columns: Mapping[str, Found], cell: Callable[[Found, str], str]) -> Table:
    """A row an arm, a column a piece."""
    arms = list(dict.fromkeys(arm for found in columns.values() for arm in found.report.arms))
    rows = tuple((arm, *(cell(found, arm) for found in columns.values())) for arm in arms)
    return Table((Column("arm", numeric=False), *map(Column, columns)), rows)


def _headlines(pieces: Mapping[str, Found]) -> tuple[str, ...]:
    return tuple(f"{name}: {found.report.conclusion()[0]}" for name, found in pieces.items())


def _published(pieces: Mapping[str, Found]) -> Table:
    """What others report, likelihood here, and the best arm here."""
    columns = [Column("piece", numeric=False), Column("published by", numeric=False), Column("metric", numeric=False)]
    columns += [Column("published"), Column("ML"), Column("best arm here"), Column("terms", numeric=False)]
    rows: list[tuple[str, ...]] = []
    for name, found in pieces.items():
        measure = found.measure
        table = found.report.table(measure)
        best = max(table, key=lambda row: row.test.mean if measure.higher_is_better else -row.test.mean)
        ours = (str(found.row("ML", measure).test), f"{best.test} ({best.arm})")
        given = [(who, measure.name, f"{score:.2f}", *ours, terms) for who, score, terms in found.piece.published]
        rows += [(name, *each) for each in given or [("nobody", measure.name, "", *ours, "a split of our own")]]
    return Table(tuple(columns), tuple(rows))


def _temperatures(pieces: Mapping[str, Found]) -> Table:
    """τ as an edit rate, with the rates that cannot be told from it."""
    columns = [Column("piece", numeric=False), Column("best edit rate"), Column("not told from it")]
    columns += [
        Column("given up"),
        Column("as τ"),
        Column("rescaled"),
        Column("optimum", numeric=False),
        Column("of the four trials"),
    ]
    rows = []
    for name, found in pieces.items():
        study, four = found.temperature.studies["RML"], found.settings("RML", EDIT_RATE)
        best, as_tau = optimum(study, EDIT_RATE), study.temperature(study.best)
        if best is None or as_tau is None:
            continue  # no trial has finished
        ends = "no noise known" if best.low is None else f"{number(best.low)} to {number(best.high)}"
        rescaled = "" if as_tau.rescaled is None else number(as_tau.rescaled)
        early = ", ".join(number(each.parameters[EDIT_RATE]) for each in study.outcomes if each.state != "finished")
        told = (number(as_tau.literal), rescaled, best.verdict, four)
        rows.append((name, number(best.best), ends, early, *told))
    return Table(tuple(columns), tuple(rows))


def _left_out(pieces: Mapping[str, Found]) -> Iterator[str]:
    yield from (f"{name} {why}." for name, why in LEFT_OUT.items())
    refused = {name: sorted_out(found.piece.base.model)[1] for name, found in pieces.items()}
    for why in dict.fromkeys(why for each in refused.values() for why in each.values()):
        where = [f"{arm} ({name})" for name, each in refused.items() for arm, reason in each.items() if reason == why]
        yield f"{joined(where)}: {why}."


def write_page(known: Mapping[str, Piece], folder: Path) -> tuple[Path, ...]:
    """The page of all pieces whose reports the folder holds.

    Args:
        known: every piece of the table, by its name.
        folder: has a folder for each finished piece.

    Raises:
        ConfigError: no piece is finished, or a file there is not such a page.
        RunError: a report is missing or cannot be read.
    """
    done = {name: piece for name, piece in known.items() if (folder / name / "comparison" / RESULTS).is_file()}
    found = {name: Found.read(piece, folder / name) for name, piece in done.items()}
    document = page(found, [name for name in known if name not in done])
    files = {MARKDOWN: markdown.render(document), HTML: html.render(document)}
    for path in (folder / name for name in files):
        if path.exists() and TITLE not in path.read_text(encoding="utf-8"):
            raise ConfigError(f"{path} is not this page and would be overwritten; move it, or name another folder")
    return tuple(write_atomically(folder / name, text) for name, text in files.items())
