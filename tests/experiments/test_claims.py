"""The experiments on the paper's claims: what they compute, by enumeration; how they decide; what the page says."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from structpred.errors import ConfigError, RunError
from structpred.experiments.claims import __main__ as claims
from structpred.experiments.claims import (
    augmentation,
    cost,
    distilled,
    divergences,
    outputs,
    rates,
    sampler,
    smoothing,
    unigram,
)
from structpred.experiments.claims.base import Interval, Runs, paragraph
from structpred.experiments.claims.outputs import bounds, exact_match
from structpred.experiments.five_objectives import TAGGER
from structpred.models import CRF, LSTMTagger
from structpred.objectives import RML, Adversarial
from structpred.payoffs import Temperature
from structpred.payoffs.edit_distance import EditDistancePayoff
from structpred.rewards import EditDistance
from structpred.rewards.base import scores_of
from structpred.sequences import Sequences
from structpred.task import Example, Splits
from structpred.tasks import HiddenMarkov
from structpred.testing.spaces import as_candidates, built, strings
from structpred.training import Trainer
from structpred.training.data import EncodedData

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "experiments" / "records" / "claims"
PAGE = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
NOWHERE = Runs(Path("nowhere"))
"""For what trains nothing."""

# ------------------------------------------------------------------------------------------------- what is computed


def test_the_laws_are_apart_as_sums_over_all_strings_say() -> None:
    """Strings of up to 11 symbols hold all but 1e-5 of the exact law here."""
    reference, labels, tau = (0, 1, 0), 2, 0.5
    literal = EditDistancePayoff(temperature=Temperature(rescaled=tau)).literal(labels)
    every = strings(labels, 11)
    distances = -scores_of(EditDistance(), as_candidates(every), Sequences.of([reference]))[0].double()
    exact = (-distances / literal).softmax(0)
    law = sampler.published_law(reference, labels, literal)
    published = torch.tensor([law.get(tuple(string), 0.0) for string in every], dtype=torch.float64)
    apart = sampler.laws_apart(reference, labels, tau)
    assert apart["laws"] == pytest.approx((exact - published).abs().sum().item() / 2, abs=1e-4)
    by_edits = [
        torch.zeros(12, dtype=torch.float64).index_add_(0, distances.long(), each) for each in (exact, published)
    ]
    assert apart["edits"] == pytest.approx((by_edits[0] - by_edits[1]).abs().sum().item() / 2, abs=1e-4)
    assert 0.01 < apart["edits"] < apart["laws"]


def test_the_total_variation_of_two_lists() -> None:
    assert sampler.variation([0.5, 0.5], [0.25, 0.25, 0.5]) == pytest.approx(0.5)
    assert sampler.mean_of([0.25, 0.25, 0.5]) == pytest.approx(1.25)


def test_the_bound_is_that_of_all_outputs() -> None:
    train = tuple(Example(tuple(x), (tuple(y),), "here") for x, y in (("ab", "xy"), ("bba", "yxx"), ("a", "x")))
    model = CRF(embedding=2, hidden=2, dropout=0.0)
    data = EncodedData.of(Splits(train=train, dev=train, test=train, digest="tiny"), model).training
    torch.manual_seed(1)
    network = model.build(data.sizes).double().eval()
    hinges, wrong = bounds(network, data)
    for row, (hinge, cost_of_best) in enumerate(zip(hinges, wrong, strict=True)):
        p = network(data.inputs.gather(torch.tensor([row])))
        target = data.references.gather(torch.tensor([row]))
        length = int(target.lengths[0])
        every = as_candidates(strings(data.sizes.num_labels, length, shortest=length))
        scores = p.score(every)[0]
        letters = (every.labels[0] != target.labels[:, :length]).sum(1)
        reference = p.score(target.candidates()).item()
        assert hinge == pytest.approx((scores + letters).max().item() - reference)
        assert cost_of_best == letters[scores.argmax()]
        assert hinge >= cost_of_best
    assert sum(wrong) > 0, "else the test says nothing"


def test_optima_slopes_and_compromises_in_miniature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divergences, "STARTS", 1)
    monkeypatch.setattr(divergences, "STEPS", 40)
    monkeypatch.setattr(divergences, "TAUS", (1.0,))
    monkeypatch.setattr(divergences, "PLACES", [-1.0, 0.0, 1.0, 12.0])
    found = divergences.measure(NOWHERE)
    along = found["1"]["along"]
    for name in ("forward", "backward"):
        assert along[name][1] == pytest.approx(0, abs=1e-12)
        assert along[f"{name} slope"][1] == pytest.approx(0, abs=1e-12)
        assert min(along[name][0], along[name][2]) > 0.01
    assert along["p"][3] > 0.999
    assert divergences.least_ratio(found["1"]) > 10
    assert divergences.answer(found).verdict == "shown"
    untrained = divergences.from_starts(1.0, lambda _, starts: starts)
    for name, ends in found["1"]["small steps"].items():
        assert ends[0] < 0.98 * untrained[name][0], "40 small steps come nearer to q"
    found["1"]["distances"]["RML"] = [0.1]
    assert divergences.answer(found).verdict == "refuted"


def test_the_ratio_is_of_all_wrong_labels_to_wrong_words() -> None:
    """19 labels of 5 words, of which 3 labels in 2 words are wrong."""
    scores = {"ACC": 100 * 16 / 19, "WER": 40.0}
    assert outputs.wrong_per_wrong_word(scores, 19, 5) == pytest.approx(1.5)
    assert outputs.wrong_per_wrong_word({"PER": 100 * 3 / 19, "WER": 40.0}, 19, 5) == pytest.approx(1.5)


def test_every_objective_has_one_way_for_each_kind_of_estimate() -> None:
    named = {model: [each.name for each in cost.timed(cost.BASES[model])] for model in ("CRF", "encoder-decoder")}
    for names in named.values():
        assert len(set(names)) == len(names)
        assert {"maximum-likelihood", "rml, sampled", "reinforce", "minimum-risk"} <= set(names)
        assert not {"distillation", "dpo", "kl-to-run"} & set(names)
    assert {"rml", "max-margin"} <= set(named["CRF"])
    assert "label-smoothing" not in named["CRF"]


def test_steps_are_timed_on_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "EXAMPLES", 4)
    monkeypatch.setattr(cost, "TURNS", 1)
    base = replace(TAGGER, task=HiddenMarkov(size=4, held_out=1), model=LSTMTagger(embedding=2, hidden=2))
    some = [each for each in cost.timed(base) if each.name in ("maximum-likelihood", "rml")]
    monkeypatch.setattr(cost, "timed", lambda _: some)
    found = cost.seconds(base)
    assert set(found) == {"maximum-likelihood", "rml"}
    assert all(0 < each < 1 for each in found.values())


def test_exact_match_and_its_arms() -> None:
    assert [exact_match([1, 2], each) for each in ([1, 2], [1], [2, 1])] == [1.0, 0.0, 0.0]
    arms = outputs.sparse_arms()
    assert len(arms) == 9
    assert {arm.epochs for arm in arms.values()} == {10}


@pytest.mark.parametrize(("name", "low", "high"), [("tagger", 0, 1e-12), ("encoder-decoder", 0.01, 10)])
def test_draws_by_frequency_are_unigram_smoothing_on_a_tagger_alone(name: str, low: float, high: float) -> None:
    assert low <= unigram.gap(name) <= high


def test_the_draws_trained_on_follow_the_law_that_is_enumerated() -> None:
    """One of two positions is redrawn by frequency: the reference stays with the mean share of its two labels."""
    many = unigram.replaced(20_000).draw(unigram.REFERENCES, unigram.LABELS, torch.Generator().manual_seed(0))
    assert many is not None
    assert many.weights is not None
    assert torch.allclose(many.weights, torch.tensor(1 / 20_000).double())
    unchanged = (many.labels == unigram.REFERENCES.labels.unsqueeze(1)).all(-1).double().mean(1)
    assert unchanged.tolist() == pytest.approx([4 / 6, 2.5 / 6, 2.5 / 6], abs=0.015)


def test_what_a_tagger_cannot_learn_of_a_chain_is_its_divergence_from_its_marginals() -> None:
    network = built(CRF(embedding=2, hidden=4, dropout=0.0), 2, sharpness=0.1)
    with torch.no_grad():
        network.get_parameter("chain.transitions").add_(torch.eye(2))  # neighbours are alike
    inputs, every = Sequences.of([[0, 1]]), as_candidates(strings(2, 2, shortest=2))
    p = network(inputs).log_prob(every)[0].exp().view(2, 2)
    expected = (p * (p / (p.sum(1, keepdim=True) * p.sum(0, keepdim=True))).log()).sum()
    found = distilled.beyond_a_tagger(lambda x, _: network(x), inputs, Sequences.of([[0, 0]]))
    assert found.item() == pytest.approx(expected.item(), abs=1e-9)
    assert expected > 1e-3, "else the test says nothing"


def test_without_noise_on_targets_switch_out_has_the_references() -> None:
    targets = Sequences.of([[0, 1, 2], [3]])
    drawn = augmentation.switched(0.1).draw(targets, 5, torch.Generator().manual_seed(0))
    assert drawn is not None
    assert drawn.flatten().tolist() == targets.tolist()


def test_the_number_of_each_kind_of_noise_is_the_best_on_dev() -> None:
    class Scores:
        def get(self, arm: Any, seed: int) -> Any:
            assert seed not in augmentation.SEEDS, "of other runs than those that are compared"
            result = SimpleNamespace(scores={"dev": {"ACC": best(arm.objective)}, "test": {}})
            return SimpleNamespace(result=result)

    def best(objective: Any) -> float:
        if isinstance(objective, Adversarial):
            return -abs(objective.epsilon - 1.0)
        temperature = objective.payoff.temperature if isinstance(objective, RML) else objective.source
        rate: Any = temperature.edit_rate
        return -abs(float(rate) - 0.02)

    found = augmentation.tuned(Scores())  # type: ignore[arg-type]
    assert found == {"RML": 0.02, "SwitchOut": 0.02, "adversarial": 1.0}
    both = augmentation.arms(found)["RML + adversarial"]
    assert both == Adversarial(objective=augmentation.rml(0.02), epsilon=1.0)


def test_errors_become_what_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "scores", lambda *_: {"dev": [30.0], "test": [10.0]})
    tasks = [rates.TASKS[name] for name in ("letters, CRF", "spelling variants, encoder-decoder")]
    found = [rates.right(NOWHERE, task, task.base.objective) for task in tasks]
    assert found == [{"dev": [30.0], "test": [10.0]}, {"dev": [70.0], "test": [90.0]}]


# ------------------------------------------------------------------------------------------------------ the verdicts


def curve(**dev: float) -> dict[str, dict[str, list[float]]]:
    """Scores of three seeds by temperature, the same on dev and test up to a spread of 0.02."""
    return {
        t.removeprefix("t").replace("_", "."): {split: [x - 0.01, x, x + 0.01] for split in ("dev", "test")}
        for t, x in dev.items()
    }


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (curve(t0=80.0, t0_1=81.0, t0_8=60.0), "shown"),
        (curve(t0=80.0, t0_1=79.0, t0_8=60.0), "refuted"),
        (curve(t0=80.0, t0_1=80.5, t0_8=81.0), "not shown"),
    ],
)
def test_an_optimum_between_is_inside_and_better(scores: dict[str, Any], verdict: str) -> None:
    assert smoothing.verdict_on(scores)[0] == verdict
    results = {"curves": {"one": scores, "other": curve(t0=80.0, t0_1=81.0, t0_8=60.0)}, "best": 90.0}
    assert smoothing.answer_temperature(results).verdict == verdict


@pytest.mark.parametrize(("gap", "verdict"), [(0.2, "shown"), (-0.5, "not shown"), (1.5, "refuted")])
def test_curves_coincide_by_their_widest_gap(gap: float, verdict: str) -> None:
    ways = {way: curve(t0_1=80.0, t0_2=79.0) for way in smoothing.WAYS}
    ways["RML, exact"] = curve(t0_1=80.0, t0_2=79.0 + gap)
    assert smoothing.answer_smoothing({"curves": ways}).verdict == verdict


@pytest.mark.parametrize(
    ("rml", "verdict"),
    [([1.0, 1.1, 1.0], "shown"), ([2.0, 1.9, 2.1], "not shown"), ([3.0, 3.1, 3.0], "refuted")],
)
def test_partial_credit_by_intervals(rml: list[float], verdict: str) -> None:
    pairs = {name: {"RML": [1.0, 1.1, 1.0], "ML": [2.0, 2.0, 2.1]} for name in ("one", "other")}
    pairs["other"]["RML"] = rml
    assert outputs.answer_partial(pairs).verdict == verdict


@pytest.mark.parametrize(
    ("gap", "eight", "verdict"),
    [(1e-12, 80.2, "shown"), (1e-12, 80.5, "not shown"), (1e-12, 82.0, "refuted"), (1e-3, 80.0, "refuted")],
)
def test_unigrams_by_gradients_and_accuracy(gap: float, eight: float, verdict: str) -> None:
    scores = {name: [79.9, 80.0, 80.1] for name in unigram.arms(0.1)} | {"RML, 8 draws": [eight - 0.1, eight, eight]}
    results = {"gaps": {"tagger": gap, "encoder-decoder": 0.3}, "epsilon": 0.1, "scores": scores}
    assert unigram.answer(results).verdict == verdict


@pytest.mark.parametrize(
    ("other", "verdict"), [([0.9, 1.0, 1.1], "shown"), ([0.4, 0.5, 0.6], "not shown"), ([0.1, 0.2, 0.15], "refuted")]
)
def test_a_student_is_nearest_to_its_own_teacher(other: list[float], verdict: str) -> None:
    names = distilled.NAMES
    own = {
        student: {t: [[0.4, 0.5, 0.58]] * 3 if t == student else [[0.9, 1.0, 1.1]] * 3 for t in names}
        for student in names
    }
    own["q"]["chain"] = [other] * 3
    results = {
        "curves": {"train": own, "dev": own},
        "floors": {"train": 0.1},
        "accuracies": {name: [80.0] for name in names},
    }
    assert distilled.answer(results).verdict == verdict


@pytest.mark.parametrize(
    ("alone", "both", "verdict"), [(81.0, 83.0, "shown"), (81.0, 82.0, "not shown"), (79.0, 83.0, "refuted")]
)
def test_noise_on_targets_by_the_fewest_words(alone: float, both: float, verdict: str) -> None:
    chosen = {name: values[0] for name, (values, _) in augmentation.TUNED.items()}
    means = dict.fromkeys(augmentation.arms(chosen), 80.0) | {
        "RML": alone,
        "adversarial": 82.0,
        "RML + adversarial": both,
    }
    few = {name: [mean - 0.1, mean, mean + 0.1] for name, mean in means.items()}
    few["likelihood"] = [80.0, 79.9, 80.1]
    few["adversarial"] = [82.0, 81.9, 82.1]
    scores = {str(size): few for size in augmentation.SIZES}
    assert augmentation.answer({"chosen": chosen, "scores": scores}).verdict == verdict


@pytest.mark.parametrize(("bests", "verdict"), [(2, "shown"), (1, "not shown"), (0, "refuted")])
def test_both_tasks_decide(bests: int, verdict: str) -> None:
    inside, cold = curve(t0=80.0, t0_1=81.0, t0_3=60.0), curve(t0=80.0, t0_1=79.0, t0_3=60.0)
    results = {f"task {i}": {"RML": inside if i < bests else cold} for i in range(2)}
    assert rates.answer(results).verdict == verdict


@pytest.mark.parametrize(
    ("broken", "hinge", "verdict"), [(0, 3.0, "shown"), (0, 2.5, "not shown"), (1, 3.0, "refuted")]
)
def test_a_bound_is_loose_at_one_and_a_half(broken: int, hinge: float, verdict: str) -> None:
    every = range(len(outputs.BUDGETS))
    dev = {"hinge": [[hinge]] * len(every), "wrong": [[2.0]] * len(every), "broken": [0 for _ in every]}
    train = dev | {"broken": [broken, *[0] * (len(every) - 1)]}
    assert outputs.answer_margin({"train": train, "dev": dev}).verdict == verdict


def test_an_interval_is_students() -> None:
    found = Interval.of([3.0, 5.0], [1.0, 1.0])
    assert (found.mean, found.half_width) == pytest.approx((3.0, 12.7062 * math.sqrt(2) / math.sqrt(2)), rel=1e-4)
    assert not found.above_zero
    assert Interval.of([3.0, 3.1], [1.0, 1.0]).above_zero
    assert Interval.of([1.0, 1.0], [3.0, 3.1]).below_zero


# ------------------------------------------------------------------------------------------------- record and page


@pytest.mark.slow(seconds=2)
@pytest.mark.figures
def test_a_claim_is_measured_once_and_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(
        TAGGER,
        task=HiddenMarkov(size=20, held_out=10),
        model=LSTMTagger(embedding=4, hidden=4),
        trainer=Trainer(epochs=1, batch_tokens=64),
    )
    monkeypatch.setattr(smoothing, "TAGGER", small)
    monkeypatch.setattr(smoothing, "RATES", (0.1,))
    monkeypatch.setattr(smoothing, "SEEDS", range(2))
    claim = claims.CLAIMS["smoothing"]
    told = claims.record_of("smoothing", claim, tmp_path / "runs", tmp_path / "report")
    record = json.loads((tmp_path / "report" / "smoothing" / "results.json").read_text(encoding="utf-8"))
    assert record["cpu_seconds"] > 0
    assert told == paragraph("smoothing", claim, record)
    assert len([path for path in (tmp_path / "runs").iterdir() if path.is_dir()]) == 8
    drawn = (tmp_path / "report" / "smoothing" / "picture.svg").read_text(encoding="utf-8")
    assert "RML, one draw" in " ".join(ElementTree.fromstring(drawn).itertext())
    kept = replace(claim, measure=lambda _: pytest.fail("measured again"))
    assert claims.record_of("smoothing", kept, tmp_path / "runs", tmp_path / "report") == told


KEPT = [name for name in claims.CLAIMS if (RECORDS / name).exists()]


def record_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDS / name / "results.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", KEPT)
def test_the_page_gives_the_answer_of_the_record(name: str) -> None:
    assert paragraph(name, claims.CLAIMS[name], record_of(name)) in PAGE
    assert f"(../experiments/records/claims/{name}/picture.svg)" in PAGE


def test_every_record_is_of_a_claim_and_every_answer_has_a_record() -> None:
    assert {path.name for path in RECORDS.iterdir()} == set(KEPT)
    assert PAGE.count("**Answer: ") == len(KEPT)
    assert PAGE.count("**Claim.**") == len(claims.CLAIMS)


def test_the_page_has_the_table_of_costs_of_the_record() -> None:
    assert cost.table(record_of("cost")["results"]) in PAGE


@pytest.mark.figures
@pytest.mark.parametrize("name", KEPT)
def test_the_picture_is_that_of_the_record(name: str) -> None:
    assert (RECORDS / name / "picture.svg").read_text(encoding="utf-8") == claims.CLAIMS[name].picture(
        record_of(name)["results"]
    )


@pytest.mark.parametrize("text", ["", "[]", '{"results": {}}'])
def test_a_damaged_record_is_refused_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "cost").mkdir()
    (tmp_path / "cost" / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"cost.results\.json is not the record of a claim; move it away"):
        claims.record_of("cost", claims.CLAIMS["cost"], tmp_path / "runs", tmp_path)


def test_a_folder_that_cannot_be_written_is_refused_before_any_claim_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = tmp_path / "cost"
    shut.mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != shut)
    monkeypatch.setattr(claims, "record_of", lambda *given: pytest.fail("measured"))
    monkeypatch.setattr("sys.argv", ["claims", "--only", "margin", "cost", "--report", str(tmp_path)])
    with pytest.raises(ConfigError, match=r"cost must be a folder that can be written, but it is read-only; name anot"):
        claims.main()
