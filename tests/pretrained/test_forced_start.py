"""Networks whose config forces a token before the first of every output, such as the language of the outputs."""

import json
from pathlib import Path

import pytest
import torch

from structpred.errors import DataError
from structpred.pretrained import PretrainedSeq2Seq
from structpred.pretrained.seq2seq import PretrainedModule
from structpred.sequences import Sequences
from structpred.task import Sizes
from structpred.vocabulary import Vocabularies, Vocabulary
from tests.support.networks import PIECES, PLACES, saved
from tests.support.tiny import as_candidates

FIRST, START, FORCED, END = 5, 3, 4, 3
"""Ids: of the first label, and of what is read before each output."""
OUTPUTS = [[], [3], [0, 6, 2, 2], [5, 1, 4]]
SOURCES = (("a", "##b", "c", "d"), ("d",))
KINDS = ("bart", "marian", "t5")


def model_of(kind: str, folder: Path, forced: int = FORCED) -> PretrainedSeq2Seq:
    path = Path(saved(kind, folder / kind, decoder_start_token_id=START))
    config = path / "generation_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"forced_bos_token_id": forced}), encoding="utf-8")
    return PretrainedSeq2Seq(path_or_name=str(path), length_ratio=1.0, length_extra=2)


def built(model: PretrainedSeq2Seq) -> PretrainedModule:
    labels = len(PIECES)
    return model.build(Sizes(num_inputs=0, num_labels=labels, label_counts=(1,) * labels, references=1)).double().eval()


def inputs_of(model: PretrainedSeq2Seq) -> Sequences:
    return model.encoder().read(SOURCES, Vocabularies(Vocabulary(()), Vocabulary(()))).gather(torch.arange(2))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_after_the_start_and_not_scored(kind: str, tmp_path: Path) -> None:
    model = model_of(kind, tmp_path)
    module, inputs = built(model), inputs_of(model)
    allowed = [*range(FIRST, FIRST + len(PIECES)), END]
    with torch.no_grad():
        found = module(inputs).token_log_probs(as_candidates(OUTPUTS, batch=2))
        for row, length in enumerate(inputs.lengths.tolist()):
            for place, output in enumerate(OUTPUTS):
                logits = module.network(
                    input_ids=inputs.labels[row : row + 1, :length],
                    decoder_input_ids=torch.tensor([[START, FORCED, *(FIRST + label for label in output)]]),
                ).logits[0, 1:]
                wanted = logits[:, allowed].log_softmax(-1)[torch.arange(len(output) + 1), [*output, len(PIECES)]]
                torch.testing.assert_close(found[row, place, : len(wanted)], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_search_and_draws_score_as_teacher_forcing_does(kind: str, tmp_path: Path) -> None:
    model = model_of(kind, tmp_path)
    with torch.no_grad():
        p = built(model)(inputs_of(model))
        ranked = p.n_best(5)
        torch.testing.assert_close(p.log_prob(ranked.outputs), ranked.log_probs, rtol=0, atol=1e-6)
        assert p.log_prob(p.sample(3, torch.Generator().manual_seed(0))).isfinite().all()


def test_generate_finds_the_same(tmp_path: Path) -> None:
    model = model_of("bart", tmp_path)
    module, inputs = built(model), inputs_of(model)
    never = [[number] for number in range(FIRST) if number != END]  # what is forced is taken all the same
    with torch.no_grad():
        for row, best in enumerate(module(inputs).greedy().tolist()):
            source = inputs.labels[row : row + 1, : int(inputs.lengths[row])]
            found = module.network.generate(
                source, num_beams=1, do_sample=False, max_new_tokens=20, bad_words_ids=never
            )
            start, forced, *output = found[0].tolist()
            assert (start, forced) == (START, FORCED)
            labels = [number - FIRST for number in output if number >= FIRST]
            assert best
            assert labels[: len(best)] == best


def test_it_takes_a_position_and_makes_another_model(tmp_path: Path) -> None:
    model, plain = model_of("bart", tmp_path), PretrainedSeq2Seq(path_or_name=saved("bart", tmp_path / "plain"))
    assert len(model.fingerprint()) == len(plain.fingerprint()) + 1
    p = built(model)(inputs_of(model))
    most = PLACES - 3  # the start, what is forced, and what is cut
    assert p.log_prob(as_candidates([[0] * most], batch=2)).isfinite().all()
    with pytest.raises(DataError, match=f"an output of {PLACES} labels must fit into the {PLACES} positions"):
        p.log_prob(as_candidates([[0] * PLACES], batch=2))


def test_a_vocabulary_for_each_side_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some of Marian's models have; by one of them, outputs would be read as other pieces."""
    model = PretrainedSeq2Seq(path_or_name=saved("marian", tmp_path))
    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.separate_vocabs", True, raising=False)
    with pytest.raises(DataError, match=r"must have one vocabulary for inputs and outputs, .*symbols to 'task'"):
        model.labels()


def test_an_id_without_a_vector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must have ids below 12, .*, and the one forced at its beginning 400;"):
        built(model_of("bart", tmp_path, forced=400))
