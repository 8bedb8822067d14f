"""JoeyNMT's recurrent model beside ours: the same sizes, the same sentences in the same batches."""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import torch

from structpred.experiments.benchmarks.measuring import MissingPeer
from structpred.models import Seq2Seq
from structpred.sequences import Sequences
from structpred.task import Sizes

SPECIALS = 4
"""Ids that JoeyNMT keeps for unknown, padding, beginning and end."""
PADDING, BEGINNING, END = 1, 2, 3

Rows = Sequence[Sequence[int]]


def require_joeynmt() -> None:
    """Make sure that the peer is there.

    Raises:
        MissingPeer: it is not installed.
    """
    needed = ("joeynmt", "sentencepiece", "sacremoses", "subword_nmt")
    if missing := [name for name in needed if find_spec(name) is None]:
        raise MissingPeer(
            f"this benchmark measures JoeyNMT beside ours, but {', '.join(missing)} cannot be imported; "
            "pip install --no-deps joeynmt==2.3.0 sentencepiece sacremoses subword-nmt joblib"
        )
    logging.getLogger("joeynmt").setLevel(logging.ERROR)


def build(model: Seq2Seq, sizes: Sizes) -> Any:
    """JoeyNMT's model of the sizes of ours: attention after the recurrent pass, no input feeding, no dropout."""
    from joeynmt.model import build_model

    assert model.dropout == 0
    shared = {"type": "recurrent", "rnn_type": "lstm", "num_layers": 1, "dropout": 0.0}
    embeddings = {"embeddings": {"embedding_dim": model.embedding}}
    encoder = {**shared, **embeddings, "hidden_size": model.hidden // 2, "bidirectional": True}
    decoder = {**shared, **embeddings, "hidden_size": model.hidden, "attention": "luong", "input_feeding": False}
    built = build_model(
        {"encoder": encoder, "decoder": decoder, "init_hidden": "bridge"},
        src_vocab=_vocabulary(sizes.num_inputs + 1),
        trg_vocab=_vocabulary(sizes.num_labels),
    )
    built.loss_function = ("crossentropy", 0.0)
    return built


def batch(inputs: Sequences, targets: Sequences | None = None) -> Any:
    """A batch as JoeyNMT has it, with the longest sentences first."""
    from joeynmt.batch import Batch

    assert isinstance(inputs, Sequences)
    order = inputs.lengths.argsort(descending=True, stable=True)
    sources = [[*row, END] for row in _shifted(inputs.select(order))]
    wanted = None if targets is None else [[BEGINNING, *row, END] for row in _shifted(targets.select(order))]
    return Batch(
        src=_padded(sources),
        src_length=torch.tensor([len(row) for row in sources]),
        src_prompt_mask=None,
        trg=None if wanted is None else _padded(wanted),
        trg_prompt_mask=None,
        indices=order,
        device=torch.device("cpu"),
        pad_index=PADDING,
        eos_index=END,
    )


def _vocabulary(symbols: int) -> Any:
    from joeynmt.vocabulary import Vocabulary

    specials = SimpleNamespace(
        unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>", sep_token=None, lang_tags=[],
        unk_id=0, pad_id=PADDING, bos_id=BEGINNING, eos_id=END, sep_id=None,
    )  # fmt: skip
    return Vocabulary([str(symbol) for symbol in range(symbols)], specials)


def _shifted(sequences: Sequences) -> Rows:
    return [[symbol + SPECIALS for symbol in row] for row in sequences.tolist()]


def _padded(rows: Rows) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PADDING] * (longest - len(row))] for row in rows])
