"""Noise in histories and inputs: what it is drawn from, what it costs, and that none of it is maximum likelihood."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from structpred.distributions import Autoregressive
from structpred.errors import ConfigError
from structpred.models import CRF, LSTMTagger, Seq2Seq, WordEmbedding
from structpred.models.seq2seq import Seq2SeqModule
from structpred.objective import Objective
from structpred.objectives import DataNoising, Decay, MaximumLikelihood, Sampled, ScheduledSampling, SwitchOut
from structpred.objectives.data_noising import noised
from structpred.objectives.switch_out import switched
from structpred.payoffs import EditDistancePayoff, HammingPayoff, Temperature
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.training.step import TrainingStep
from tests.support.tiny import as_candidates, tiny_seq2seq

V = 3
FALSE_ALARM = 1e-4
"""Of each χ² test; the seeds are fixed, so none of them goes off."""

TARGET = [0, 2, 1]
INPUTS = [[0, 1, 2], [2]]
TARGETS = [TARGET, []]
ALL_NOISE = Decay(first=0.0, last=0.0)
VANISHING = Temperature(literal=1e-3)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def close(one: object, other: object) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def p_value(observed: Sequence[float], expected: Sequence[float]) -> float:
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    return float(chi2.sf(statistic, len(expected) - 1))


def histories(length: int = len(TARGET)) -> list[list[int]]:
    return [list(each) for each in itertools.product(range(V), repeat=length)]


def one_p(module: Seq2SeqModule, copies: int = 1) -> Autoregressive:
    p: Autoregressive = module(Sequences.of([INPUTS[0]] * copies))
    return p


def law_of_histories(p: Autoregressive, own: Sequence[bool]) -> Tensor:
    """The probability of each history: p's next label where it is p's own, the reference's elsewhere."""
    every = as_candidates(histories())
    labels = p.steps(every).log_probs[0, :, :, :V].log_softmax(-1).exp()  # the output goes on
    law = []
    for number, history in enumerate(histories()):
        factors = [
            labels[number, t, label] if own[t] else torch.tensor(float(label == TARGET[t]))
            for t, label in enumerate(history)
        ]
        law.append(torch.stack(factors).prod())
    return torch.stack(law).detach()


def loss_of_histories(p: Autoregressive) -> Tensor:
    """−log p(y* | h) of each history, symbol by symbol and with the end, from p's own steps."""
    log_probs = p.steps(as_candidates(histories())).log_probs[0]
    wanted = [*TARGET, V]
    return -torch.stack([log_probs[:, t, symbol] for t, symbol in enumerate(wanted)]).sum(0).detach()


# -------------------------------------------------------------------------------------------------------- the verbs


def test_a_history_of_its_own_is_what_an_output_usually_has() -> None:
    p = tiny_seq2seq(V).eval()(Sequences.of(INPUTS))
    outputs = Sequences.of(TARGETS).candidates()
    close(p.token_log_probs_given(outputs, outputs), p.token_log_probs(outputs))


def test_log_probabilities_given_any_history_are_those_of_stepping_through_it() -> None:
    p = one_p(tiny_seq2seq(V).eval())
    every = as_candidates(histories())
    outputs = Sequences.of([TARGET] * len(histories()))
    given = p.token_log_probs_given(Sequences(outputs.labels[None], outputs.lengths[None]), every)
    for number, history in enumerate(histories()):
        state, previous = p.decoder.start(1), torch.tensor([[V]])
        for t, wanted in enumerate([*TARGET, V]):
            logits, state = p.decoder.step(previous, state)
            close(given[0, number, t], logits.log_softmax(-1)[0, 0, wanted])
            previous = torch.tensor([[history[t]]]) if t < len(history) else previous


def test_a_history_of_another_shape_is_refused() -> None:
    p = one_p(tiny_seq2seq(V).eval())
    with pytest.raises(
        ConfigError, match=r"a history must have the shape of its outputs, \(1, 1, 3\), but got \(1, 1, 2\)"
    ):
        p.token_log_probs_given(Sequences.of([TARGET]).candidates(), Sequences.of([[0, 1]]).candidates())


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("own", [(True, True, True), (True, False, True), (False, True, False)], ids=str)
def test_mixed_histories_follow_their_law(own: tuple[bool, ...], dropout: float) -> None:
    """With dropout on as well: histories are drawn under the masks they are scored under."""
    draws = 20_000
    torch.manual_seed(5)
    p = one_p(tiny_seq2seq(V, sharpness=1.5, dropout=dropout).train())
    labels = torch.tensor(TARGET).expand(1, draws, -1)
    places = torch.tensor(own).expand(1, draws, -1)
    drawn = p.mixed_history(Sequences(labels, torch.full((1, draws), 3)), places, source(1))
    counts = Counter(map(tuple, drawn.flatten().tolist()))
    law = law_of_histories(p, own).tolist()
    possible = [(counts[tuple(each)], draws * q) for each, q in zip(histories(), law, strict=True) if q > 0]
    assert sum(count for count, _ in possible) == draws, "nothing else is drawn"
    assert p_value(*zip(*possible, strict=True)) > FALSE_ALARM


def test_nothing_is_drawn_that_is_no_label_or_lies_beyond_the_target() -> None:
    module = tiny_seq2seq(V).eval()
    with torch.no_grad():
        module.output.bias[V] = 50.0  # the model would end at once
    targets = Sequences(torch.tensor([[[0, 2, 1]], [[1, 9, 9]]]), torch.tensor([[3], [1]]))
    history = module(Sequences.of(INPUTS)).mixed_history(targets, torch.ones(2, 1, 3, dtype=torch.bool), source())
    assert history.labels.max() < V
    assert history.labels[1, 0, 1:].tolist() == [0, 0]
    assert history.lengths.tolist() == [[3], [1]]


def test_histories_carry_no_gradient() -> None:
    module, targets, generator = tiny_seq2seq(V), Sequences.of([TARGET]), source(3)
    values = ScheduledSampling(reference=ALL_NOISE)(one_p(module), targets, generator=source(3)).values
    torch.rand(1, 1, 3, generator=generator)  # the coins
    p, outputs = one_p(module), targets.candidates()
    history = p.mixed_history(outputs, torch.ones(1, 1, 3, dtype=torch.bool), generator)
    parameters = list(module.parameters())
    expected = -p.token_log_probs_given(outputs, history).sum()
    close(torch.autograd.grad(values.sum(), parameters), torch.autograd.grad(expected, parameters))


# ---------------------------------------------------------------------------------------------- scheduled sampling


def gradients(objective: Objective, **given: object) -> tuple[Tensor, tuple[Tensor, ...]]:
    module = tiny_seq2seq(V)
    state = objective.state(Sizes(num_inputs=3, num_labels=V, label_counts=(3, 2, 1), references=2))
    p, targets = module(Sequences.of(INPUTS)), Sequences.of(TARGETS)
    values = objective(p, targets, state=state, generator=source(), **given).values  # type: ignore[arg-type]
    return values, torch.autograd.grad(values.sum(), list(module.parameters()))


@pytest.mark.parametrize(
    "objective",
    [
        ScheduledSampling(reference=Decay(first=1.0, last=1.0)),
        ScheduledSampling(),  # at the start of training
        DataNoising(rate=0.0),
        DataNoising(rate=0.0, noise="uniform"),
        SwitchOut(source=VANISHING, target=HammingPayoff(temperature=VANISHING)),
        SwitchOut(source=VANISHING, target=EditDistancePayoff(temperature=VANISHING)),
    ],
    ids=["only the reference", "at the start", "unigram", "uniform", "Hamming", "edit distance"],
)
def test_without_noise_it_is_maximum_likelihood(objective: Objective) -> None:
    close(gradients(objective), gradients(MaximumLikelihood()))


@pytest.mark.parametrize("objective", [ScheduledSampling(), DataNoising(rate=0.0)])
def test_without_noise_losses_follow_the_order_of_the_batch_and_padding_changes_nothing(objective: Objective) -> None:
    """The published suite compares no losses where a step draws coins: a coin belongs to the batch."""
    module, targets, inputs = tiny_seq2seq(V), Sequences.of([*TARGETS, [1]]), Sequences.of([*INPUTS, [1, 0]])
    state = objective.state(Sizes(num_inputs=3, num_labels=V, label_counts=(3, 2, 1), references=3))
    expected = objective(module(inputs), targets, state=state, generator=source()).values
    order = torch.tensor([2, 0, 1])
    moved = objective(module(inputs.select(order)), targets.select(order), state=state, generator=source())
    close(moved.values, expected[order])
    garbage = Sequences(torch.nn.functional.pad(targets.labels, (0, 2), value=1), targets.lengths)
    close(objective(module(inputs), garbage, state=state, generator=source()).values, expected)


def test_with_histories_of_the_models_own_the_mean_loss_is_that_under_their_law() -> None:
    copies = 20_000
    module = tiny_seq2seq(V, sharpness=1.5).eval()
    with torch.no_grad():
        p, targets = one_p(module, copies), Sequences.of([TARGET] * copies)
        result = ScheduledSampling(reference=ALL_NOISE)(p, targets, generator=source(2))
        losses, law = loss_of_histories(one_p(module)), law_of_histories(one_p(module), (True,) * 3)
    expected = (law * losses).sum()
    error = (law * (losses - expected) ** 2).sum().sqrt() / math.sqrt(copies)
    assert abs(result.values.mean() - expected) < 5 * error  # a false alarm in 10^6
    changed = sum(q * sum(map(int.__ne__, h, TARGET)) / 3 for h, q in zip(histories(), law.tolist(), strict=True))
    assert abs(result.diagnostics["changed"].mean() - changed) < 5 / math.sqrt(copies)


def test_each_position_of_each_example_has_its_own_coin() -> None:
    copies, epsilon = 4000, 0.3
    module = tiny_seq2seq(V, sharpness=1.5).eval()
    p, targets = one_p(module, copies), Sequences.of([TARGET] * copies)
    with torch.no_grad():
        found = ScheduledSampling(reference=Decay(first=epsilon, last=epsilon))(p, targets, generator=source(4))
        law = torch.zeros(len(histories()))
        for own in itertools.product([False, True], repeat=3):
            weight = math.prod(1 - epsilon if each else epsilon for each in own)
            law = law + weight * law_of_histories(one_p(module), own)
        losses = loss_of_histories(one_p(module))
    values = {round(float(loss), 6): 0.0 for loss in losses}
    for loss, q in zip(losses.tolist(), law.tolist(), strict=True):
        values[round(loss, 6)] += q
    counts = Counter(round(value, 6) for value in found.values.tolist())
    common = [value for value, q in values.items() if copies * q >= 5]
    rest = copies - sum(counts[value] for value in common)
    observed = [*(counts[value] for value in common), rest]
    expected = [copies * values[value] for value in common]
    assert p_value(observed, [*expected, copies - sum(expected)]) > FALSE_ALARM


@pytest.mark.parametrize(
    ("kind", "published"),
    [
        ("linear", lambda i, ends: ends[0] - (ends[0] - ends[1]) / 100 * i),
        ("exponential", lambda i, ends: ends[0] * (ends[1] / ends[0]) ** (i / 100)),
    ],
)
def test_decays_are_the_published_schedules_over_shares(kind: str, published: object) -> None:
    decay = Decay(kind=kind, first=0.9, last=0.2)  # type: ignore[arg-type]
    for step in (0, 30, 100):
        assert abs(decay.at(step / 100) - published(step, (0.9, 0.2))) < 1e-12  # type: ignore[operator]


def test_the_inverse_sigmoid_is_the_published_one() -> None:
    k, steps = 20.0, 200
    published = [k / (k + math.exp(step / k)) for step in range(steps + 1)]
    decay = Decay(kind="inverse-sigmoid", first=published[0], last=published[-1])
    for step in range(steps + 1):
        assert abs(decay.at(step / steps) - published[step]) < 1e-12


def test_the_share_of_training_decides() -> None:
    objective = ScheduledSampling(reference=Decay(first=1.0, last=0.0))
    early, late = (gradients(objective, share=share)[0] for share in (0.0, 1.0))
    close(early, gradients(MaximumLikelihood())[0])
    assert abs(early[0] - late[0]) > 1e-6


@pytest.mark.parametrize(("kind", "last"), [("exponential", 0.0), ("inverse-sigmoid", 0.0), ("inverse-sigmoid", 1.0)])
def test_ends_that_a_decay_never_reaches_are_refused(kind: str, last: float) -> None:
    with pytest.raises(ConfigError, match=rf"{kind} decay never reaches.*last={last:g}; move them inwards"):
        Decay(kind=kind, first=0.5, last=last)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ data noising


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (6.0, 0.0, 3.0)], ids=["uniform", "unigram"])
def test_noisy_histories_follow_their_law(weights: tuple[float, ...]) -> None:
    draws, rate = 20_000, 0.3
    outputs = Sequences(torch.tensor(TARGET).expand(1, draws, -1), torch.full((1, draws), 3))
    drawn = noised(outputs, rate, torch.tensor(weights), source(6))
    counts = Counter(map(tuple, drawn.flatten().tolist()))
    law = noise_law(weights, rate)
    possible = [(counts[tuple(each)], draws * q) for each, q in zip(histories(), law, strict=True) if q > 0]
    assert sum(count for count, _ in possible) == draws
    assert p_value(*zip(*possible, strict=True)) > FALSE_ALARM


def noise_law(weights: Sequence[float], rate: float) -> list[float]:
    """Π_t of (1 − γ)[h_t = y*_t] + γ w(h_t)."""
    shares = [weight / sum(weights) for weight in weights]
    return [
        math.prod(
            (1 - rate) * (label == target) + rate * shares[label] for label, target in zip(h, TARGET, strict=True)
        )
        for h in histories()
    ]


def test_the_mean_loss_under_noise_is_that_under_its_law() -> None:
    copies, rate, counts = 20_000, 0.4, (5, 1, 2)
    module, objective = tiny_seq2seq(V, sharpness=1.5).eval(), DataNoising(rate=rate)
    state = objective.state(Sizes(num_inputs=3, num_labels=V, label_counts=counts, references=4))
    with torch.no_grad():
        p, targets = one_p(module, copies), Sequences.of([TARGET] * copies)
        values = objective(p, targets, state=state, generator=source(7)).values
        losses = loss_of_histories(one_p(module))
    law = torch.tensor(noise_law(counts, rate), dtype=torch.float64)
    expected = (law * losses).sum()
    error = (law * (losses - expected) ** 2).sum().sqrt() / math.sqrt(copies)
    assert abs(values.mean() - expected) < 5 * error  # a false alarm in 10^6


def test_noise_leaves_the_padding_alone() -> None:
    outputs = Sequences(torch.tensor([[[0, 9, 9]], [[9, 9, 9]]]), torch.tensor([[1], [0]]))
    drawn = noised(outputs, 1.0, torch.tensor([0.0, 0.0, 1.0]), source())
    assert drawn.labels.tolist() == [[[2, 0, 0]], [[0, 0, 0]]]


def test_unigram_noise_without_frequencies_says_what_to_pass() -> None:
    with pytest.raises(ConfigError, match=r"DataNoising.*state=objective\.state\(sizes\)"):
        DataNoising()(one_p(tiny_seq2seq(V)), Sequences.of([TARGET]))
    assert (
        DataNoising(noise="uniform").state(Sizes(num_inputs=3, num_labels=2, label_counts=(1, 1), references=1)) is None
    )


@pytest.mark.parametrize("objective", [ScheduledSampling(), DataNoising()])
@pytest.mark.parametrize("model", [LSTMTagger(), CRF()])
def test_a_model_that_reads_no_history_is_refused(objective: Objective, model: LSTMTagger | CRF) -> None:
    words = (
        rf"{type(objective).__name__} needs `.*of {type(model).__name__} does not offer; use MaximumLikelihood.*seq2seq"
    )
    with pytest.raises(ConfigError, match=words):
        objective.check_model(model)


# --------------------------------------------------------------------------------------------------------- SwitchOut

SYMBOLS = 3
UNKNOWN = SYMBOLS


def test_noise_on_the_input_follows_the_hamming_law_and_leaves_unknown_symbols_alone() -> None:
    draws, tau, given = 40_000, 0.7, [2, UNKNOWN, 0]
    drawn = switched(Sequences.of([given] * draws), Temperature(literal=tau), SYMBOLS, source(8))
    counts = Counter(map(tuple, drawn.tolist()))
    every = [(a, UNKNOWN, b) for a in range(SYMBOLS) for b in range(SYMBOLS)]
    weights = [math.exp(-sum(map(int.__ne__, each, given)) / tau) for each in every]
    assert sum(counts[each] for each in every) == draws, "neither the unknown symbol nor any other special is drawn"
    assert p_value([counts[each] for each in every], [draws * w / sum(weights) for w in weights]) > FALSE_ALARM


def test_noise_leaves_the_inputs_padding_and_empty_inputs_alone() -> None:
    inputs = Sequences(torch.tensor([[1, 0, 0], [0, 0, 0]]), torch.tensor([1, 0]))
    drawn = switched(inputs, Temperature(literal=1e6), SYMBOLS, source())
    assert drawn.labels[:, 1:].eq(0).all()
    assert drawn.labels[1, 0] == 0
    assert drawn.lengths is inputs.lengths


def test_a_higher_temperature_is_more_noise_on_both_sides() -> None:
    inputs = Sequences.of([[0, 1, 2, 0]] * 500)
    edits = []
    for tau in (0.2, 0.5, 2.0):
        objective = SwitchOut(
            source=Temperature(literal=tau), target=HammingPayoff(temperature=Temperature(literal=tau))
        )
        drawn = objective.draw(inputs, SYMBOLS, source(9))
        assert drawn is not None
        noisy = objective.corrupt(inputs, SYMBOLS, source(9)).tensors()[0]
        edits.append(((noisy != inputs.labels).sum(), (drawn.labels.squeeze(1) != inputs.labels).sum()))
    assert edits[0][0] < edits[1][0] < edits[2][0]
    assert edits[0][1] < edits[1][1] < edits[2][1]


def test_each_example_of_a_batch_has_a_number_of_edits_of_its_own() -> None:
    """A neighbour draws one distance for the whole batch, which would make these counts equal."""
    inputs = Sequences.of([[0, 1, 2, 0, 1, 2]] * 2000)
    edits = (switched(inputs, Temperature(edit_rate=0.5), SYMBOLS, source(10)).labels != inputs.labels).sum(1).double()
    first, second = edits[:1000], edits[1000:]
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1]
    assert abs(correlation) < 5 / math.sqrt(1000)  # a false alarm in 10^6
    assert set(edits.tolist()) == set(range(7))


def test_the_step_conditions_p_on_the_noisy_input() -> None:
    objective = SwitchOut(source=Temperature(literal=1e6), target=HammingPayoff(temperature=VANISHING))
    module, inputs, targets = tiny_seq2seq(V).eval(), Sequences.of([[0, 0, 0]]), Sequences.of([TARGET])
    step = TrainingStep(module, objective, None, source(11), symbols=SYMBOLS)
    values, diagnostics, _ = step(inputs.tensors(), targets.tensors(), ())
    noisy = switched(inputs, objective.source, SYMBOLS, source(11))
    assert noisy.labels.any()
    close(values, MaximumLikelihood()(module(noisy), targets).values)
    assert diagnostics["unchanged"].tolist() == [1.0]


def test_draws_made_ahead_are_those_made_in_the_step() -> None:
    objective, targets = SwitchOut(estimator=Sampled(k=2)), Sequences.of(TARGETS)
    p = tiny_seq2seq(V).eval()(Sequences.of(INPUTS))
    draws = objective.draw(targets, V, source(12))
    assert draws is not None
    assert draws.lengths.shape[1] == objective.drawn
    close(objective(p, targets, draws=draws).values, objective(p, targets, generator=source(12)).values)


def test_inputs_that_are_no_symbols_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"SwitchOut swaps input symbols.*WordEmbedding of Seq2Seq.*SymbolEmbedding\(\)"
    ):
        SwitchOut().check_model(Seq2Seq(inputs=WordEmbedding()))
    words = replace(Sequences.of([[0]]), spellings=Sequences.of([[0]]), rows=torch.tensor([[0]]))
    with pytest.raises(ConfigError, match="inputs must be symbols, but got words"):
        SwitchOut().corrupt(words, SYMBOLS, None)
    edits = SwitchOut(target=EditDistancePayoff(temperature=VANISHING))
    with pytest.raises(ConfigError, match="EditDistancePayoff draws outputs of any length, but with CRF"):
        edits.check_model(CRF())
    SwitchOut().check_model(CRF())


def test_what_is_drawn_is_not_called_exact() -> None:
    assert not any(each.exact for each in (ScheduledSampling(), DataNoising(), SwitchOut()))
