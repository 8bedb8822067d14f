"""Recurrent encoders do what the fused calls do."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from structpred.models import encoder
from structpred.models.encoder import RecurrentEncoder, UniqueRows, stepped, unrolled
from structpred.models.inputs import VectorReader
from structpred.sequences import Sequences

RAGGED = [[1], [0, 0], [3, 3, 3], [7, 1, 4, 4, 0, 2], [1, 2, 3, 4, 5, 6, 7]]


def network(layers: int) -> nn.LSTM:
    torch.manual_seed(0)
    return nn.LSTM(3, 4, layers, batch_first=True, dtype=torch.float64)


def given(lstm: nn.LSTM, rows: int, steps: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    inputs = torch.randn(rows, steps, 3, dtype=torch.float64)
    hidden, cell = torch.randn(2, lstm.num_layers, rows, 4, dtype=torch.float64)
    return inputs, (hidden, cell)


@pytest.mark.parametrize("worth", [0, 4, 1000])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("lengths", RAGGED)
def test_outputs_and_gradients_are_those_of_one_call_over_all_steps(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], layers: int, worth: int
) -> None:
    monkeypatch.setattr(encoder, "WORTH", worth)
    lstm, steps = network(layers), max(lengths) + 1
    inputs, state = given(lstm, len(lengths), steps)
    inside = torch.arange(steps) < torch.tensor(lengths).unsqueeze(1)
    weights = torch.randn(len(lengths), steps, 4, dtype=torch.float64) * inside.unsqueeze(-1)
    leaves = [inputs.requires_grad_(), *(part.requires_grad_() for part in state), *lstm.parameters()]
    ours, theirs = unrolled(lstm, inputs, state, torch.tensor(lengths)), lstm(inputs, state)[0]
    torch.testing.assert_close(ours[inside], theirs[inside], rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad((out * weights).sum(), leaves, allow_unused=True) for out in (ours, theirs)]
    for mine, its in zip(*gradients, strict=True):
        torch.testing.assert_close(torch.zeros_like(its) if mine is None else mine, its, rtol=0, atol=1e-12)


def test_most_of_the_padding_is_left_out_and_short_batches_take_one_call() -> None:
    lstm, cells = network(1), []
    lstm.register_forward_hook(lambda layer, given, result: cells.append(given[0].shape[0] * given[0].shape[1]))
    for lengths in ([10] * 49 + [90], [7, 8, 9, 9]):
        unrolled(lstm, *given(lstm, len(lengths), max(lengths)), torch.tensor(lengths))
    assert cells == [50 * 10, 80, 4 * 9]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_step_whose_rows_share_inputs_and_states_is_a_step_of_the_fused_call(layers: int) -> None:
    lstm = network(layers)
    symbols, parents = torch.tensor([2, 0, 2, 2, 1, 0]), torch.tensor([5, 5, 0, 3, 3, 3])
    inputs, (hidden, cells) = given(lstm, 6, 1)
    inputs, hidden, cells = inputs[symbols], hidden[:, parents], cells[:, parents]
    rows = (inputs.squeeze(1), hidden.transpose(0, 1), cells.transpose(0, 1))
    ours = stepped(lstm, *rows, UniqueRows.of(symbols), UniqueRows.of(parents))
    for part, whole in zip(ours, lstm(inputs, (hidden, cells))[1], strict=True):
        torch.testing.assert_close(part.transpose(0, 1), whole, rtol=0, atol=1e-12)


def test_rows_alike_are_computed_once() -> None:
    alike = UniqueRows.of(torch.tensor([4, 9, 4, 4, 2]))
    rows = torch.tensor([[1.0], [2.0], [1.0], [1.0], [3.0]], dtype=torch.float64)
    assert rows[alike.first].flatten().tolist() == [3.0, 1.0, 2.0], "one of each kind, by key"
    one = torch.ones(1, dtype=torch.float64)
    assert alike.linear(2 * rows, one.unsqueeze(0), one).flatten().tolist() == [3, 5, 3, 3, 7]


@pytest.mark.parametrize("layers", [1, 2])
def test_both_directions_are_those_of_a_packed_bidirectional_lstm(layers: int) -> None:
    ours = RecurrentEncoder(VectorReader(3), hidden=4, layers=layers, dropout=0.0).double()
    theirs = nn.LSTM(3, 4, layers, batch_first=True, bidirectional=True, dtype=torch.float64)
    for layer, pair in enumerate(zip(ours.forwards, ours.backwards, strict=True)):
        for lstm, mark in zip(pair, ("", "_reverse"), strict=True):
            for name, parameter in lstm.named_parameters():
                getattr(theirs, name.replace("l0", f"l{layer}{mark}")).data.copy_(parameter)
    lengths, leaf = torch.tensor([4, 1, 0, 7]), torch.randn(4, 7, 3, dtype=torch.float64, requires_grad=True)
    inputs = Sequences(torch.zeros(4, 7, dtype=torch.long), lengths, vectors=leaf)
    memory = ours(inputs).memory
    kept = lengths.nonzero().squeeze(1)
    packed = pack_padded_sequence(leaf[kept], lengths[kept], batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(theirs(packed)[0], batch_first=True)[0]
    inside = torch.arange(7) < lengths[kept].unsqueeze(1)
    torch.testing.assert_close(memory[kept][inside], expected[inside], rtol=0, atol=1e-12)
    weights = torch.randn_like(expected) * inside.unsqueeze(-1)
    mine, its = (torch.autograd.grad((out * weights).sum(), leaf)[0] for out in (memory[kept], expected))
    torch.testing.assert_close(mine, its, rtol=0, atol=1e-12)
