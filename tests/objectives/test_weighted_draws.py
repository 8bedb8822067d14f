"""RML with any reward: weighted draws on the data side, their diagnostics, and candidates of a finished run."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from structpred.distributions.autoregressive import Autoregressive
from structpred.errors import ConfigError, RunError
from structpred.experiment import Experiment
from structpred.models import LSTMTagger, Seq2Seq, SymbolEmbedding
from structpred.objectives import (
    RML,
    CandidatePool,
    MaximumLikelihood,
    Objective,
    Sampled,
    SelfNormalised,
    SwitchOut,
    Weighted,
    WeightedSum,
    candidate_pool,
)
from structpred.payoffs import BaseMeasure, EditDistancePayoff, ReweightedPayoff, Temperature
from structpred.payoffs.base_measures import Proposals
from structpred.results import Epoch
from structpred.rewards import EditDistance, Hamming, SentenceBleu
from structpred.rewards.base import scores_of
from structpred.runs import Run, train
from structpred.sequences import Sequences, spelt
from structpred.training import Trainer, monitoring
from structpred.training.batching import EpochPlan
from structpred.training.data import Tokenizer, TrainingData
from structpred.training.monitoring import PoorWeightsWarning, warn_of_poor_weights
from tests.support.tiny import Copying, tiny_p

TAU = 0.3
BLEU_RML = RML(
    payoff=ReweightedPayoff(temperature=Temperature(literal=TAU)),
    estimator=SelfNormalised(k=4),
)
PLAIN = RML(payoff=EditDistancePayoff(temperature=Temperature(edit_rate=0.3)), estimator=Sampled(k=3))
EXAMPLES = Copying(train=50).load().train
DATA = TrainingData.of(EXAMPLES, Tokenizer.of(EXAMPLES, SymbolEmbedding()))
TARGETS = Sequences.of([[0, 1, 1], [1]])


def weights_by_hand(draws: Sequences, targets: Sequences) -> Tensor:
    """The Hamming payoff is drawn from itself, so nothing but the reward decides."""
    return (scores_of(SentenceBleu(), draws, targets).double() / TAU).softmax(1)


def test_every_example_of_a_batch_has_the_weights_of_its_own_draws() -> None:
    plan = EpochPlan(DATA, DATA, BLEU_RML, budget=24, seed=0, epoch=0)
    for position in range(len(plan)):
        batch = plan[position]
        assert batch.draws is not None
        assert batch.draws.weights is not None
        by_hand = weights_by_hand(batch.draws, batch.targets)
        torch.testing.assert_close(batch.draws.weights.double(), by_hand, rtol=0, atol=1e-6)


def test_the_loss_is_the_weighted_mean_whether_equal_draws_are_merged_or_not() -> None:
    p = tiny_p(2)
    draws = BLEU_RML.draw(TARGETS, 2, torch.Generator().manual_seed(0))
    assert draws is not None
    losses = BLEU_RML(p, TARGETS, draws=draws)
    torch.testing.assert_close(losses.values, -(weights_by_hand(draws, TARGETS) * p.log_prob(draws)).sum(1))
    now = BLEU_RML(p, TARGETS, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(now.values, losses.values)


def test_parts_of_a_sum_keep_their_own_weights() -> None:
    parts: tuple[Objective, ...] = (PLAIN, BLEU_RML, MaximumLikelihood())
    total = WeightedSum(parts=tuple(Weighted(objective=part, name=f"{i}") for i, part in enumerate(parts)))
    draws = total.draw(TARGETS, 2, torch.Generator().manual_seed(3))
    assert draws is not None
    assert draws.weights is not None
    found = total(tiny_p(2), TARGETS, draws=draws)
    own = (
        Sequences(draws.labels[:, :3], draws.lengths[:, :3]),
        Sequences(draws.labels[:, 3:], draws.lengths[:, 3:], weights=draws.weights[:, 3:]),
        None,
    )
    alone = [part(tiny_p(2), TARGETS, draws=each).values for part, each in zip(parts, own, strict=True)]
    torch.testing.assert_close(found.values, torch.stack(alone).sum(0))
    assert {"1/effective_samples", "0/unchanged"} <= found.diagnostics.keys()
    assert "0/effective_samples" not in found.diagnostics


def test_diagnostics_of_weights_by_hand() -> None:
    """Copies of an output are one: of the second example's draws three are the reference, of the third all differ."""
    labels = torch.tensor([[[0], [1], [0], [1]], [[1], [1], [1], [0]], [[0], [1], [2], [3]]])
    weights = torch.tensor([[0.25, 0.5, 0.25, 0.0], [0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0]])
    draws = Sequences(labels, torch.ones(3, 4, dtype=torch.long), weights=weights)
    found = {n: v.tolist() for n, v in SelfNormalised(k=4).diagnostics(draws, Sequences.of([[0], [1], [0]])).items()}
    assert found["effective_samples"] == pytest.approx([2, 1 / (0.75**2 + 0.25**2), 1])
    assert found["effective_share"] == pytest.approx([1 / 3, 0.2, 0])
    assert found["reference_share"] == pytest.approx([0.5, 0.75, 0])
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert found["weight_entropy"] == pytest.approx([math.log(2), entropy, 0])


def epoch(number: int, share: float | None, name: str = "") -> Epoch:
    found = {} if share is None else {f"{name}effective_share": share, f"{name}effective_samples": 1 + 4 * share}
    return Epoch(number, 1.0, {"PER": 1.0}, 0.0, found, {})


def test_poor_weights_are_said_once() -> None:
    with pytest.warns(PoorWeightsWarning, match=r"effective sample size is 1\.20 on average.* raise the payoff's"):
        warn_of_poor_weights([epoch(1, None), epoch(2, 0.05, "RML/")])
    for history in ([epoch(1, 0.5)], [epoch(1, None)], [epoch(1, 0.05), epoch(2, 0.01)]):
        warn_of_poor_weights(history)


def test_training_looks_at_the_weights_of_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitoring, "POOR", 2.0)
    model, trainer = Seq2Seq(embedding=4, hidden=4), Trainer(epochs=1, batch_tokens=40)
    with pytest.warns(PoorWeightsWarning, match="importance weights are poor"):
        train(Experiment(task=Copying(), model=model, objective=BLEU_RML, trainer=trainer), root=tmp_path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: SelfNormalised(k=1),
            r"SelfNormalised\.k must be at least 2, but got 1: .* the reward would be ignored",
        ),
        (lambda: RML(payoff=ReweightedPayoff()), r"only weighted samples; use estimator=SelfNormalised\(k=5\)"),
        (lambda: RML(estimator=SelfNormalised()), r"samples without weights; use estimator=Sampled\(k=1\)"),
        (lambda: SwitchOut(target=ReweightedPayoff()), r"SwitchOut needs plain samples .* RML with estimator=SelfN"),
        (
            lambda: BLEU_RML(tiny_p(2), TARGETS, draws=TARGETS.candidates()),
            "SelfNormalised needs samples with weights, but these have none",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_a_way_out(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


# ------------------------------------------------------------------------------------- candidates of a finished run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    experiment = Experiment(
        task=Copying(),
        model=Seq2Seq(embedding=8, hidden=8, dropout=0.0),
        objective=MaximumLikelihood(),
        trainer=Trainer(epochs=2, batch_tokens=40),
    )
    return train(experiment, root=tmp_path_factory.mktemp("runs"))


def law(run: Run, pool: CandidatePool, target: list[int]) -> dict[tuple[int, ...], float]:
    """μ around a reference, computed example by example: the pool is asked for nothing but its outputs.

    One in 10,000 draws misses the 100,000 here in one case of 20,000.
    """
    drawn = pool.propose(Sequences.of([target]), 2, 100_000, torch.Generator().manual_seed(1)).outputs
    outputs = sorted({tuple(each) for each in drawn.flatten().tolist()})
    found: dict[tuple[int, ...], float] = dict.fromkeys(outputs, 0.0)
    encode = run.codec.vocabularies.labels.encode
    owners = [
        example.source
        for example in run.experiment.task.load().train
        for reference in example.references
        if list(encode(reference)) == target
    ]
    flat = Sequences.of([list(output) for output in outputs])
    candidates = Sequences(flat.labels.unsqueeze(0), flat.lengths.unsqueeze(0))
    for source in owners:
        p = run.model(run.codec.read([source]).gather(torch.tensor([0])))
        for output, share in zip(outputs, p.log_prob(candidates)[0].double().softmax(0).tolist(), strict=True):
            found[output] += share / len(owners)
    return found


@pytest.mark.parametrize("search", ["samples", "n-best"])
def test_a_pool_is_drawn_from_in_proportion_to_the_probabilities_of_its_run(run: Run, search: str) -> None:
    """By χ², at a false-alarm rate of 10^−4 with a fixed seed, for a reference with one input."""
    pool = CandidatePool(run=str(run.folder.path), size=5, search=search)  # type: ignore[arg-type]
    pool.prepare(run.sizes)
    target = list(run.codec.vocabularies.labels.encode(("a", "b", "a", "b")))
    references = Sequences.of([target, list(run.codec.vocabularies.labels.encode(("a",)))])
    expected = law(run, pool, target)
    assert tuple(target) in expected, "the reference was added"
    k = 20_000
    drawn = pool.propose(references, 2, k, torch.Generator().manual_seed(0))
    assert (drawn.log_ratio == 0).all()
    rows = drawn.outputs.select(slice(0, 1)).flatten().tolist()
    counts = [sum(tuple(row) == output for row in rows) for output in expected]
    assert sum(counts) == k
    shares = list(expected.values())
    statistic = sum((c - k * share) ** 2 / (k * share) for c, share in zip(counts, shares, strict=True))
    assert chi2.sf(statistic, max(len(shares) - 1, 1)) > 1e-4


def test_the_best_candidates_are_those_of_the_search(run: Run) -> None:
    pool = CandidatePool(run=str(run.folder.path), size=3, search="n-best", reference="left out")
    target = list(run.codec.vocabularies.labels.encode(("b", "b", "a", "a")))
    drawn = pool.propose(Sequences.of([target]), 2, 4000, torch.Generator().manual_seed(0)).outputs
    found = {run.codec.write(each) for each in drawn.flatten().tolist()}
    sources = {spelt(e.source) for e in run.experiment.task.load().train if ("b", "b", "a", "a") in e.references}
    best = {h.output for source in sources for h in run.n_best(["".join(source)], 3)[0]}
    assert found == best


@pytest.mark.filterwarnings("ignore::structpred.training.monitoring.PoorWeightsWarning")
def test_training_on_a_pool_goes_through_and_has_its_identity(run: Run, tmp_path: Path) -> None:
    pool = CandidatePool(run=str(run.folder.path), size=4)
    payoff = ReweightedPayoff(reward=EditDistance(), temperature=Temperature(literal=0.5), base=pool)
    experiment = replace(run.experiment, objective=RML(payoff=payoff, estimator=SelfNormalised(k=3)))
    found = train(experiment, root=tmp_path)
    assert found.result.history[-1].diagnostics["effective_samples"] > 1
    assert pool.fingerprint() == (run.result.identity,)


def test_a_pool_of_other_labels_or_of_no_run_or_of_other_references_is_refused(run: Run, tmp_path: Path) -> None:
    pool = CandidatePool(run=str(run.folder.path))
    with pytest.raises(ConfigError, match="was trained on other labels than those of this task"):
        pool.prepare(replace(run.sizes, label_symbols="others"))
    pool.prepare(replace(run.sizes, symbols="others"))  # how others read their inputs does not matter
    with pytest.raises(ConfigError, match=r"no candidates for the reference 'a a a a a a', .* of the same task"):
        pool.propose(Sequences.of([[0] * 6]), 2, 2, None)
    with pytest.raises(RunError, match="expected the folder of a run"):
        CandidatePool(run=str(tmp_path / "absent")).prepare(run.sizes)
    payoff = ReweightedPayoff(base=pool)
    with pytest.raises(ConfigError, match="use HammingPayoff, or a model of free length"):
        Experiment(task=Copying(), model=LSTMTagger(), objective=RML(payoff=payoff, estimator=SelfNormalised()))
    with pytest.raises(ConfigError, match="but the base measure CandidatePool also proposes"):
        ReweightedPayoff(reward=Hamming(), base=pool)


def test_where_every_draw_was_cut_and_the_reference_is_left_out_it_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Autoregressive.sample

    def cut(p: Autoregressive, k: int, generator: torch.Generator | None = None) -> Sequences:
        found = whole(p, k, generator)
        return Sequences(found.labels, found.lengths, torch.zeros_like(found.lengths, dtype=torch.bool))

    monkeypatch.setattr(Autoregressive, "sample", cut)
    with pytest.raises(ConfigError, match=r"found nothing for .* references, because every draw .* reference='added'"):
        CandidatePool(run=str(run.folder.path), size=2, reference="left out").prepare(run.sizes)


def test_a_pool_of_a_tagger_keeps_the_length(run: Run, tmp_path: Path) -> None:
    tagger = replace(run.experiment, model=LSTMTagger(embedding=4, hidden=4))
    pool = CandidatePool(run=str(train(tagger, root=tmp_path).folder.path), size=4)
    assert pool.keeps_length
    payoff = ReweightedPayoff(reward=Hamming(), temperature=Temperature(literal=1), base=pool)
    train(replace(tagger, objective=RML(payoff=payoff, estimator=SelfNormalised(k=2))), root=tmp_path)


def test_a_run_is_loaded_though_the_run_of_its_pool_is_gone(run: Run, tmp_path: Path) -> None:
    tagger = replace(run.experiment, model=LSTMTagger(embedding=4, hidden=4))
    teacher = train(tagger, root=tmp_path / "teachers").folder.path
    payoff = ReweightedPayoff(
        reward=Hamming(), temperature=Temperature(literal=2), base=CandidatePool(run=str(teacher), size=4)
    )
    student = replace(tagger, objective=RML(payoff=payoff, estimator=SelfNormalised(k=2)))
    folder = train(student, root=tmp_path / "students").folder.path
    teacher.rename(tmp_path / "elsewhere")
    assert Run.load(folder).experiment == student
    with pytest.raises(RunError, match="expected the folder of a run"):
        train(student, root=tmp_path / "others")


def test_a_pool_of_data_that_have_changed_is_refused(tmp_path: Path) -> None:
    from structpred.tasks import Tsv

    for name, words in {"train": "ab ba aab bba abab", "dev": "bb", "test": "aa"}.items():
        (tmp_path / name).write_text("".join(f"{w}\t{' '.join(w.upper())}\n" for w in words.split()), encoding="utf-8")
    task = Tsv(train=str(tmp_path / "train"), dev=str(tmp_path / "dev"), test=str(tmp_path / "test"))
    model = Seq2Seq(embedding=4, hidden=4)
    experiment = Experiment(task=task, model=model, objective=MaximumLikelihood(), trainer=Trainer(epochs=1))
    found = train(experiment, root=tmp_path / "runs")
    with (tmp_path / "train").open("a", encoding="utf-8") as file:
        file.write("bab\tB A B\n")
    with pytest.raises(ConfigError, match=r"needs the data that .* was trained on, but its task now reads others"):
        CandidatePool(run=str(found.folder.path)).prepare(found.sizes)


@dataclass(frozen=True, kw_only=True)
class Stated(BaseMeasure):
    """Proposes whatever it was told."""

    found: ClassVar[object] = None

    @property
    def keeps_length(self) -> bool:
        return True

    def propose(self, references: Sequences, num_labels: int, k: int, generator: torch.Generator | None) -> Proposals:
        return self.found  # type: ignore[return-value]  # what is wrong is what is tested


OUTPUTS = Sequences(torch.tensor([[[0, 1, 1]] * 2, [[1, 0, 0]] * 2]), torch.tensor([[3, 3], [1, 1]]))
OTHERS = Sequences(OUTPUTS.labels, torch.ones_like(OUTPUTS.lengths))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, r"Stated\.propose must return Proposals, but returned None"),
        (
            Proposals(OUTPUTS, torch.zeros(2)),
            r"log_ratio, must return a tensor \[batch, candidates\] of shape \(2, 2\)",
        ),
        (Proposals(OUTPUTS, torch.full((2, 2), torch.nan)), "log_ratio, must return numbers that are finite"),
        (
            Proposals(OUTPUTS.select(slice(1)), torch.zeros(1, 2)),
            r"Sequences of \(2, 2\) outputs, but returned \(1, 2\)",
        ),
        (
            Proposals(replace(OUTPUTS, labels=OUTPUTS.labels + 1), torch.zeros(2, 2)),
            "labels from 0 to 1, but returned 2",
        ),
        (
            Proposals(replace(OUTPUTS, lengths=OUTPUTS.lengths + 1), torch.zeros(2, 2)),
            r"propose, lengths, must return numbers from 0 to 3, the size of the time axis, but returned 2 to 4",
        ),
        (Proposals(OTHERS, torch.zeros(2, 2)), "outputs as long as their references, but returned others"),
    ],
)
def test_what_a_base_measure_returns_is_checked(found: object, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stated, "found", found)
    q = ReweightedPayoff(base=Stated()).distribution(TARGETS, 2)
    with pytest.raises(ConfigError, match=said):
        q.weighted_sample(2)


def test_an_example_that_has_a_reference_twice_counts_once_in_its_pool(run: Run) -> None:
    pool = CandidatePool(run=str(run.folder.path), size=2, search="n-best")
    search = replace(pool, reference="left out")
    data = TrainingData.of(EXAMPLES[:1] * 1, run.codec)
    twice = replace(EXAMPLES[0], references=EXAMPLES[0].references * 3)
    several = TrainingData.of([twice], run.codec)
    found, again = (
        list(candidate_pool._of_each(run, each, search, torch.Generator().manual_seed(0))) for each in (data, several)
    )
    assert found == again
