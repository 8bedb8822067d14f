"""Several comparisons in one report, such as one of taggers and one of encoder-decoders; each is a panel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from structpred.comparison import charts, export, layout, plots, record
from structpred.comparison.design import Design
from structpred.comparison.export import Format
from structpred.comparison.plan import Plan, listed
from structpred.comparison.report import Report
from structpred.config import Config
from structpred.errors import ConfigError
from structpred.experiment import Experiment
from structpred.report import notebook
from structpred.report.document import Document, Dots, Figure, Section, Sentences, joined
from structpred.report.files import PICTURE, results_file, write_files
from structpred.report.terminal import Printable
from structpred.results import Measure
from structpred.text import counted, file_stems, refuse_unseen


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One comparison among several: arms that share task and budget.

    Attributes:
        arms: experiments by name; their own seeds are ignored.
        seeds: the seeds every arm is run under.
        baseline: the arm that others are compared with; the first by default.
        design: how it is decided, such as margins of equivalence.
    """

    # Users make these, and who reads them says in words what is wrong, so run-time checks in tests leave them alone.
    __no_type_check__: ClassVar[bool] = True

    arms: Mapping[str, Experiment]
    seeds: Sequence[int] = tuple(range(5))
    baseline: str | None = None
    design: Design = Design()


def checked(panels: Mapping[str, Panel]) -> dict[str, Panel]:
    """The panels by name, with their seeds as tuples.

    Raises:
        ConfigError: there are none, or something else, or seeds are something else.
    """
    if not isinstance(panels, Mapping) or not all(isinstance(each, Panel) for each in panels.values()):
        raise ConfigError(
            "a comparison needs panels by their names, as in {'tagging': Panel(arms=...)}, but got others"
        )
    if not panels:
        raise ConfigError("a comparison needs at least one panel, but got none")
    made = {}
    for name, panel in panels.items():
        try:
            made[name] = replace(panel, seeds=listed(panel.seeds))
        except ConfigError as error:
            raise ConfigError(f"panel {name!r}: {error}" if name else str(error)) from error
    return made


def planned(panels: Mapping[str, Panel], root: Path) -> dict[str, Plan]:
    """The plan of each panel; see `Plan.of`.

    Raises:
        ConfigError: there are no panels, or one of them cannot be compared; the message names it.
    """
    panels = checked(panels)
    if list(panels) == [""]:
        return {"": _plan("", panels[""], root)}
    plans = {}
    for name, panel in panels.items():
        refuse_unseen(name, "the name of a panel")
        try:
            plans[name] = _plan(name, panel, root)
        except ConfigError as error:
            raise ConfigError(f"panel {name!r}: {error}") from error
    _refuse_equal_labels(plans)
    return plans


def _refuse_equal_labels(plans: Mapping[str, Plan]) -> None:
    """Costs and progress are told by label, such as ``"tagging: RML"``."""
    panel_of: dict[str, str] = {}
    for name, plan in plans.items():
        for label in dict.fromkeys(run.label for run in plan.runs):
            if label in panel_of:
                raise ConfigError(
                    f"the panels {panel_of[label]!r} and {name!r} have arms that are both shown as {label!r}; "
                    "rename one of them"
                )
            panel_of[label] = name


def _plan(name: str, panel: Panel, root: Path) -> Plan:
    return Plan.of(panel.arms, panel.seeds, panel.baseline, root, name, panel.design)


@dataclass(frozen=True)
class PanelsReport(Printable):
    """The reports of several comparisons, printed and written as one.

    Nothing is tested across panels: each panel has its own tests and its own correction for several arms.

    Attributes:
        reports: one a panel, by its name.

    Raises:
        ConfigError: there are none.
    """

    reports: Mapping[str, Report]

    def __post_init__(self) -> None:
        if not self.reports:
            raise ConfigError("expected a report of at least one panel, but got none")

    def document(self) -> Document:
        """Everything that `show` and `write` render."""
        headlines = tuple(f"{name}: {report.conclusion()[0]}" for name, report in self.reports.items())
        several = Section("Conclusion", (Sentences(headlines), *self._picture()))
        panels = tuple(section for name, report in self.reports.items() for section in _sections(name, report))
        arms = dict.fromkeys(arm for report in self.reports.values() for arm in report.arms)
        title = f"Comparison in {counted(len(self.reports), 'panel')}: {joined(list(self.reports))}"
        return Document(title, (several, *panels), tuple(arms))

    def _picture(self) -> tuple[Figure, ...]:
        compared = {name: report for name, report in self.reports.items() if len(report.arms) > 1}
        if not compared:
            return ()
        baselines = joined([f"{report.baseline} ({name})" for name, report in compared.items()])
        marks = layout.dots_caption(max(len(report.seeds) for report in compared.values()))
        caption = (
            f"Test scores minus those of {baselines} under the same seed, in percentage points. {marks}; "
            "further right is better."
        )
        strips = [layout.strip(name, report) for name, report in compared.items()]
        rows = tuple(
            charts.strip(
                each.values,
                each.estimates,
                each.label,
                0.0,
                compared[each.title].seeds,
                notes={row.arm: row for row in compared[each.title].table()},
                title=each.title,
                reversed_axis=not each.higher_is_better,
            )
            for each in strips
        )
        return (Figure(partial(plots.strips, strips), caption, PICTURE, Dots(rows)),)

    def after_looks(self, folder: Path | str) -> "PanelsReport":
        """As of `Report.after_looks`, each panel by itself."""
        return PanelsReport({name: report.after_looks(folder) for name, report in self.reports.items()})

    def write(self, folder: Path | str, figures: Sequence[Format] = ()) -> tuple[Path, ...]:
        """Write the files of `Report.write` and ``report.svg``; ``"tex"`` writes a table for each panel."""
        report = self.after_looks(folder)
        document = report.document()
        results = record.encode_panels(report.reports, document)
        return write_files(folder, document, results, report.extras(document, figures))

    def extras(self, document: Document, figures: Sequence[Format] = ()) -> dict[str, str | bytes]:
        """As of `Report.extras`."""
        tables = {
            f"report_{stem}.tex": self.reports[name].to_latex() for name, stem in file_stems([*self.reports]).items()
        }
        return export.extras(document, self.rows(), tables, figures)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all panels, as of `Report.rows`, with the panel's name first."""
        return [{"panel": name, **row} for name, report in self.reports.items() for row in report.rows()]

    def to_frame(self) -> Any:
        """As of `Report.to_frame`."""
        return export.frame(self.rows())

    def to_csv(self) -> str:
        """As of `Report.to_csv`."""
        return export.as_csv(self.rows())

    def _repr_html_(self) -> str:
        return notebook.fragment(self.document())

    @classmethod
    def read(
        cls,
        file: Path | str,
        kind: type[Config] | None = None,
        metrics: Mapping[str, tuple[Measure, ...]] | None = None,
    ) -> "PanelsReport":
        """The report whose `write` left ``file``.

        Args:
            file: the ``results.json``, or the folder that holds it.
            kind: the class of the arms' configs; as of `Report.read` by default.
            metrics: those of each panel's task, by the panel's name; as the file describes them by default.

        Raises:
            RunError: the file cannot be read, is no report of these panels, or has other metrics.
            ConfigError: an arm is not of the given kind.
        """
        kept = record.decode_panels(results_file(file), kind, metrics)
        return cls({name: Report.of(findings) for name, findings in kept.items()})


def _sections(name: str, report: Report) -> tuple[Section, ...]:
    seeds = "one seed" if len(report.seeds) == 1 else f"{len(report.seeds)} seeds"
    several = f"{len(report.arms)} arms under {seeds}, each compared with {report.baseline}."
    about = several if len(report.arms) > 1 else f"1 arm under {seeds}."
    below = (replace(section, level=3) for section in report.document().sections)
    return (Section(name, (Sentences((about,)),)), *below)
