"""Tiny pretrained models with random weights, saved as transformers saves them."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers.utils import logging

LETTERS = "abcdefgh"
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
VOCABULARY = [*MARKS, *LETTERS, *(f"##{letter}" for letter in LETTERS), "bad", "##ed"]
SENTENCES = [("bad", "a", "bed"), (), ("hedge", "a"), ("cab",)]
"""Words of one to four pieces, and a sentence without words."""


def word_pieces(vocabulary: list[str] = VOCABULARY) -> Any:
    """A tokenizer like BERT's: every word is cut into known pieces; a word with another letter is unknown."""
    core = Tokenizer(WordPiece({piece: i for i, piece in enumerate(vocabulary)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary.index("[CLS]")), ("[SEP]", vocabulary.index("[SEP]"))],
    )
    made: Any = transformers.PreTrainedTokenizerFast
    return made(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")


def byte_pairs() -> Any:
    """A tokenizer like GPT-2's, for which a space before a word counts, and without marks around a sentence."""
    letters = {letter: i for i, letter in enumerate([*LETTERS, "Ġ", "Ġa", "Ġb", "<|endoftext|>"])}
    made: Any = transformers.GPT2Tokenizer
    return made(vocab=letters, merges=[("Ġ", "a"), ("Ġ", "b")])


SIZES: dict[str, dict[str, Any]] = {
    "Bert": {"intermediate_size": 12, "num_attention_heads": 2, "num_hidden_layers": 3, "hidden_size": 8},
    "Roberta": {"intermediate_size": 12, "num_attention_heads": 2, "num_hidden_layers": 2, "hidden_size": 8},
    "GPT2": {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16},
    "T5": {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2},
    "Bart": {
        "d_model": 8, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12, "max_position_embeddings": 20,
    },
}  # fmt: skip
"""Five architectures."""


def saved(folder: Path, kind: str = "Bert", *, seed: int = 3, tokenizer: Any = None, **settings: Any) -> Path:
    """Save a random network of one of the architectures and a tokenizer."""
    torch.manual_seed(seed)
    tokenizer = tokenizer or (byte_pairs() if kind in ("GPT2",) else word_pieces())
    fields = {"vocab_size": len(VOCABULARY), "pad_token_id": 0} | SIZES[kind] | settings
    network = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**fields))
    quiet: Any = logging.disable_progress_bar
    quiet()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
