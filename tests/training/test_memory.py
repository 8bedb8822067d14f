"""What is said of memory before training starts, against the bytes of the tensors that training then has."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from structpred.cli.comparing import memory_line
from structpred.display import details
from structpred.experiment import Experiment
from structpred.forecast import Cost
from structpred.models import Transformer
from structpred.objectives import MaximumLikelihood
from structpred.training import Adam, Part, Trainer
from structpred.training.data import EncodedData
from structpred.training.memory import Memory, in_units, of_parameters, saved_bytes, state_bytes
from structpred.training.monitoring import Progress
from structpred.training.trainer import Training
from tests.support.tiny import Copying

TINY = Experiment(
    task=Copying(train=12),
    model=Transformer(hidden=4, heads=2, feedforward=6, encoder_layers=2, decoder_layers=1, dropout=0.0),
    objective=MaximumLikelihood(),
    trainer=Trainer(epochs=1, batch_tokens=1000, average=0.9),
)
PREPARED = EncodedData.of(TINY.task.load(), TINY.model)


def size(tensors: Any) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_said_before_the_first_step_is_what_is_there_after_it(frozen: bool) -> None:
    parts = (Part(name="encoder", frozen=1.0),) if frozen else ()
    training = Training(replace(TINY, optimiser=Adam(parts=parts)), PREPARED, device="cpu")
    said = training.memory()
    pace = training.rehearse(1, measuring=True)
    stepper = training.stepper
    assert stepper.average is not None
    state = [each for by_name in stepper.optimizer.state.values() for each in by_name.values()]
    assert said.weights == size(training.model.state_dict().values())
    assert said.gradients == size(each.grad for each in training.model.parameters() if each.grad is not None)
    assert said.optimiser == size(state)
    assert said.kept == size(stepper.weights().values()) + size(stepper.average.model.state_dict().values())
    assert pace.memory is not None
    assert pace.memory == replace(said, activations=pace.memory.activations)
    assert (pace.memory.activations or 0) > 0
    everything = sum(each.numel() for each in training.model.parameters())
    trained = sum(each.numel() for each in stepper.parameters)
    by_number = of_parameters(everything, trained, average=True)
    steps = 4 * len(stepper.parameters)  # Adam counts the steps of each parameter
    assert by_number.optimiser is not None
    assert replace(by_number, optimiser=by_number.optimiser + steps) == said


def test_activations_are_what_the_gradient_keeps_each_storage_once() -> None:
    layer, inputs = nn.Linear(8, 16), torch.randn(5, 8)

    def forward() -> torch.Tensor:
        hidden = functional.relu(layer(inputs))
        return (hidden.T * hidden.T).sum()

    kept, _ = saved_bytes(forward, apart_from=layer.parameters())
    assert kept == 4 * (5 * 8 + 5 * 16)  # the input; what relu returns, which the product keeps as well, transposed


def test_recomputing_keeps_less() -> None:
    kept = []
    for recompute in (False, True):
        experiment = replace(TINY, trainer=replace(TINY.trainer, recompute=recompute))
        memory = Training(experiment, PREPARED, device="cpu").rehearse(0, measuring=True).memory
        assert memory is not None
        assert memory.activations is not None
        kept.append(memory.activations)
    assert 0 < kept[1] < 0.8 * kept[0]


def test_it_is_shown_before_training_and_by_a_dry_run() -> None:
    small, large = of_parameters(1000), replace(of_parameters(10_000_000), activations=5_000_000)
    assert memory_line({"a": Cost(1.0)}) == ""
    assert memory_line({"a": Cost(1.0, memory=small), "b": Cost(1.0, memory=large), "c": Cost(1.0)}) == (
        "A run of b needs most memory, up to 205.0 MB (weights 40.0 MB, gradients 40.0 MB, optimiser 80.0 MB, kept "
        "weights 40.0 MB, activations 5.0 MB) besides Python, PyTorch and the data"
    )
    assert str(small).startswith("20 kB, without activations (")
    assert str(replace(small, optimiser=None)) == (
        "12 kB, without optimiser or activations (weights 4 kB, gradients 4 kB, kept weights 4 kB)"
    )
    shown = details(Progress("preparing", memory=small.total))
    assert shown == "preparing · weights, gradients and optimiser need 20 kB, without activations"


def test_the_table_of_the_documentation_follows_from_the_number_of_parameters() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+), ([\d.]+) M \|(.+)\|$", text, re.MULTILINE)
    assert len(rows) >= 5
    for name, millions, cells in rows:
        number = round(float(millions) * 1e6)
        tuned, averaged = of_parameters(number), of_parameters(number, average=True)
        half = of_parameters(number, number // 2, kept=number // 2)
        expected = [in_units(each.total) for each in (half, tuned, averaged)]
        assert [cell.strip() for cell in cells.split("|")] == expected, (name, expected)


class Picky(Adam):
    """Refuses parameters by what they are."""

    def build(self, parameters: Any) -> torch.optim.Optimizer:
        raise ValueError("expected two parameters")


def test_an_optimiser_that_takes_no_small_parameter_is_left_out() -> None:
    parameters = [nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(2, 2, 2))]
    assert state_bytes(Picky(), parameters) is None
    assert state_bytes(Adam(), parameters) == 2 * 4 * (6 + 1 + 8) + 3 * 4


def test_units() -> None:
    assert [in_units(each) for each in (0, 20, 1_234_000, 4_600_000_001)] == ["0 kB", "1 kB", "1.3 MB", "4.7 GB"]
    assert Memory(1, 2, 3, 4).total == 10
    assert Memory(1, 2, 3, 4, 5).total == 15
