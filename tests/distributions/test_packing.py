import torch

from structpred.distributions.layout import Packing

PACKING = Packing.of(torch.tensor([1, 0, 3, 2]), time=4)


def test_rows_go_step_by_step_and_the_longest_example_first() -> None:
    assert PACKING.counts == [3, 2, 1]
    assert PACKING.examples.tolist() == [2, 3, 0, 2, 3, 2]
    assert PACKING.positions.tolist() == [8, 12, 0, 9, 13, 10]
    assert PACKING.previous.tolist() == [0, 1, 3]
    assert PACKING.firsts == 3


def test_unpacking_undoes_packing() -> None:
    padded = torch.arange(32.0).view(4, 4, 2)
    rows = PACKING.pack(padded)
    assert [len(step) for step in PACKING.steps(rows)] == PACKING.counts
    inside = torch.arange(4) < torch.tensor([1, 0, 3, 2]).unsqueeze(1)
    assert torch.equal(PACKING.unpack(rows), padded * inside.unsqueeze(-1))


def test_totals() -> None:
    assert PACKING.total(torch.ones(6)).tolist() == [1, 0, 3, 2]
    assert PACKING.total_later(torch.ones(3)).tolist() == PACKING.pairs.tolist() == [0, 0, 2, 1]
