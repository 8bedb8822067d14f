"""Several runs as one, and a run whose outputs another one puts in order."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from structpred import runs as runs_module
from structpred.distributions.protocols import Decoding
from structpred.errors import CodeError, ConfigError, RunError
from structpred.experiment import Experiment
from structpred.metrics import SymbolErrorRate
from structpred.models import CRF, Model, Seq2Seq
from structpred.objectives import Distillation, MaximumLikelihood
from structpred.objectives.distillation import Teacher
from structpred.registry import tasks
from structpred.rewards import EditDistance, SentenceBleu
from structpred.runs import Ensemble, Reranked, Run, train
from structpred.sequences import Sequences
from structpred.training import Trainer
from structpred.training.data import Tokenizer
from structpred.vocabulary import Symbols, Vocabulary
from tests.support.tiny import Copying

TEXTS = ["ab", "bba", "a"]
SETTINGS = Experiment(
    task=Copying(train=8, longest=3),
    model=Seq2Seq(embedding=4, hidden=4, dropout=0.0, length_extra=1, length_ratio=1e-9),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1, max_steps=1),
)
KINDS: dict[str, Model] = {
    "seq2seq": SETTINGS.model,
    "chain": CRF(embedding=4, hidden=4),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Run]]:
    """Two seeds of each kind of model; taggers differ in nothing that is tested here."""
    root = tmp_path_factory.mktemp("members")
    return {
        kind: [train(replace(SETTINGS, model=model, seed=seed), root=root) for seed in (0, 1)]
        for kind, model in KINDS.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_of_one_run_is_the_run_bit_for_bit(kind: str, runs: dict[str, list[Run]]) -> None:
    run = runs[kind][0]
    alone, test = Ensemble([run.folder.path]), run.experiment.task.load().test
    assert alone.predict(TEXTS) == run.predict(TEXTS)
    assert alone.n_best(TEXTS, 3) == run.n_best(TEXTS, 3)
    assert alone.evaluate(test) == run.evaluate(test)
    assert alone.identity == run.result.identity
    inputs = run.codec.read([("a", "b")]).gather(torch.arange(1))
    outputs = Sequences.of([[0, 1]]).candidates()
    assert torch.equal(alone.model(inputs).log_prob(outputs), run.model(inputs).log_prob(outputs))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_used_like_a_run(kind: str, runs: dict[str, list[Run]]) -> None:
    both = Ensemble(runs[kind])
    inputs = both.codec.read([("a", "b")]).gather(torch.arange(1))
    members = [run.model(inputs) for run in runs[kind]]
    listed = both.n_best(["ab"], 2)[0]
    ids = Sequences.of([both.codec.vocabularies.labels.encode(each.output) for each in listed])
    outputs = Sequences(ids.labels.unsqueeze(0), ids.lengths.unsqueeze(0))
    mean = type(members[0]).mean(tuple(members))
    assert mean.log_prob(outputs)[0].tolist() == pytest.approx([each.log_prob for each in listed], abs=1e-5)
    assert members[0].log_prob(outputs)[0].tolist() != pytest.approx([each.log_prob for each in listed], abs=1e-3)
    assert both.predict(["ab"]) == [both.experiment.task.render(listed[0].output)]
    assert both.evaluate(both.experiment.task.load().test).keys() == {"PER", "WER"}
    decoding = Decoding(reward=SentenceBleu(), candidates="samples", num_candidates=4)
    assert both.predict(["ab"], decoding=decoding) == both.predict(["ab"], decoding=decoding)
    assert Ensemble(runs[kind][::-1]).identity == both.identity != runs[kind][0].result.identity


def test_it_teaches_as_one_model(runs: dict[str, list[Run]]) -> None:
    first, second = (str(run.folder.path) for run in runs["seq2seq"])
    objective = Distillation(teacher=first, ensemble_with=(second,))
    state = objective.state(runs["seq2seq"][0].sizes)
    assert isinstance(state, Teacher)
    inputs = runs["seq2seq"][0].codec.read([("a", "b")]).gather(torch.arange(1))
    outputs = Sequences.of([[0, 1]]).candidates()
    wanted = Ensemble([first, second]).model(inputs)
    assert torch.equal(state(inputs).log_prob(outputs), wanted.log_prob(outputs))
    student = runs["seq2seq"][0].model(inputs)
    found = objective(student, Sequences.of([[0, 1]]), state=state, inputs=inputs)
    assert found.diagnostics["divergence"].item() > 1e-4, "for one of its members is not the mean"
    identities = [
        replace(SETTINGS, objective=each).identity("data")
        for each in (objective, Distillation(teacher=first), Distillation(teacher=first, ensemble_with=(first,)))
    ]
    assert len(set(identities)) == 3


def test_another_run_puts_the_best_outputs_in_order(runs: dict[str, list[Run]]) -> None:
    run, other = runs["seq2seq"]
    every = Reranked(run, by=other, candidates=3)  # outputs have at most one label, so these are all
    ((found,), (wanted,)) = every.n_best(["ab"], 3), other.n_best(["ab"], 3)
    assert [each.output for each in found] == [each.output for each in wanted]
    assert [each.log_prob for each in found] == pytest.approx([each.log_prob for each in wanted])
    assert every.predict(TEXTS) == other.predict(TEXTS)
    assert Reranked(run, by=Ensemble([other]), candidates=1).predict(TEXTS) == run.predict(
        TEXTS, decoding=Decoding(beam=1)
    )
    chains = Reranked(runs["chain"][0], by=runs["chain"][1], candidates=8)
    assert chains.predict(TEXTS) == runs["chain"][1].predict(TEXTS)
    with pytest.raises(ConfigError, match="by reranking, not by both"):
        every.predict(TEXTS, decoding=Decoding(reward=EditDistance()))
    changes: dict[str, Any] = {"beam": 2, "length_penalty": 1.0}
    for name, value in changes.items():
        other_search = replace(run.experiment.decoding, **{name: value})
        with pytest.raises(ConfigError, match=rf"^Decoding\.{name} has no effect on reranking, which orders"):
            every.predict(TEXTS, decoding=other_search)
    with pytest.raises(ConfigError, match=r"^k must be at most 3, the length of the list .*, but got 4"):
        every.n_best(["ab"], 4)


def test_what_a_run_was_decoded_by_does_not_keep_it_from_being_reranked(runs: dict[str, list[Run]]) -> None:
    run, other = runs["seq2seq"]
    own = Decoding(reward=EditDistance(), num_candidates=8, most_length_ratio=2.0)
    rewarded = replace(run, experiment=replace(run.experiment, decoding=own))
    reranked = Reranked(rewarded, by=other, candidates=3)
    assert reranked.experiment.decoding == Decoding(most_length_ratio=2.0)
    assert reranked.predict(TEXTS) == Reranked(run, by=other, candidates=3).predict(TEXTS)
    said = "the first of 3 outputs in the order of another run"
    assert reranked.search(Decoding()) == said
    assert reranked.search(reranked.experiment.decoding) == f"{said}, at most 2 times as long as the input"


def other_task(runs: dict[str, list[Run]], root: Path) -> list[Run]:
    run = runs["chain"][0]
    return [run, train(replace(run.experiment, task=Copying(longest=3)), root=root)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda runs, _: Ensemble([]), r"needs a list of at least one run, but got \[\]"),
        (lambda runs, _: Ensemble(runs["chain"][0]), "needs a list of at least one run"),
        (
            lambda runs, _: Ensemble([runs["chain"][0], runs["seq2seq"][0]]),
            r"must have the same kind of model, but .* differ \('LinearChain' and 'Autoregressive'\); leave one out",
        ),
        (lambda runs, root: Ensemble(other_task(runs, root)), "must have the same task, but"),
        (
            lambda runs, _: Reranked(runs["chain"][0], by=runs["seq2seq"][0]),
            "a run and the one that reranks it must have the same kind of model",
        ),
        (
            lambda runs, _: Reranked(runs["chain"][0], runs["chain"][1], 0),
            "Reranked.candidates must be at least 1, but got 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    make: Callable[[dict[str, list[Run]], Path], object], message: str, runs: dict[str, list[Run]], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(runs, tmp_path)


def test_other_symbols_are_refused(runs: dict[str, list[Run]]) -> None:
    first, second = runs["chain"][0], Run.load(runs["chain"][1].folder.path)
    known = second.codec.vocabularies
    swapped = replace(known, labels=Vocabulary(known.labels.symbols[::-1]))
    second.__dict__["codec"] = Tokenizer(swapped, second.codec.encoder)
    with pytest.raises(ConfigError, match="must have the same symbols, but"):
        Ensemble([first, second])


WRONG_ARGUMENTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "a text": (lambda run: run.predict("ab"), r"^texts must be several of them, such as a list, but got 'ab'"),
    "bytes": (lambda run: run.predict([b"ab"]), r"^input 1 must be text, one line of the task's files, but got b'ab'"),
    "symbols": (lambda run: run.predict([("a", "b")]), r"^input 1 must be text, "),
    "nothing": (lambda run: run.predict(None), r"^texts must be several of them"),
    "places": (lambda run: run.predict(TEXTS, where=["one"]), r"^where must name a place for each of 3 inputs"),
    "decoding": (lambda run: run.predict(TEXTS, decoding="beam=3"), r"^decoding must be a Decoding, but got 'beam=3'"),
    "a text as a source": (lambda run: run.decode(["ab"]), r"^source 1 must be a tuple of symbols or a Recording"),
    "numbers": (lambda run: run.decode([(1, 2)]), r"^source 1 must be a tuple of symbols or a Recording"),
    "no output": (lambda run: run.n_best(TEXTS, 0), "^k must be at least 1, but got 0"),
    "half an output": (lambda run: run.n_best(TEXTS, 1.5), r"^k must be a whole number, but got 1\.5"),
    "yes": (lambda run: run.n_best(TEXTS, True), r"^k must be a whole number, but got True"),
    "texts as examples": (lambda run: run.evaluate(TEXTS), r"^example 1 must be an Example, but got 'ab'"),
    "no example": (lambda run: run.evaluate([]), r"^examples must hold at least one example, but there is none"),
    "a metric": (lambda run: run.evaluate([], metrics=SymbolErrorRate()), r"^metrics must be a tuple, but got Symbol"),
    "an odd metric": (lambda run: run.evaluate([], metrics=["perr"]), r"^there is no metric named 'perr'; did you"),
}


@pytest.mark.parametrize("case", WRONG_ARGUMENTS)
def test_arguments_that_are_something_else_are_refused(case: str, runs: dict[str, list[Run]]) -> None:
    one, other = runs["chain"]
    call, words = WRONG_ARGUMENTS[case]
    for predictor in (one, Ensemble([one, other]), Reranked(one, by=other)):
        with pytest.raises(ConfigError, match=words):
            call(predictor)


@pytest.mark.parametrize("kind", KINDS)
def test_iterables_and_nothing_will_do(kind: str, runs: dict[str, list[Run]]) -> None:
    one, other = runs[kind]
    test = one.experiment.task.load().test
    for predictor in (one, Ensemble(run for run in (one, other)), Reranked(one, by=other)):
        assert predictor.predict(text for text in TEXTS) == predictor.predict(TEXTS)
        assert predictor.evaluate(iter(test), metrics=["per"]) == predictor.evaluate(test, metrics=[SymbolErrorRate()])
        assert not predictor.predict([])
        assert not predictor.n_best([], 2)
        assert not predictor.decode([])


ANY: Any = runs_module
"""So that mypy lets the mistakes pass."""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda one: ANY.Ensemble(3), r"^an ensemble needs a list of at least one run, but got 3"),
        (lambda one: ANY.Ensemble([None]), r"^the folder of a run must be text or a Path, but got None"),
        (lambda one: ANY.Ensemble([Ensemble([one])]), r"^the folder of a run must be text or a Path, but got Ensemble"),
        (lambda one: ANY.Reranked(one, by=None), r"^Reranked\.by must be a finished run, .*, but got None"),
        (lambda one: ANY.Reranked("runs", by=one), r"^Reranked\.run must be a finished run, .*, but got 'runs'"),
        (
            lambda one: ANY.Reranked(one, by=ANY.Reranked(one, by=one)),
            r"^Reranked\.by must be a run or an Ensemble, but is rer",
        ),
        (lambda one: ANY.train("x"), r"^the experiment to train must be an object of Experiment, but got 'x'"),
        (lambda one: ANY.train(one.experiment, root=None), r"^root must be the folder of run folders"),
        (
            lambda one: ANY.train(one.experiment, device="gpu"),
            r"^device must be one of 'auto', 'cpu', 'cuda', but got 'gpu'",
        ),
        (
            lambda one: ANY.train(one.experiment, splits=3),
            r"^the splits to train must be an object of .*Splits.*, but got 3",
        ),
        (lambda one: ANY.train(one.experiment, checkpoint_every="x"), r"^checkpoint_every must be a finite number"),
    ],
)
def test_what_is_no_run_or_experiment_is_refused(
    make: Callable[[Any], object], words: str, runs: dict[str, list[Run]]
) -> None:
    with pytest.raises(ConfigError, match=words):
        make(runs["chain"][0])


def test_a_run_that_was_named_from_another_working_directory_says_so(
    runs: dict[str, list[Run]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = runs["chain"][0].folder.path
    monkeypatch.chdir(folder.parent)
    run = Run.load(folder.name)
    monkeypatch.chdir(tmp_path)
    words = rf"^expected the run folder {folder.name}, in the working directory {tmp_path}, but there is none; if the"
    with pytest.raises(RunError, match=words):
        run.predict(TEXTS)


@tasks.register("test-odd-texts")
@dataclass(frozen=True, kw_only=True)
class OddTexts(Copying):
    """What it makes of texts is not what it should be."""

    odd: ClassVar[dict[str, Any]] = {}

    def parse(self, text: str) -> Symbols:
        made: Symbols = self.odd.get("parse", super().parse)(text)
        return made

    def render(self, output: Symbols) -> str:
        made: str = self.odd.get("render", super().render)(output)
        return made


@pytest.mark.parametrize(
    ("method", "made", "error", "words"),
    [
        (
            "parse",
            lambda text: None,
            ConfigError,
            r"^OddTexts\.parse must return symbols, a tuple of str, but returned None",
        ),
        ("parse", lambda text: text, ConfigError, r"^OddTexts\.parse must return symbols, .* returned a str: 'ab'"),
        ("parse", lambda text: 1 // 0, CodeError, r"^OddTexts\.parse, line \d+ of .*, failed with ZeroDivisionError"),
        ("render", lambda output: None, ConfigError, r"^OddTexts\.render must return text, but returned None"),
        (
            "render",
            lambda output: 1 // 0,
            CodeError,
            r"^OddTexts\.render, line \d+ of .*, failed with ZeroDiv",
        ),
    ],
)
def test_what_a_task_makes_of_texts_is_checked(
    method: str,
    made: Any,
    error: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    runs: dict[str, list[Run]],
) -> None:
    run = runs["chain"][0]
    own = replace(run, experiment=replace(run.experiment, task=OddTexts(train=8, longest=3)))
    monkeypatch.setattr(OddTexts, "odd", {method: made})
    with pytest.raises(error, match=words):
        own.predict(["ab"])
    monkeypatch.setattr(OddTexts, "odd", {"parse": list})
    assert own.predict(["ab"]) == run.predict(["ab"]), "a list of symbols will do"
