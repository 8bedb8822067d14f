"""The dial's curve: what is measured along it, by enumeration, and what its record says."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn

from structpred.experiment import Experiment
from structpred.experiments import dial
from structpred.experiments.dial import (
    ALPHAS,
    COLUMNS,
    SETTINGS,
    Noise,
    Point,
    entropy_of,
    gradients,
    picture,
    points_of,
    ratio,
    rows,
    text,
)
from structpred.models import LSTMTagger
from structpred.objectives import Divergence, Sampled
from structpred.payoffs import HammingPayoff, Temperature
from structpred.sequences import Sequences
from structpred.task import Example, Splits
from structpred.testing.spaces import as_candidates, strings, tuples_of
from structpred.training.data import EncodedData, TrainingData

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "experiments" / "records" / "dial"
PICTURE = ROOT / "docs" / "pictures" / "dial.svg"
DRAWN = Divergence(alpha=0.5, payoff=HammingPayoff(temperature=Temperature(literal=0.8)), estimator=Sampled(k=2))


def tiny(examples: list[tuple[str, str]]) -> tuple[nn.Module, TrainingData]:
    """A tagger in float64 with few weights, and examples."""
    train = tuple(Example(tuple(source), (tuple(labels),), "here") for source, labels in examples)
    model = LSTMTagger(embedding=2, hidden=2, dropout=0.0)
    prepared = EncodedData.of(Splits(train=train, dev=train, test=train, digest="tiny"), model)
    torch.manual_seed(1)
    network = model.build(prepared.training.sizes).double().eval()
    with torch.no_grad():
        for each in network.parameters():
            each.mul_(3.0)
    return network, prepared.training


# ----------------------------------------------------------------------------------------------------- what is measured


@pytest.mark.parametrize("n", [2, 3])
def test_signal_and_variance_are_unbiased(n: int) -> None:
    """By enumeration of all n-tuples of three vectors."""
    vectors = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [0.0, 4.0]], dtype=torch.float64)
    chances = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    mean = chances @ vectors
    variance = chances @ (vectors - mean).square().sum(1)
    expected = torch.zeros(2, dtype=torch.float64)
    for drawn in itertools.product(range(3), repeat=n):
        found = Noise.of(vectors[each] for each in drawn)
        expected += chances[list(drawn)].prod() * torch.tensor([found.signal, found.variance], dtype=torch.float64)
    assert expected.tolist() == pytest.approx([mean.square().sum().item(), variance.item()], abs=1e-12)


def enumerated(network: nn.Module, data: TrainingData) -> tuple[Tensor, Tensor]:
    """The gradient for every pair of draws from q around the first example, and the chance of each pair."""
    inputs, targets = data.inputs.gather(torch.tensor([0])), data.references.gather(torch.tensor([0]))
    length = int(targets.lengths[0])
    every = as_candidates(strings(data.sizes.num_labels, length, shortest=length))
    q = DRAWN.payoff.distribution(targets, data.sizes.num_labels).log_prob(every)[0].double().exp()
    found = []
    pairs = tuples_of(every, 2)
    for row in torch.arange(len(pairs)).unsqueeze(1):
        draws = pairs.select(row)
        loss = DRAWN(network(inputs), targets, draws=draws).values.sum()
        slopes = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        weights = zip(slopes, network.parameters(), strict=True)
        found.append(torch.cat([(torch.zeros_like(w) if g is None else g).flatten() for g, w in weights]))
    return torch.stack(found), torch.stack([a * b for a, b in itertools.product(q, q)])


def test_noise_of_draws_is_that_of_all_pairs_of_draws() -> None:
    """Within 5 standard errors; were both estimates normal, a false alarm in 900,000."""
    n = 60
    network, data = tiny([("ab", "xy")] * n)
    each, chances = enumerated(network, data)
    assert chances.sum().item() == pytest.approx(1, abs=1e-9)
    mean = chances @ each
    apart = (each - mean).square().sum(1)
    variance, signal = (chances @ apart).item(), mean.square().sum().item()
    covariance = torch.einsum("p,pi,pj->ij", chances, each - mean, each - mean)
    found = Noise.of(gradients(network, DRAWN, data, 0))
    spread = ((chances @ apart.square()).item() - variance**2) / n
    assert abs(found.variance - variance) < 5 * spread**0.5
    spread = (4 * mean @ covariance @ mean / n + 2 * covariance.square().sum() / (n * (n - 1))).item()
    assert abs(found.signal - signal) < 5 * spread**0.5
    assert signal / variance > 0.01, "else the test says nothing"


def test_in_closed_form_all_noise_is_of_the_examples() -> None:
    network, data = tiny([("ab", "xy"), ("ba", "yy"), ("a", "x"), ("bb", "xx")])
    exact = dial.in_closed_form(0.1)
    found = torch.stack(list(gradients(network, exact, data, 0)))
    again = torch.stack(list(gradients(network, exact, data, 1)))
    torch.testing.assert_close(found, again, rtol=0, atol=0)
    noise = Noise.of(iter(found))
    variance = found.var(0).sum().item()
    assert noise.variance == pytest.approx(variance)
    assert noise.signal == pytest.approx(found.mean(0).square().sum().item() - variance / len(found))


class OnlySamples(nn.Module):
    """A tagger whose entropy is not known in closed form."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Sequences) -> Any:
        p = self.network(inputs)

        class Law:
            log_prob, sample = p.log_prob, p.sample

        return Law()


def test_entropy_is_that_of_all_outputs_for_each_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    """By draws within 5 standard errors."""
    network, data = tiny([("ab", "xy"), ("b", "x")])
    truth, spread = 0.0, 0.0
    for row, length in enumerate((2, 1)):
        every = as_candidates(strings(2, length, shortest=length))
        log_p = network(data.inputs.gather(torch.tensor([row]))).log_prob(every)[0]
        entropy = -(log_p.exp() * log_p).sum().item()
        truth += entropy
        spread += ((log_p.exp() * log_p.square()).sum().item() - entropy**2) / 2000
    assert entropy_of(network, data, 0) == pytest.approx(truth / 3)
    monkeypatch.setattr(dial, "DRAWS", 2000)
    assert abs(entropy_of(OnlySamples(network), data, 0) - truth / 3) < 5 * spread**0.5 / 3


def test_a_ratio_is_of_means_over_seeds() -> None:
    points = [
        Point(seed, 1.0, 1.0, 1.0, first, last, 1.0)
        for seed, first, last in ((0, Noise(1.0, 2.0), Noise(0.0, 1.0)), (1, Noise(5.0, 10.0), Noise(-1.0, 1.0)))
    ]
    assert ratio(points, "first") == pytest.approx(0.5)
    assert ratio(points, "last") == pytest.approx(-0.5)


# ----------------------------------------------------------------------------------------------------------- the record


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORD / "curves.json").read_text(encoding="utf-8"))
    return found


def every_point(record: dict[str, Any]) -> Iterator[Point]:
    for task in record["tasks"].values():
        for found in points_of(task).values():
            yield from found


def test_the_record_is_of_the_settings_of_the_module(record: dict[str, Any]) -> None:
    assert list(record["tasks"]) == list(SETTINGS)
    assert (record["examples"], record["draws"]) == (dial.EXAMPLES, dial.DRAWS)
    for name, task in record["tasks"].items():
        setting = SETTINGS[name]
        assert Experiment.from_json(json.dumps(task["experiment"])) == setting.arm(0.5), name
        assert list(task["points"]) == [f"{alpha:g}" for alpha in ALPHAS]
        for found in points_of(task).values():
            assert [point.seed for point in found] == list(range(setting.seeds)) == task["seeds"]
    assert all(point.entropy >= 0 and point.first.variance > 0 for point in every_point(record))


@pytest.mark.figures
@pytest.mark.slow
def test_report_and_picture_are_those_of_the_record(record: dict[str, Any]) -> None:
    assert (RECORD / "report.md").read_text(encoding="utf-8") == text(record)
    assert all(len(row) == len(COLUMNS) for task in record["tasks"].values() for row in rows(points_of(task)))
    drawn = picture(record)
    assert PICTURE.read_text(encoding="utf-8") == drawn
    told = " ".join(ElementTree.fromstring(drawn).itertext())
    assert all(word in told for word in (*SETTINGS, "first weights", "last weights", "α"))
