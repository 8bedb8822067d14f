import random
from typing import Any

import numpy as np
import pytest
import sacrebleu
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from structpred.metrics import Bleu, Chrf, Metric, counts, score
from structpred.metrics.translation import Tokens
from structpred.vocabulary import Symbols

WORDS = ["the", "The", "cat", "sat", "on", "it's", "mat.", "a-b", "ß", "№", "3,5", '"', ".", "(x)"]


def sentence(generator: random.Random, *, least: int = 0) -> Symbols:
    return tuple(generator.choices(WORDS, k=generator.randint(least, 9)))


def corpus(generator: random.Random, references: int) -> tuple[list[Symbols], list[tuple[Symbols, ...]]]:
    """A few predictions, many of them close to a reference, and their references."""
    right = [tuple(sentence(generator) for _ in range(references)) for _ in range(generator.randint(1, 5))]
    guesses = [
        each[0][: generator.randint(0, 9)] if generator.random() < 0.6 else sentence(generator) for each in right
    ]
    return guesses, right


def streams(references: list[tuple[Symbols, ...]]) -> list[list[str]]:
    return [[" ".join(each) for each in stream] for stream in zip(*references, strict=True)]


BLEUS: list[tuple[Tokens, bool]] = [("13a", False), ("none", False), ("13a", True), ("intl", False), ("char", True)]


@pytest.mark.parametrize(("tokenize", "lowercase"), BLEUS)
def test_bleu_is_that_of_sacrebleu(tokenize: Tokens, lowercase: bool) -> None:
    generator, metric = random.Random(1), Bleu(tokenize=tokenize, lowercase=lowercase)
    for case in range(300):
        predictions, references = corpus(generator, generator.randint(1, 3))
        theirs = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
        expected = theirs.corpus_score([" ".join(each) for each in predictions], streams(references)).score
        assert score(metric, counts(metric, predictions, references)) == pytest.approx(expected, abs=1e-12), case
        signature = str(theirs.get_signature()).replace(f"nrefs:{len(references[0])}", "nrefs:var")
        assert metric.signature == f"BLEU|{signature}"


def test_chrf_is_that_of_sacrebleu() -> None:
    generator, metric = random.Random(2), Chrf()
    for case in range(1000):
        predictions, references = corpus(generator, generator.randint(1, 3))
        theirs = CHRF()
        expected = theirs.corpus_score([" ".join(each) for each in predictions], streams(references)).score
        assert score(metric, counts(metric, predictions, references)) == pytest.approx(expected, abs=1e-12), case
        signature = str(theirs.get_signature()).replace(f"nrefs:{len(references[0])}", "nrefs:var")
        assert metric.signature == f"chrF2|{signature}"


def test_examples_may_have_different_numbers_of_references() -> None:
    predictions = [("a", "cat"), ("the", "mat")]
    references = [(("a", "cat"), ("the", "cat")), (("a", "mat"),)]
    theirs: Any = [["a cat", "a mat"], ["the cat", None]]  # they take None for no reference, and do not say so
    expected = BLEU(tokenize="13a").corpus_score(["a cat", "the mat"], theirs).score
    assert score(Bleu(), counts(Bleu(), predictions, references)) == pytest.approx(expected, abs=1e-12)


METRICS: list[Metric] = [Bleu(), Chrf()]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_degenerate_corpora(metric: Metric) -> None:
    perfect = [("a", "whole", "long", "sentence")]
    assert score(metric, counts(metric, perfect, [(each,) for each in perfect])) == pytest.approx(100.0)
    assert score(metric, counts(metric, [()], [(("a",),)])) == 0.0
    assert score(metric, counts(metric, [("a",)], [((),)])) == 0.0
    assert score(metric, counts(metric, [], [])) == 0.0
    assert metric.higher_is_better


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_statistics_of_chosen_examples_are_those_of_a_smaller_corpus(metric: Metric) -> None:
    generator = random.Random(3)
    predictions, references = [], []
    for _ in range(20):
        some, right = corpus(generator, 2)
        predictions += some
        references += right
    rows = np.random.default_rng(0).integers(len(predictions), size=len(predictions))
    resampled = score(metric, counts(metric, predictions, references)[rows])
    assert resampled == score(metric, counts(metric, [predictions[i] for i in rows], [references[i] for i in rows]))


def test_sacrebleu_is_named_with_its_version() -> None:
    assert Bleu(tokenize="none").signature.endswith(f"|tok:none|smooth:exp|version:{sacrebleu.__version__}")
