"""What a report says of the costs of training, with everything that an arm starts from."""

from dataclasses import replace

import pytest

from structpred import Experiment, Trainer
from structpred.comparison import charts, compared
from structpred.comparison.material import Material, StartCost
from structpred.comparison.report import Report
from structpred.models import Seq2Seq
from structpred.objectives import REINFORCE, MaximumLikelihood
from structpred.report.document import Sentences, Table
from structpred.results import Epoch, RunResult
from tests.support.reports import METRICS, a_run
from tests.support.tiny import Copying

ML = Experiment(
    task=Copying(), model=Seq2Seq(), objective=MaximumLikelihood(), trainer=Trainer(epochs=2, batch_tokens=200)
)
ARMS = {"ML": ML, "ML, then REINFORCE": replace(ML, objective=REINFORCE(), start=ML)}


def costs(reward_calls: int, decoder_passes: int) -> tuple[dict[str, float], ...]:
    each = {"reward_calls": reward_calls, "decoder_passes": decoder_passes}
    return tuple({"cpu_seconds": 3.0 * n, **{name: n * count for name, count in each.items()}} for n in (1, 2))


def a_costly_run(of: tuple[dict[str, float], ...]) -> RunResult:
    history = tuple(Epoch(i, 1.0, {"PER": 20.0 - i}, 2.0 * i, {}, costs=each) for i, each in enumerate(of, start=1))
    return replace(a_run(12.0), history=history, steps=10)


@pytest.fixture
def report() -> Report:
    ml = tuple(a_costly_run(costs(0, 40)) for _ in range(2))
    rl = (a_costly_run(costs(160, 320)), a_costly_run(costs(160, 340)))
    return Report(ARMS, (0, 1), "ML", {"ML": ml, "ML, then REINFORCE": rl}, METRICS[:1])


def took(report: Report) -> tuple[Table, Sentences]:
    table, notes = compared.sections(report)[1].blocks
    assert isinstance(table, Table)
    assert isinstance(notes, Sentences)
    return table, notes


def cells(report: Report) -> dict[str, list[str]]:
    """The counted costs by arm."""
    table, _ = took(report)
    places = [i for i, column in enumerate(table.columns) if column.title.startswith(("reward", "decoder"))]
    return {row[0]: [row[i] for i in places] for row in table.rows}


def test_reward_calls_and_decoder_passes_are_counted_with_starts(report: Report) -> None:
    assert cells(report) == {"ML": ["0", "80"], "ML, then REINFORCE": ["320", "740"]}
    stored = StartCost(20, 5.0, 6.0, reward_calls=1000.0, decoder_passes=2000.0)
    kept = replace(report, material=Material("d", {"train": 40}, {"ML": 9}, {"ML, then REINFORCE": stored}))
    assert cells(kept)["ML, then REINFORCE"] == ["1,320", "2,660"]
    older = replace(
        kept, material=Material("d", {"train": 40}, {"ML": 9}, {"ML, then REINFORCE": StartCost(20, 5.0, 6.0)})
    )
    assert cells(older) == {"ML": ["0", "80"], "ML, then REINFORCE": ["", ""]}


def test_results_that_do_not_count_are_shown_without(report: Report) -> None:
    silent = {arm: tuple(a_costly_run(({}, {})) for _ in runs) for arm, runs in report.results.items()}
    older = replace(report, results=silent)
    table, notes = took(older)
    assert not any("reward" in column.title for column in table.columns)
    assert "were not counted in these runs" in notes.sentences[0]
    some = replace(report, results={**report.results, "ML": silent["ML"]})
    assert cells(some) == {"ML": ["", ""], "ML, then REINFORCE": ["", ""]}  # what it starts from does not say
    assert took(some)[1].sentences[0].endswith("Some runs did not count them.")
    found = charts.curves(older, METRICS[0])
    assert found is not None
    assert list(found.curves[0].x) == ["epoch", "optimiser step", "seconds of training"]


def test_curves_are_drawn_by_cpu_second_and_by_reward_call(report: Report) -> None:
    found = charts.curves(report, METRICS[0])
    assert found is not None
    ml, rl = found.curves
    assert list(ml.x) == ["epoch", "optimiser step", "seconds of training", "CPU-seconds of training", "reward calls"]
    assert ml.x["CPU-seconds of training"] == (3.0, 6.0)
    assert rl.x["CPU-seconds of training"] == (43.0, 46.0)  # after a start of 40 with its evaluation
    assert (ml.x["reward calls"], rl.x["reward calls"]) == ((0.0, 0.0), (160.0, 320.0))
    alone = charts.curves(replace(report, arms={"ML": ML}, results={"ML": report.results["ML"]}), METRICS[0])
    assert alone is not None
    assert "reward calls" not in alone.curves[0].x  # nobody asks


def test_what_arms_share_names_the_files_that_were_read(report: Report) -> None:
    def said(files: dict[str, str]) -> str:
        what = replace(report, material=Material("0" * 64, {"train": 40}, {"ML": 9}, {}, files))
        return str(compared.sections(what)[0])

    one = said({"train.tsv": "ab" * 32, "test.tsv": "cd" * 32})
    assert "read from train.tsv (abababababababab…) and test.tsv (cdcdcdcdcdcdcdcd…); the SHA-256 of each" in one
    many = said({f"{i}.txt": "ab" * 32 for i in range(1234)})
    assert "7.txt (abababababababab…) and 1,226 more, which results.json names" in many
    assert "They were read from" not in said({})  # an older report
