"""Networks of transformers give the probabilities that transformers gives, in every verb; on random tiny ones."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from structpred.pretrained import PretrainedSeq2Seq
from structpred.pretrained.labels import Pieces
from structpred.pretrained.seq2seq import PretrainedModule
from structpred.sequences import FlatSequences, Sequences
from structpred.task import Sizes
from structpred.testing import check_model
from structpred.testing.spaces import every_output
from structpred.vocabulary import Symbols, Vocabularies, Vocabulary
from tests.support.networks import KINDS, PIECES, saved
from tests.support.tiny import as_candidates

SOURCES: tuple[Symbols, ...] = (("a", "##b", "c", "d"), ("d",), ("ab", "b"))
OUTPUTS = [[], [3], [0, 6, 2, 2], [5, 1, 4]]
FIRST, MARK, END = 5, 2, 3
"""The id of the first piece that is a label, of what begins texts, and of what ends them."""

Folders = Callable[..., str]
NONE = Vocabularies(Vocabulary(()), Vocabulary(()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The path of a folder with a network of some kind; each is made once."""

    @functools.cache
    def made(kind: str, **options: Any) -> str:
        return saved(kind, tmp_path_factory.mktemp(kind), **options)

    return made


def built(model: PretrainedSeq2Seq) -> PretrainedModule:
    labels = len(PIECES)
    return model.build(Sizes(num_inputs=0, num_labels=labels, label_counts=(1,) * labels, references=1)).double().eval()


def inputs_of(model: PretrainedSeq2Seq, sources: tuple[Symbols, ...] = SOURCES) -> Sequences:
    flat: FlatSequences = model.encoder().read(sources, NONE)
    return flat.gather(torch.arange(len(sources)))


def ids(symbols: Symbols) -> list[int]:
    return [FIRST + PIECES.index(symbol) for symbol in symbols]


def theirs(kind: str, network: Any, source: list[int], output: list[int]) -> Tensor:
    """Teacher forcing of one output after one source, in one call of transformers, normalised over labels and end."""
    if kind == "gpt2":
        given = [*source, *(FIRST + label for label in output)]
        logits = network(input_ids=torch.tensor([given])).logits[0, len(source) - 1 :]
    else:
        read = [MARK, *(FIRST + label for label in output)]
        logits = network(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([read])).logits[0]
    allowed = [*range(FIRST, FIRST + len(PIECES)), END]
    log_probs: Tensor = logits[:, allowed].log_softmax(-1)
    return log_probs.gather(1, torch.tensor([*output, len(PIECES)]).unsqueeze(1)).squeeze(1)


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_are_those_of_transformers(folder: Folders, kind: str) -> None:
    """Of ragged candidates of ragged inputs, each beside one output after one input without any padding."""
    model = PretrainedSeq2Seq(path_or_name=folder(kind))
    module = built(model)
    with torch.no_grad():
        found = module(inputs_of(model)).token_log_probs(as_candidates(OUTPUTS, batch=len(SOURCES)))
        for row, source in enumerate(SOURCES):
            for place, output in enumerate(OUTPUTS):
                expected = theirs(kind, module.network, [MARK, *ids(source), END], output)
                torch.testing.assert_close(found[row, place, : len(expected)], expected, rtol=0, atol=1e-9)
                assert not found[row, place, len(expected) :].any()


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"t5"}))
def test_the_conformance_kit_passes_with_symbols_of_the_task(folder: Folders, kind: str) -> None:
    """Probabilities of an enumerated space, batching, draws (false alarm 1e-6 for each input), and gradients."""
    options = {"gpt2": {"n_layer": 1}, "bert": {}}.get(kind, {"decoder_layers": 1})
    model = PretrainedSeq2Seq(path_or_name=folder(kind, **options), symbols="task", length_ratio=1e-9, length_extra=1)
    check_model(model, longest=1, draws=500)


def test_t5_is_a_distribution_too(folder: Folders) -> None:
    """Its normalisation is in single precision whatever the weights, too coarse for the kit's finite differences."""
    model = PretrainedSeq2Seq(path_or_name=folder("t5"), length_ratio=1e-9, length_extra=1)
    module = built(model)
    p, alone = module(inputs_of(model)), module(inputs_of(model, SOURCES[1:2]))
    every = every_output(alone, 0, longest=1)
    log_probs = alone.log_prob(every)[0]
    assert log_probs.detach().exp().sum() == pytest.approx(1, abs=1e-6)
    assert every.ended is not None
    rows = Sequences(every.labels.expand(3, -1, -1), every.lengths.expand(3, -1), every.ended.expand(3, -1))
    torch.testing.assert_close(p.log_prob(rows)[1], log_probs, rtol=0, atol=1e-6)
    drawn = alone.sample(2000, torch.Generator().manual_seed(0)).flatten().tolist()
    places = [every.flatten().tolist().index(row) for row in drawn]
    counts = torch.bincount(torch.tensor(places), minlength=len(log_probs)).double()
    expected = log_probs.detach().exp() * len(drawn)
    often = expected >= 5
    statistic = float(((counts - expected) ** 2 / expected)[often].sum())
    assert chi2.sf(statistic, int(often.sum()) - 1) > 1e-6, "the false alarm rate; the seed is fixed"
    weights = [each for each in module.parameters() if each.requires_grad]
    source = torch.Generator().manual_seed(1)
    towards = [torch.randn(each.shape, generator=source) for each in weights]
    gradients = torch.autograd.grad(log_probs[3], weights)
    slope = sum(float((one * other).sum()) for one, other in zip(gradients, towards, strict=True))
    moved = []
    for step in (1e-4, -2e-4):
        with torch.no_grad():
            for weight, direction in zip(weights, towards, strict=True):
                weight.add_(direction, alpha=step)
            moved.append(module(inputs_of(model, SOURCES[1:2])).log_prob(every)[0, 3])
    assert float(moved[0] - moved[1]) / 2e-4 == pytest.approx(slope, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_beam_is_that_of_generate(folder: Folders, kind: str) -> None:
    """Where both are defined alike.

    ``generate`` is told to normalise over what may be output and not to divide by length. It keeps an output that ends
    only if it is among the ``num_beams`` best candidates of its step, and ours keeps it in any case; it returns outputs
    cut at the limit, and ours never does. So its ended outputs are ours, as far as they are good enough.
    """
    model = PretrainedSeq2Seq(path_or_name=folder(kind), length_ratio=1e-9, length_extra=9)
    module = built(model)
    with torch.no_grad():  # or most outputs never end
        weight = module.network.get_output_embeddings().weight
        weight *= 0.5
        weight[END] = weight[FIRST:].sum(0) / 3
    sources = (*SOURCES, *(tuple(each) for each in ("ab", "db")))
    ranked = module(inputs_of(model, sources)).beam(4)
    alike, best, beams = 0, 0, ranked.outputs.flatten().tolist()
    for row, source in enumerate(sources):
        given = [MARK, *ids(source), END]
        found = generated(module.network, given)
        rows = [each[len(given) if kind == "gpt2" else 1 :] for each in found.sequences.tolist()]
        ours = [[label + FIRST for label in output] for output in beams[4 * row : 4 * row + 4]]
        scores = ranked.log_probs[row].tolist()
        for place, (output, score) in enumerate(zip(rows, found.sequences_scores.tolist(), strict=True)):
            if END not in output or score < scores[-1] - 1e-5:
                continue
            assert scores[ours.index(output[: output.index(END)])] == pytest.approx(score, abs=1e-5)
            alike += 1
            best += place == 0 and ours[0] == output[: output.index(END)]
    assert best >= 1, f"of five inputs, where {alike} outputs are alike"


def generated(network: Any, given: list[int]) -> Any:
    """What ``generate`` finds with four beams."""
    return network.generate(
        torch.tensor([given]),
        attention_mask=torch.ones(1, len(given), dtype=torch.long),
        num_beams=4,
        num_return_sequences=4,
        do_sample=False,
        max_new_tokens=10,
        length_penalty=0.0,
        early_stopping="never",
        suppress_tokens=[number for number in range(FIRST) if number != END],
        renormalize_logits=True,
        output_scores=True,
        return_dict_in_generate=True,
    )


def test_a_search_reads_the_input_once_and_each_step_once(folder: Folders) -> None:
    model = PretrainedSeq2Seq(path_or_name=folder("bart"), length_ratio=1e-9, length_extra=4)
    module = built(model)
    network, calls = module.network.model, {"encoder": 0, "keys of the input": 0}
    steps: list[int] = []
    network.encoder.register_forward_hook(lambda *_: calls.update({"encoder": calls["encoder"] + 1}))
    network.decoder.layers[1].encoder_attn.k_proj.register_forward_hook(
        lambda *_: calls.update({"keys of the input": calls["keys of the input"] + 1})
    )
    network.decoder.layers[1].fc1.register_forward_hook(lambda _, given, __: steps.append(given[0].shape[1]))
    p = module(inputs_of(model))
    ranked = p.beam(3)
    assert calls == {"encoder": 1, "keys of the input": 1}
    assert set(steps) == {1}
    assert len(steps) <= 5
    torch.testing.assert_close(p.log_prob(ranked.outputs), ranked.log_probs, rtol=0, atol=1e-9)
    assert calls["encoder"] == 1


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_other_verbs_agree(folder: Folders, kind: str) -> None:
    model = PretrainedSeq2Seq(path_or_name=folder(kind), length_ratio=1e-9, length_extra=3)
    p = built(model)(inputs_of(model))
    targets = as_candidates([[3, 1, 2], [4, 0, 0]], batch=len(SOURCES))
    mixed = p.mixed_history(
        targets, torch.ones_like(targets.labels, dtype=torch.bool), torch.Generator().manual_seed(1)
    )
    given = p.token_log_probs_given(targets, mixed)
    steps = p.steps(mixed).log_probs
    expected = steps[..., :3, :].gather(-1, targets.labels.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(given[..., :3], expected)
    prefixes = Sequences(torch.tensor([[3, 1], [4, 0], [0, 0]]), torch.tensor([2, 1, 0]))
    drawn = p.continuations(prefixes, 5, torch.Generator().manual_seed(2))
    assert (drawn.labels[0, :, :2] == torch.tensor([3, 1])).all()
    assert (drawn.labels[1, :, 0] == 4).all()
    greedy, best = p.greedy(), p.n_best(1)
    assert (p.log_prob(best.outputs).squeeze(1) >= p.log_prob(greedy.candidates()).squeeze(1) - 1e-9).all()


@pytest.mark.parametrize("kind", ["bart", "gpt2"])
def test_no_input_and_no_candidate_are_allowed(folder: Folders, kind: str) -> None:
    model = PretrainedSeq2Seq(path_or_name=folder(kind), length_ratio=1e-9, length_extra=2)
    module = built(model)
    nothing = module(inputs_of(model, ()))
    assert nothing.log_prob(Sequences(torch.zeros(0, 2, 1).long(), torch.zeros(0, 2).long())).shape == (0, 2)
    assert nothing.steps(Sequences(torch.zeros(0, 1, 1).long(), torch.zeros(0, 1).long())).log_probs.shape == (
        0,
        1,
        2,
        8,
    )
    without = Sequences(torch.zeros(3, 0, 1).long(), torch.zeros(3, 0).long())
    assert module(inputs_of(model)).log_prob(without).shape == (3, 0)
    assert len(nothing.beam(2).outputs) == 0


def test_special_pieces_are_no_labels(folder: Folders) -> None:
    pieces = Pieces.of(folder("t5", bos_token_id=5))  # a piece that the config alone calls special
    assert pieces.labels.symbols == PIECES[1:]
    assert pieces.cut(["abb a"], target=True) == [("ab", "##b", "a")]
    assert pieces.text(("ab", "##b", "a")) == "abb a"


def test_text_around_sources_is_read(folder: Folders) -> None:
    path = folder("gpt2")
    plain, around = PretrainedSeq2Seq(path_or_name=path), PretrainedSeq2Seq(path_or_name=path, prefix="a", suffix="c d")
    assert around.encoder().read([("b",)], NONE).labels.tolist() == [MARK, *ids(("a", "b", "c", "d")), END]
    p, q = built(plain)(inputs_of(plain, (("a", "b", "c", "d"),))), built(around)(inputs_of(around, (("b",),)))
    outputs = as_candidates(OUTPUTS)
    torch.testing.assert_close(p.log_prob(outputs), q.log_prob(outputs))


def test_dropout_is_the_same_for_drawing_and_scoring(folder: Folders) -> None:
    model = PretrainedSeq2Seq(path_or_name=folder("bart", dropout=0.4), length_ratio=1e-9, length_extra=3)
    module = built(model)
    outputs = as_candidates(OUTPUTS, batch=len(SOURCES))
    still = module(inputs_of(model)).log_prob(outputs)
    module.train()
    p = module(inputs_of(model))
    assert torch.equal(p.log_prob(outputs), p.log_prob(outputs))
    assert (p.log_prob(outputs) - still).abs().max() > 1e-3
    ranked = p.beam(2)
    torch.testing.assert_close(p.log_prob(ranked.outputs).detach(), ranked.log_probs, rtol=0, atol=1e-9)
