import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from structpred.errors import ConfigError, DataError
from structpred.metrics import counts, score
from structpred.sequences import spelt
from structpred.task import Task
from structpred.tasks import HiddenMarkov, SpellingVariants
from structpred.tasks.synthetic import Synthetic

TASKS: list[Synthetic] = [HiddenMarkov(), SpellingVariants()]
by_name = pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)


@by_name
def test_the_same_fields_draw_the_same_examples(task: Synthetic) -> None:
    splits = task.load()
    assert [len(splits.train), len(splits.dev), len(splits.test)] == [1000, 500, 500]
    assert splits.digest == task.load().digest
    assert splits.digest != replace(task, seed=1).load().digest
    larger = replace(task, size=1100).load()
    assert (larger.train[:1000], larger.test) == (splits.train, splits.test)
    assert {len(example.source) for example in splits.train} == set(range(4, 11))
    assert {symbol for example in splits.train for symbol in spelt(example.source)} == set("abcd")
    assert Task.from_json(task.to_json()) == task


@pytest.mark.slow(seconds=2)
@by_name
def test_the_best_outputs_score_what_is_promised(task: Synthetic) -> None:
    """Of 5,000 examples; a deviation of five standard errors comes by chance less than once in a million."""
    test = replace(task, held_out=5000).load().test
    sources = [spelt(example.source) for example in test]
    found = counts(task.metrics[0], [task.best(source) for source in sources], [each.references for each in test])
    ratios = found[:, 0] - score(task.metrics[0], found) / 100 * found[:, 1]
    error = 100 * ratios.std() * math.sqrt(len(test)) / found[:, 1].sum()
    assert score(task.metrics[0], found) == pytest.approx(task.optimum(sources), abs=5 * error)
    assert error < 1


def probability(task: HiddenMarkov, source: tuple[str, ...], states: tuple[str, ...]) -> float:
    """p(source, states), straight from the law."""
    others = task.alphabet - 1
    p = 1 / task.alphabet
    for before, after in itertools.pairwise(states):
        p *= task.stay if before == after else (1 - task.stay) / others
    for state, shown in zip(states, source, strict=True):
        p *= 1 - task.noise if state.lower() == shown else task.noise / others
    return p


def test_states_have_the_posterior_of_enumeration() -> None:
    task = HiddenMarkov(alphabet=3, stay=0.7, noise=0.4)
    for source in itertools.product("abc", repeat=4):
        joint = {states: probability(task, source, states) for states in itertools.product("ABC", repeat=4)}
        total = sum(joint.values())
        expected = [
            [sum(p for states, p in joint.items() if states[t] == label) / total for label in "ABC"] for t in range(4)
        ]
        np.testing.assert_allclose(task.posterior(source), expected, atol=1e-12)


def test_symbols_beyond_the_letters_are_pairs() -> None:
    task = HiddenMarkov(alphabet=60, size=20, held_out=20, shortest=40, longest=40)
    assert (task.letters[25:28], task.letters[-1], len(set(task.letters))) == (("z", "aa", "ab"), "bh", 60)
    for example in task.load().train:
        assert set(spelt(example.source)) <= set(task.letters)
        assert {label.lower() for label in example.references[0]} <= set(task.letters)
    assert task.parse(" ".join(task.letters)) == task.letters
    assert 70 < task.optimum([spelt(example.source) for example in task.load().test]) < 100


def test_a_long_source_loses_no_precision() -> None:
    posterior = HiddenMarkov().posterior(("a", "b") * 2000)
    np.testing.assert_allclose(posterior.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("noise", [0.2, 0.7])
def test_no_output_is_more_probable_than_the_best(noise: float) -> None:
    task, source = SpellingVariants(noise=noise, alphabet=2), ("a", "b", "b")
    law = {}
    for variants in itertools.product([1, 2], repeat=3):
        output = tuple(symbol for x, v in zip("ABB", variants, strict=True) for symbol in (x, "h")[:v])
        law[output] = math.prod(noise if v == 2 else 1 - noise for v in variants)
    assert len(law) == 8, "no two ways give one output"
    assert max(law, key=law.__getitem__) == task.best(source)
    assert task.optimum([source]) == pytest.approx(100 * (1 - max(law.values())))


@by_name
def test_inputs_are_letters_of_the_alphabet(task: Synthetic) -> None:
    assert task.parse("a d\tb\n") == ("a", "d", "b")
    assert task.render(("A", "B")) == "A B"
    with pytest.raises(DataError, match=r"^the input must be letters a to d, but one is 'e'$"):
        task.parse("a e")
    with pytest.raises(ConfigError, match=rf"^{type(task).__name__}\.shortest must be at most longest=10, but got 11$"):
        replace(task, shortest=11)
