"""A function of one's own on ids, symbols and text, with what it asks for and what it remembers."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from structpred.errors import CodeError, ConfigError
from structpred.registry import rewards
from structpred.rewards import Context, FunctionReward, Reward, bind
from structpred.sequences import Recording, Sequences
from structpred.task import Example
from structpred.vocabulary import Vocabulary
from tests.support.reading import Words

HERE = __name__
CONTEXT = Context(
    Words(),
    Vocabulary(("an", "ant", "bee")),
    (
        Example(("x", "y"), (("an", "ant"),), "first", metadata={"weight": 2.0}),
        Example(("z",), (("bee",),), "second", metadata={"weight": -1.0}),
    ),
)
OUTPUTS = Sequences(torch.tensor([[[0, 1], [2, 7]], [[2, 2], [7, 7]]]), torch.tensor([[2, 1], [2, 0]]))
"""an ant, bee; bee bee, nothing."""
TARGETS = replace(Sequences.of([[0, 1], [2]]), examples=torch.tensor([0, 1]))

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def watched(output: Any, reference: Any) -> float:
    SEEN.append((output, reference))
    return float(len(output) - len(reference))


def changes_what_it_gets(output: list[int], reference: list[int]) -> float:
    reference.append(output.pop() if output else 0)
    return float(len(reference))


def of_source(output: str, reference: str, *, source: list[str]) -> float:
    SEEN.append(source)
    return float(len(source))


def of_metadata(output: str, reference: str, scale: float = 10.0, *, metadata: Mapping[str, float]) -> float:
    return scale * metadata["weight"]


def of_both(output: str, reference: str, *, metadata: Mapping[str, float], source: list[str]) -> float:
    return metadata["weight"] * len(source) + len(output)


def not_asking(output: list[int], reference: list[int], source: object = None) -> float:
    """Its third parameter can be given by position, so that it is the function's own affair."""
    return 0.0 if source is None else 1.0


def writes_to_metadata(output: str, reference: str, *, metadata: dict[str, float]) -> float:
    metadata["weight"] = 0.0
    return 0.0


def one_by_one(output: list[int]) -> float:
    return 0.0


def three(output: list[int], reference: list[int], third: int) -> float:
    return 0.0


def keyword(output: list[int], reference: list[int], *, sources: list[str]) -> float:
    return 0.0


def a_list(output: list[int], reference: list[int]) -> list[float]:
    return [0.5, 0.25]


def an_array(output: list[int], reference: list[int]) -> np.ndarray:
    return np.zeros((2, 1))


def nothing(output: list[int], reference: list[int]) -> None:
    return None


def no_number(output: list[int], reference: list[int]) -> float:
    return float("nan")


def infinite(output: list[int], reference: list[int]) -> float:
    return float("-inf")


def too_large(output: list[int], reference: list[int]) -> int:
    return 10**400


def failing(output: list[int], reference: list[int]) -> float:
    return 1 / (len(output) * 0)


def at_odds(output: str, reference: str) -> float:
    """A common prefix, on whatever it sees."""
    return float(sum(one == other for one, other in zip(output, reference, strict=False)))


@rewards.register("test-one-of-ids")
@dataclass(frozen=True, kw_only=True)
class OneOfIds(Reward):
    def score(self, outputs: Sequences, references: Sequences) -> Tensor:
        return torch.ones(outputs.lengths.shape)


def reward(function: Callable[..., object], **fields: Any) -> FunctionReward:
    return FunctionReward(function=f"{HERE}:{function.__name__}", **fields)


# ------------------------------------------------------------------------------------------------------ what it sees


@pytest.mark.parametrize(
    ("on", "seen", "scores"),
    [
        (
            "ids",
            [([0, 1], [0, 1]), ([2], [0, 1]), ([2, 2], [2]), ([], [2])],
            [[0.0, -1.0], [1.0, -1.0]],
        ),
        (
            "symbols",
            [(["an", "ant"], ["an", "ant"]), (["bee"], ["an", "ant"]), (["bee", "bee"], ["bee"]), ([], ["bee"])],
            [[0.0, -1.0], [1.0, -1.0]],
        ),
        (
            "text",
            [("an ant", "an ant"), ("bee", "an ant"), ("bee bee", "bee"), ("", "bee")],
            [[0.0, -3.0], [4.0, -3.0]],
        ),
    ],
)
def test_it_sees_ids_symbols_or_text(on: Any, seen: list[Any], scores: list[list[float]]) -> None:
    found = bind(reward(watched, on=on), CONTEXT).score(OUTPUTS, TARGETS)
    assert (found.tolist(), found.dtype, seen) == (scores, torch.float64, SEEN)


def test_of_several_references_the_best_counts() -> None:
    several = Sequences(torch.tensor([[[0, 1], [2, 0]], [[2, 0], [0, 0]]]), torch.tensor([[2, 1], [1, 0]]))
    assert bind(reward(watched, on="text"), CONTEXT).score(OUTPUTS, several).tolist() == [[3, 0], [7, 0]]
    assert len(SEEN) == 8


def test_what_a_function_does_to_its_arguments_reaches_nothing_else() -> None:
    for on in ("ids", "symbols"):
        bound = bind(reward(changes_what_it_gets, on=on, cache=9), CONTEXT)
        assert bound.score(OUTPUTS, TARGETS).tolist() == [[3, 3], [2, 2]]
        assert bound.score(OUTPUTS, TARGETS).tolist() == [[3, 3], [2, 2]]
    bound = bind(reward(writes_to_metadata), CONTEXT)
    with pytest.raises(CodeError, match="does not support item assignment"):
        bound.score(OUTPUTS, TARGETS)


# ---------------------------------------------------------------------------------------------------- what it asks for


def test_it_is_given_what_it_asks_for() -> None:
    assert bind(reward(of_source, on="text"), CONTEXT).score(OUTPUTS, TARGETS).tolist() == [[2, 2], [1, 1]]
    assert SEEN == [["x", "y"], ["x", "y"], ["z"], ["z"]]
    assert bind(reward(of_metadata), CONTEXT).score(OUTPUTS, TARGETS).tolist() == [[20, 20], [-10, -10]]
    both = bind(reward(of_both, on="text"), CONTEXT)
    assert both.score(OUTPUTS, TARGETS).tolist() == [[4 + 6, 4 + 3], [-1 + 7, -1]]
    turned = Sequences(OUTPUTS.labels.flip(0), OUTPUTS.lengths.flip(0))
    assert both.score(turned, TARGETS.select(torch.tensor([1, 0]))).tolist() == [[-1 + 7, -1], [4 + 6, 4 + 3]]
    assert both.score(turned, TARGETS.candidates().select(torch.tensor([1, 0]))).tolist() == [[6, -1], [10, 7]]


def test_a_recording_is_given_as_it_is() -> None:
    recording = Recording("utterance", np.zeros((3, 2), np.float32))
    context = replace(CONTEXT, examples=(Example(recording, (("an",),), "here"),))
    one = replace(Sequences.of([[0]]), examples=torch.tensor([0]))
    assert bind(reward(of_source), context).score(one.candidates(), one).item() == 3
    assert [recording] == SEEN


def test_only_keyword_only_parameters_ask() -> None:
    with pytest.raises(ConfigError, match=r"has a parameter 'source' that would never be given; put a \* before it"):
        reward(not_asking).resolve()
    assert reward(of_metadata).asks_for_examples
    assert not FunctionReward(function="operator:eq").asks_for_examples


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (one_by_one, r"its parameters are \(output: list\[int\]\) -> float \(too many positional arguments\)"),
        (three, "missing a required argument: 'third'"),
        (keyword, r"missing a required (keyword-only )?argument: 'sources'"),
    ],
)
def test_other_parameters_are_refused_before_training(function: Callable[..., object], words: str) -> None:
    made = reward(function)
    expected = (
        rf"^the reward function '{HERE}:{function.__name__}' must take an output and a reference, and may ask for "
        rf"source and metadata by keyword-only parameters of these names, but .*{words}.*; correct them$"
    )
    for use in (made.resolve, made.fingerprint, lambda: made.asks_for_examples, lambda: made.score(OUTPUTS, TARGETS)):
        with pytest.raises(ConfigError, match=expected):
            use()


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        (None, r"nothing says which examples the references are of; give references with Sequences\.examples"),
        ([0, 2], r"of 2 references among 2, but Sequences\.examples names the example 2; give one index"),
        ([-1, 0], r"names the example -1"),
        ([0], r"names 1 examples for 2 rows"),
    ],
)
def test_references_of_examples_that_are_not_known_are_refused(examples: list[int] | None, words: str) -> None:
    given = replace(TARGETS, examples=None if examples is None else torch.tensor(examples))
    with pytest.raises(ConfigError, match=rf"^the reward function '{HERE}:of_source' asks for .*{words}"):
        bind(reward(of_source), CONTEXT).score(OUTPUTS, given)


@pytest.mark.parametrize("made", [reward(watched, on="text"), reward(watched, on="symbols"), reward(of_source)])
def test_without_data_it_says_what_is_missing(made: FunctionReward) -> None:
    with pytest.raises(ConfigError) as caught:
        made.score(OUTPUTS, TARGETS)
    assert str(caught.value) == (
        "FunctionReward reads what label ids stand for, but nothing says which data they come from; training and "
        "environments bind it to theirs; elsewhere, call structpred.rewards.bind(reward, Context.of(task))"
    )


def test_on_ids_it_needs_no_data() -> None:
    assert reward(watched).score(OUTPUTS, Sequences.of([[0, 1], [2]])).tolist() == [[0, -1], [1, -1]]


# ------------------------------------------------------------------------------------------------- what it must return


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (a_list, r"a number, but returned \[0\.5, 0\.25\]"),
        (an_array, r"a number, but returned array\("),
        (nothing, "a number, but returned None"),
        (no_number, "a number that is finite in single precision, but returned nan"),
        (infinite, "a number that is finite in single precision, but returned -inf"),
        (too_large, "a number that is finite in single precision, but returned"),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"on": "text"}, {"on": "symbols", "cache": 5}])
def test_what_is_no_finite_number_is_refused(
    function: Callable[..., object], words: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"^the reward function '{HERE}:{function.__name__}' must return {words}"):
        bind(reward(function, **fields), CONTEXT).score(OUTPUTS, TARGETS)


@pytest.mark.parametrize("fields", [{}, {"on": "text", "cache": 5}])
def test_an_exception_is_one_sentence(fields: dict[str, Any]) -> None:
    words = rf"^failing, line \d+ of .*{__file__.rpartition('/')[2]}, failed with ZeroDivisionError: division by zero$"
    with pytest.raises(CodeError, match=words):
        bind(reward(failing, **fields), CONTEXT).score(OUTPUTS, Sequences.of([[0], [0]]))


# --------------------------------------------------------------------------------------------------- what it remembers


@pytest.mark.parametrize(("cache", "calls"), [(0, 12), (1, 12), (4, 4), (1000, 4)])
@pytest.mark.parametrize("on", ["ids", "symbols", "text"])
def test_what_is_remembered_is_not_computed_again(cache: int, calls: int, on: Any) -> None:
    bound = bind(reward(watched, on=on, cache=cache), CONTEXT)
    plain = bind(reward(watched, on=on), CONTEXT).score(OUTPUTS, TARGETS)
    SEEN.clear()
    for _ in range(3):
        assert torch.equal(bound.score(OUTPUTS, TARGETS), plain)
    assert len(SEEN) == calls


def test_equal_outputs_of_other_examples_are_told_apart_where_examples_matter() -> None:
    twice = Sequences(torch.tensor([[[0], [0]], [[0], [0]]]), torch.ones(2, 2, dtype=torch.long))
    targets = replace(Sequences.of([[1], [1]]), examples=torch.tensor([0, 1]))
    assert bind(reward(of_source, cache=9), CONTEXT).score(twice, targets).tolist() == [[2, 2], [1, 1]]
    assert len(SEEN) == 2
    SEEN.clear()
    bind(reward(watched, cache=9), CONTEXT).score(twice, targets)
    assert len(SEEN) == 1


def test_every_run_begins_with_an_empty_memory() -> None:
    first = bind(reward(watched, cache=9), CONTEXT)
    first.score(OUTPUTS, TARGETS)
    for other in (bind(first, CONTEXT), pickle.loads(pickle.dumps(reward(watched, cache=9)))):
        SEEN.clear()
        other.score(OUTPUTS, TARGETS)
        assert len(SEEN) == 4
