"""Networks of transformers that read otherwise than others: which are read in their own way, and which are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from structpred.errors import DataError

pytest.importorskip("transformers", reason="needs the extra pretrained: pip install structpred[pretrained]")

import transformers

from structpred.distributions.decoders import MeanDecoder
from structpred.pretrained import ModelFolder, PretrainedSeq2Seq
from structpred.pretrained.pieces import PieceEncoder, WordTokenizer
from structpred.pretrained.seq2seq import PretrainedModule
from structpred.sequences import Sequences
from structpred.task import Sizes
from tests.support.networks import saved
from tests.support.pretrained import word_pieces

SHAPE: dict[str, Any] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                         "intermediate_size": 16, "max_position_embeddings": 32}  # fmt: skip
DECODER: dict[str, Any] = {"vocab_size": 40, "d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 2,
                           "decoder_ffn_dim": 16, "max_position_embeddings": 32}  # fmt: skip
BOTH: dict[str, Any] = {
    **DECODER, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16
}  # fmt: skip
LABELS = 4


def stored(network: Any, folder: Path) -> str:
    """The path of a network with weights far from zero, without a tokenizer."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    return str(folder)


def built(path: str, **options: Any) -> PretrainedModule:
    model = PretrainedSeq2Seq(path_or_name=path, symbols="task", **options)
    sizes = Sizes(num_inputs=3, num_labels=LABELS, label_counts=(1,) * LABELS, references=1)
    return model.build(sizes).double().eval()


def inputs(*lengths: int) -> Sequences:
    longest = max(lengths)
    labels = torch.tensor([[i % 3 for i in range(longest)]] * len(lengths))
    return Sequences(labels, torch.tensor(lengths))


def outputs(*lengths: int) -> Sequences:
    labels = torch.zeros(len(lengths), 1, max(lengths), dtype=torch.long)
    return Sequences(labels, torch.tensor(lengths).unsqueeze(1))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "positions begin elsewhere": (
        lambda: transformers.RobertaForCausalLM(transformers.RobertaConfig(**SHAPE, is_decoder=True)),
        "roberta, which cannot be used: its scores are others when it is called without kept keys and values",
    ),
    "padding shifts positions": (
        lambda: transformers.BartForCausalLM(transformers.BartConfig(**DECODER)),
        "bart, which cannot be used: its scores of an output change with the padding of its input",
    ),
    "sees later symbols": (
        lambda: transformers.BertGenerationDecoder(transformers.BertGenerationConfig(**SHAPE)),
        "bert-generation, which cannot be used: its scores change when an output is read step by step",
    ),
    "keeps no keys and values": (
        lambda: transformers.MambaForCausalLM(
            transformers.MambaConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, state_size=4)
        ),
        "mamba, which cannot be used: calling it fails (",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_network_that_is_read_otherwise_is_refused_in_one_line(why: str, tmp_path: Path) -> None:
    network, expected = REFUSED[why]
    path = stored(network(), tmp_path / "network")
    with pytest.raises(DataError) as raised:
        built(path)
    assert str(raised.value).startswith(f"{path} holds a network of the type {expected}")
    assert "\n" not in str(raised.value)


@torch.no_grad()
def test_the_room_of_a_prompt_is_its_own_and_not_that_of_the_longest(tmp_path: Path) -> None:
    module = built(saved("gpt2", tmp_path, n_positions=16))
    alone, both = module(inputs(3)), module(inputs(3, 12))
    assert both.decoder.limits.tolist() == [*alone.decoder.limits.tolist(), 16 - 12 - 2]
    torch.testing.assert_close(both.log_prob(outputs(8, 1))[0], alone.log_prob(outputs(8))[0], rtol=0, atol=1e-9)
    assert both.greedy().flatten().tolist()[0] == alone.greedy().flatten().tolist()[0]
    one, other = (p.beam(3, length_penalty=1.0).outputs.flatten().tolist()[0] for p in (alone, both))
    assert one == other
    with pytest.raises(DataError, match=r"an output of 13 labels must fit into the 16 positions .* its prompt takes 3"):
        alone.log_prob(outputs(13))


def test_positions_of_either_side_are_known_by_their_own_names(tmp_path: Path) -> None:
    sides = {"max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 12, "attention_window": 4}
    settings = {name: value for name, value in BOTH.items() if name != "max_position_embeddings"} | sides
    path = stored(transformers.LEDForConditionalGeneration(transformers.LEDConfig(**settings)), tmp_path / "led")
    module = built(path, length_ratio=4.0)
    assert (module.positions, module.source_positions) == (12, 64)
    assert module(inputs(8)).decoder.limits.tolist() == [10]
    with pytest.raises(DataError, match="must fit into the 12 positions"):
        module(inputs(8)).log_prob(outputs(20))


@torch.no_grad()
def test_an_ensemble_searches_no_further_than_all_members_can_score(tmp_path: Path) -> None:
    wide, narrow = (
        built(saved("bart", tmp_path / str(places), max_position_embeddings=places))(inputs(2, 4)).decoder
        for places in (64, 8)
    )
    assert wide.limits.tolist() == [2 * 3 + 10 - 2, 4 * 2 + 10]
    mean = MeanDecoder((wide, narrow))
    assert mean.limits.tolist() == [6, 6]
    assert mean.select(torch.tensor([1])).limits.tolist() == [6]


@torch.no_grad()
def test_biases_of_pretrained_symbols_are_not_those_of_new_ones(tmp_path: Path) -> None:
    network = transformers.MarianMTModel(transformers.MarianConfig(**BOTH, pad_token_id=39, decoder_start_token_id=39))
    network.final_logits_bias.copy_(torch.linspace(-9, 9, 40))
    module = built(stored(network, tmp_path / "marian"))
    assert not module.network.final_logits_bias.any()
    assert module.network.final_logits_bias.shape[-1] == module.network.get_output_embeddings().weight.shape[0]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["FNet", "ConvBert", "Bert"])
def test_states_do_not_depend_on_the_sentences_beside(kind: str, tmp_path: Path) -> None:
    """FNet mixes all positions, padding too, and ConvBert its neighbours; both read one length at a time."""
    settings = {**SHAPE, "vocab_size": 30} | ({"embedding_size": 16} if kind == "ConvBert" else {})
    if kind == "FNet":
        del settings["num_attention_heads"]
    network = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**settings))
    path = stored(network, tmp_path / "network")
    word_pieces().save_pretrained(path)
    folder = ModelFolder.of(path)
    tokenizer = WordTokenizer.of(folder)
    encoder = PieceEncoder(folder.network(), tokenizer, layers=(2,), pooling="first", window=None).eval()
    assert encoder.padded == (kind == "Bert")
    sentences = [("cab",), ("a",) * 20, (), ("bad", "a", "bed")]
    together = encoder(tokenizer.read(sentences).gather(torch.arange(4)))
    for row in (0, 1, 3):
        alone = encoder(tokenizer.read([sentences[row]]).gather(torch.tensor([0])))[0]
        torch.testing.assert_close(together[row, : len(sentences[row])], alone, rtol=0, atol=1e-5)
    assert not together[2].any()


def test_a_network_whose_states_are_drawn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(transformers.BertModel(transformers.BertConfig(**SHAPE)), tmp_path / "network")
    word_pieces().save_pretrained(path)
    folder = ModelFolder.of(path)
    network: Any = folder.network()
    plain = network.embeddings.forward
    monkeypatch.setattr(network.embeddings, "forward", lambda **given: torch.rand(()) * plain(**given))
    with pytest.raises(DataError, match="bert, which cannot be used: its states are not the same each time"):
        PieceEncoder(network, WordTokenizer.of(folder), layers=(2,), pooling="first", window=None)
