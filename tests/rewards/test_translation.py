"""Sentence BLEU, chrF and TER on text: sacrebleu's own numbers for the text that the task renders."""

import random

import pytest
import sacrebleu
import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from structpred.errors import CodeError, ConfigError
from structpred.rewards import Context, Reward, SentenceChrf, SentenceTer, TextBleu, TextReward, bind
from structpred.sequences import Sequences
from structpred.task import Example
from structpred.vocabulary import Symbols, Vocabulary
from tests.support.reading import Words

SENTENCES = (
    "A man in an orange hat , staring at something .",
    "a man in an orange hat is staring at Something .",
    "Ein Mann mit einem orangefarbenen Hut , der etwas anstarrt .",
    "Ein Mann starrt etwas an , mit einem orangefarbenen Hut .",
    "Two young , White males are outside near many bushes .",
    "near many bushes two young White males are outside",
    "&quot;Élan&quot; (naïve) costs $ 3.50 — 20 % off!",
    "彼 は 大きな 犬 を 見た 。",
    "犬 を 彼 は 見た 。",
    "!",
    "",
)


def shuffled(source: random.Random, sentence: str) -> str:
    """Words of a sentence with some left out, repeated, moved and written otherwise."""
    words = [word for word in sentence.split() for _ in range(source.choice((0, 1, 1, 1, 2)))]
    if source.random() < 0.5:
        cut = source.randint(0, len(words))
        words = words[cut:] + words[:cut]
    return " ".join(word.swapcase() if source.random() < 0.1 else word for word in words)


def noise(source: random.Random) -> str:
    return " ".join(
        "".join(source.choice("abAB.") for _ in range(source.randint(1, 4))) for _ in range(source.randint(0, 9))
    )


def material(references: int) -> list[tuple[list[str], list[str]]]:
    """Candidates and references of 90 examples: sentences, variants of them, and noise."""
    source = random.Random(references)
    found = []
    for i in range(90):
        about = SENTENCES[i % len(SENTENCES)]
        right = [about, *(shuffled(source, about) for _ in range(references - 1))]
        outputs = [about, shuffled(source, about), source.choice(SENTENCES), noise(source)]
        found.append(
            (outputs, list(dict.fromkeys(right)) if i % 3 else [noise(source) + str(n) for n in range(len(right))])
        )
    return [(outputs, right) for outputs, right in found if len(right) == references]


def encoded(texts: list[list[str]], vocabulary: Vocabulary) -> Sequences:
    flat = Sequences.of([vocabulary.encode(tuple(text.split())) for row in texts for text in row])
    shape = len(texts), len(texts[0])
    labels = torch.where(flat.mask(), flat.labels, 1)  # with garbage where nothing stands
    return Sequences(labels.reshape(*shape, -1), flat.lengths.reshape(shape))


def vocabulary_of(*groups: list[list[str]]) -> Vocabulary:
    return Vocabulary.of(tuple(text.split()) for group in groups for row in group for text in row)


CASES: list[tuple[TextReward, BLEU | CHRF | TER, int]] = [
    (TextBleu(), BLEU(effective_order=True), 1),
    (
        TextBleu(tokenize="none", lowercase=True),
        BLEU(tokenize="none", lowercase=True, force=True, effective_order=True),
        1,
    ),
    (SentenceChrf(), CHRF(), 1),
    (SentenceChrf(word_order=2), CHRF(word_order=2), 1),
    (
        SentenceChrf(character_order=3, beta=1, lowercase=True, whitespace=True),
        CHRF(char_order=3, beta=1, lowercase=True, whitespace=True),
        1,
    ),
    (SentenceTer(), TER(), -1),
    (
        SentenceTer(normalized=True, punctuation=False, asian_support=True, case_sensitive=True),
        TER(normalized=True, no_punct=True, asian_support=True, case_sensitive=True),
        -1,
    ),
]


@pytest.mark.parametrize(("reward", "theirs", "sign"), CASES)
@pytest.mark.parametrize("references", [1, 3])
def test_the_same_as_sacrebleu(reward: TextReward, theirs: BLEU | CHRF | TER, sign: int, references: int) -> None:
    pairs = material(references)
    outputs, right = [each for each, _ in pairs], [each for _, each in pairs]
    assert len(pairs) > 40
    labels = vocabulary_of(outputs, right)
    bound = bind(reward, Context(Words(), labels, ()))
    given = encoded(right, labels)
    targets = given if references > 1 else Sequences(given.labels[:, 0], given.lengths[:, 0])
    expected = [[sign * theirs.sentence_score(text, refs).score / 100 for text in texts] for texts, refs in pairs]
    for _ in range(2):  # the second time from memory
        found = bound.score(encoded(outputs, labels), targets)
        assert torch.equal(found, torch.tensor(expected, dtype=torch.float64))


def test_the_defaults_are_those_of_sacrebleu() -> None:
    output, right = "the cat sat on the mat", ["on the mat the Cat sat", "a cat sat there"]
    assert TextBleu().value(output, tuple(right)) == sacrebleu.sentence_bleu(output, right).score / 100
    assert SentenceChrf().value(output, tuple(right)) == sacrebleu.sentence_chrf(output, right).score / 100
    assert SentenceTer().value(output, tuple(right)) == -sacrebleu.sentence_ter(output, right).score / 100


@pytest.mark.parametrize("right", [["a b c", "a", "a b c"], ["a", "a", "a b c"], ["a b c", "a"], ["a", "a"]])
def test_a_reference_that_is_given_twice_counts_twice(right: list[str]) -> None:
    """TER divides by the mean length of the references, so that it matters."""
    labels = Vocabulary(("a", "b", "c"))
    reward = bind(SentenceTer(), Context(Words(), labels, ()))
    found = reward.score(encoded([["a b"]], labels), encoded([right], labels)).item()
    assert found == -sacrebleu.sentence_ter("a b", right).score / 100


def test_ter_of_one_reference_is_best_at_the_reference_itself() -> None:
    labels = vocabulary_of([list(SENTENCES)])
    reward = bind(SentenceTer(), Context(Words(), labels, ()))
    right = encoded([[text] for text in SENTENCES], labels)
    found = reward.score(encoded([list(SENTENCES)] * len(SENTENCES), labels), right)
    assert found.diagonal().tolist() == [0.0] * len(SENTENCES)
    assert (found <= 0).all()


@pytest.mark.parametrize("reward", [SentenceChrf(), SentenceTer()])
def test_a_reward_that_is_not_bound_says_what_is_missing(reward: Reward) -> None:
    name = type(reward).__name__
    with pytest.raises(ConfigError, match=rf"^{name} reads what label ids stand for, but nothing says which data"):
        reward.score(Sequences.of([[1]]).candidates(), Sequences.of([[1]]))


class Numbers(Words):
    def render(self, output: Symbols) -> str:
        return len(output)  # type: ignore[return-value]  # what is refused


class Failing(Words):
    def render(self, output: Symbols) -> str:
        return str(1 // len(output))


def test_labels_of_other_data_and_a_task_that_renders_no_text_are_refused() -> None:
    labels = Vocabulary(("a", "b"))
    ids = Sequences.of([[2]])
    with pytest.raises(ConfigError, match="bound to data with the labels 0 to 1, but is asked about the label 2"):
        bind(SentenceChrf(), Context(Words(), labels, ())).score(ids.candidates(), ids)
    one = Sequences.of([[1]])
    with pytest.raises(ConfigError, match=r"^Numbers\.render must return text, but returned an int: 1; join"):
        bind(SentenceChrf(), Context(Numbers(), labels, ())).score(one.candidates(), one)
    with pytest.raises(CodeError, match=r"Failing\.render, line \d+ of .*test_translation\.py, failed with ZeroDiv"):
        bind(SentenceChrf(), Context(Failing(), labels, ())).score(Sequences.of([[]]).candidates(), one)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"SentenceChrf\.word_order"):
        SentenceChrf(word_order=-1)
    with pytest.raises(ConfigError, match=r"SentenceTer\.punctuation"):
        SentenceTer(punctuation="no")  # type: ignore[arg-type]  # what is refused


def test_the_context_of_a_task_is_that_of_its_training_examples() -> None:
    context = Context.of(Words(sentences=("b a", "c a")))
    assert context.labels.symbols == ("a", "b", "c")
    assert context.text([1, 0]) == "b a"
    assert context.examples[1] == Example(("2",), (("c", "a"),), "sentence 2", metadata={"weight": 2})
