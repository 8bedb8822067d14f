"""Folders with tiny networks of transformers and random weights, and a tokenizer for all of them."""

import importlib
from pathlib import Path
from typing import Any

import torch

PIECES = ("a", "b", "c", "ab", "##a", "d", "##b")
"""What the tokenizer knows besides its special pieces."""

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Its special pieces, which have the first ids."""

SIZE, PLACES = 16, 24
"""The size of a vector, and positions where a network has a number of them."""

ROLES = {"pad_token_id": 0, "unk_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2}


def tiny_tokenizer() -> Any:
    """Words from spaces, cut into pieces; ``[CLS]`` before every text and ``[SEP]`` after it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    theirs: Any = importlib.import_module("transformers")

    known = {piece: number for number, piece in enumerate((*SPECIAL, *PIECES))}
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return theirs.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(names, SPECIAL, strict=True)))


def tiny_network(kind: str, **options: Any) -> Any:
    """A network with random weights that are far from zero.

    Args:
        kind: ``"bert"`` for a pair of them, ``"t5"``, ``"bart"``, ``"marian"`` or ``"gpt2"``.
        options: of its config.
    """
    theirs: Any = importlib.import_module("transformers")
    vocabulary = len(SPECIAL) + len(PIECES)
    layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
              "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "d_model": SIZE, "init_std": 0.4,
              "max_position_embeddings": PLACES, "forced_eos_token_id": None}  # fmt: skip
    given = ROLES | {"vocab_size": vocabulary} | options
    torch.manual_seed(3)
    if kind == "t5":
        stack = {"d_model": SIZE, "d_kv": 8, "num_heads": 2, "num_layers": 2, "num_decoder_layers": 2, "d_ff": 8}
        return theirs.T5ForConditionalGeneration(theirs.T5Config(**stack, **given, initializer_factor=2.0))
    if kind == "bart":
        return theirs.BartForConditionalGeneration(theirs.BartConfig(**layers | given))
    if kind == "marian":
        return theirs.MarianMTModel(theirs.MarianConfig(**layers | given))
    if kind == "gpt2":
        shape: dict[str, Any] = {
            "n_embd": SIZE,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": PLACES,
            "initializer_range": 0.4,
        }
        return theirs.GPT2LMHeadModel(theirs.GPT2Config(**shape | given))
    halves = [
        theirs.BertConfig(
            vocab_size=given["vocab_size"], hidden_size=size, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=8, max_position_embeddings=PLACES, initializer_range=0.4
        ) for size in (8, SIZE)
    ]  # fmt: skip
    config = theirs.EncoderDecoderConfig.from_encoder_decoder_configs(*halves)
    for role, number in ROLES.items():
        setattr(config, role, number)
    return theirs.EncoderDecoderModel(config=config)


KINDS = ("bert", "t5", "bart", "marian", "gpt2")


def saved(kind: str, folder: Path, **options: Any) -> str:
    """The path of a folder with a tiny network and its tokenizer."""
    from structpred.pretrained.library import quiet

    with quiet(), torch.random.fork_rng():
        tiny_network(kind, **options).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
    return str(folder)
