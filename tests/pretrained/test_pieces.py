"""Words as pieces, windows of pieces, and a network's states at words, compared with transformers' own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from structpred.errors import ConfigError, DataError
from structpred.sequences import Sequences

pytest.importorskip("transformers", reason="needs the extra pretrained: pip install structpred[pretrained]")

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from structpred.pretrained import ModelFolder
from structpred.pretrained.pieces import PieceEncoder, Pooling, Windows, WordTokenizer
from tests.support.pretrained import SENTENCES, SIZES, saved

Words = Sequence[tuple[str, ...]]


@pytest.fixture(scope="module", params=list(SIZES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return ModelFolder.of(str(saved(tmp_path_factory.mktemp(request.param), request.param)))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return ModelFolder.of(str(saved(tmp_path_factory.mktemp("bert"))))


def gathered(tokenizer: WordTokenizer, sentences: Words = SENTENCES) -> Sequences:
    return tokenizer.read(sentences).gather(torch.arange(len(sentences)))


def encoder_of(folder: ModelFolder, pooling: Pooling = "mean", window: int | None = None) -> PieceEncoder:
    layers = range(folder.config.num_hidden_layers + 1)
    tokenizer = WordTokenizer.of(folder)
    return PieceEncoder(folder.network(), tokenizer, layers=layers, pooling=pooling, window=window).eval()


def states(network: Any, ids: list[int]) -> Tensor:
    """Of every layer at every piece, from transformers, one sentence alone: ``[pieces, layers, size]``."""
    found = network(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    return torch.stack([layer[0] for layer in found], 1)


def pooled(of_pieces: Tensor, pooling: Pooling) -> Tensor:
    return {"first": of_pieces[0], "last": of_pieces[-1], "mean": of_pieces.mean(0)}[pooling]


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
def test_states_of_words_are_those_of_transformers_one_sentence_at_a_time(
    folder: ModelFolder, pooling: Pooling
) -> None:
    encoder, tokenizer = encoder_of(folder, pooling), WordTokenizer.of(folder)
    found = encoder(gathered(tokenizer))
    assert found.shape == (4, 3, folder.config.num_hidden_layers + 1, 8)
    for row, sentence in enumerate(SENTENCES):
        assert not found[row, len(sentence) :].any(), "zero in the padding"
        if not sentence:
            continue
        whole = tokenizer.underlying(list(sentence), is_split_into_words=True)
        theirs = states(encoder.pretrained, whole["input_ids"])
        for place in range(len(sentence)):
            pieces = [i for i, word in enumerate(whole.word_ids()) if word == place]
            torch.testing.assert_close(found[row, place], pooled(theirs[pieces], pooling), rtol=0, atol=1e-5)


def test_where_a_space_counts_every_word_has_one(tmp_path: Path) -> None:
    tokenizer = WordTokenizer.of(ModelFolder.of(str(saved(tmp_path, "GPT2"))))
    assert tokenizer.cut(["a", "ab"]) == [[9], [9, 1]], "the merged piece of a space and an a"
    assert tokenizer.cut([]) == []


@pytest.mark.parametrize("heeds", [True, False])
def test_a_word_is_cut_as_the_second_of_a_text_whatever_the_tokenizer_says(heeds: bool, tmp_path: Path) -> None:
    """Byte-level pieces, of which some tokenizers do not heed ``add_prefix_space`` once they are saved."""
    core = Tokenizer(models.BPE({"a": 0, "b": 1, "Ġ": 2, "Ġa": 3, "Ġb": 4}, [("Ġ", "a"), ("Ġ", "b")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if not heeds:
        core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), core.pre_tokenizer])
    theirs: Any = transformers.PreTrainedTokenizerFast
    made = theirs(tokenizer_object=core)
    tokenizer = WordTokenizer.of(ModelFolder.of(str(saved(tmp_path, tokenizer=made))))
    assert made("b a b")["input_ids"] == [1, 3, 4]
    assert tokenizer.cut(["a", "b"]) == [[3], [4]]
    assert (tokenizer.prefix, tokenizer.suffix) == ((), ())


@pytest.mark.parametrize("most", [2, 3, 4, 7])
def test_every_piece_is_taken_from_the_window_in_whose_middle_it_is(most: int) -> None:
    lengths = [0, 1, most, 0, most + 1, 3 * most, 29, 0]
    windows = Windows.of(torch.tensor(lengths), most)
    chosen, column = windows.chosen.tolist(), windows.column.tolist()
    of = [[i for i, sentence in enumerate(windows.sentence.tolist()) if sentence == row] for row in range(len(lengths))]
    spans = list(zip(windows.start.tolist(), (windows.start + windows.size).tolist(), strict=True))
    place = 0
    for row, length in enumerate(lengths):
        assert len(of[row]) == (length > 0) or length > most
        for piece in range(length):
            start, end = spans[chosen[place]]
            margins = [min(piece - one, other - 1 - piece) for one, other in (spans[i] for i in of[row])]
            assert chosen[place] in of[row]
            assert end <= length
            assert column[place] == piece - start
            assert min(piece - start, end - 1 - piece) == max(margins)
            assert start <= piece < end
            place += 1
    assert place == len(chosen) == sum(lengths)


@torch.no_grad()
def test_a_long_sentence_is_read_in_windows_that_overlap(bert: ModelFolder) -> None:
    """Nine pieces in windows of four (and two marks): they start at 0, 2, 4 and 5."""
    encoder, tokenizer = encoder_of(bert, window=6), WordTokenizer.of(bert)
    words = tuple("abcdefgha")
    found = encoder(gathered(tokenizer, [words, ("a",)]))
    pieces = [piece for (piece,) in tokenizer.cut(words)]
    windows = {start: states(encoder.pretrained, [2, *pieces[start : start + 4], 3])[1:-1] for start in (0, 2, 4, 5)}
    for place, start in enumerate([0, 0, 0, 2, 2, 4, 5, 5, 5]):
        torch.testing.assert_close(found[0, place], windows[start][place - start], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[1, 0], states(encoder.pretrained, [2, 4, 3])[1], rtol=0, atol=1e-5)
    assert torch.equal(encoder_of(bert, window=20)(gathered(tokenizer)), encoder_of(bert)(gathered(tokenizer)))


@torch.no_grad()
@pytest.mark.parametrize(("kind", "reserved"), [("Bert", 0), ("Roberta", 1), ("GPT2", 0), ("Bart", 0)])
def test_the_largest_window_is_as_long_as_positions_go(kind: str, reserved: int, tmp_path: Path) -> None:
    limit = {"GPT2": "n_positions"}.get(kind, "max_position_embeddings")
    folder = ModelFolder.of(str(saved(tmp_path, kind, **{limit: 10})))
    encoder, tokenizer = encoder_of(folder), WordTokenizer.of(folder)
    assert encoder.most == 10 - reserved - len(tokenizer.prefix + tokenizer.suffix)
    assert encoder(gathered(tokenizer, [("hedge",) * 9])).isfinite().all(), "45 pieces"
    with pytest.raises(ConfigError, match=f"window must be at most {10 - reserved}, the number of positions of .* 11;"):
        encoder_of(folder, window=11)
    with pytest.raises(
        ConfigError, match=r"^window must leave room for two pieces beside the \d marks of .*, but it is \d$"
    ):
        encoder_of(folder, window=2 if tokenizer.prefix else 1)


def test_a_word_without_a_piece_is_refused_or_unknown(bert: ModelFolder) -> None:
    tokenizer = WordTokenizer.of(bert)
    with pytest.raises(DataError, match=r"must have a piece .*, but '\\u3000' has none; read it as unknown: no_piece="):
        tokenizer.read([("a", "\u3000")])
    spelt = tokenizer.read([("a", "\u3000")], "unknown").gather(torch.tensor([0])).spellings
    assert spelt is not None
    assert spelt.tolist() == [[4], [1]]
    silent = replace(tokenizer, underlying=_without_unknown(tokenizer.underlying))
    with pytest.raises(DataError, match="has none; replace it in the data"):
        silent.read([("\u3000",)], "unknown")


def _without_unknown(tokenizer: Any) -> Any:
    class Silent:
        unk_token_id = None

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return tokenizer(*arguments, **options)

    return Silent()


@torch.no_grad()
def test_batches_without_words_have_no_states(bert: ModelFolder) -> None:
    encoder, tokenizer = encoder_of(bert), WordTokenizer.of(bert)
    for sentences in ([], [()], [(), ()]):
        assert encoder(gathered(tokenizer, sentences)).shape == (len(sentences), 0, 4, 8)


def test_depths_name_every_weight_once_and_rise_from_the_embeddings(folder: ModelFolder) -> None:
    encoder = encoder_of(folder)
    depths = encoder.depths()
    assert set(depths) == {name for name, _ in encoder.named_parameters()}
    layers = folder.config.num_hidden_layers
    assert set(depths.values()) == set(range(layers + 1))
    for name, depth in depths.items():
        table = "embed" in name or "wte" in name or "wpe" in name
        assert (depth == 0) == table, name
        assert f".{depth - 1}." in name or depth in (0, layers), name
    assert not any("decoder" in name or "pooler" in name for name in depths), "only what is used"


def test_gradients_reach_every_weight_and_nothing_is_not_a_number(bert: ModelFolder) -> None:
    encoder = encoder_of(bert).double()
    words = gathered(WordTokenizer.of(bert))
    weights = torch.linspace(0.1, 1, 8, dtype=torch.float64)
    table = encoder.pretrained.get_input_embeddings().weight

    def summed(values: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(
            encoder, {"pretrained.embeddings.word_embeddings.weight": values}, words
        )
        return (found * weights).sum((0, 1, 3))

    assert torch.autograd.gradcheck(summed, (table,), fast_mode=True)
    torch.autograd.backward(summed(table).sum())
    assert all(each.grad is not None and each.grad.isfinite().all() for each in encoder.parameters())
