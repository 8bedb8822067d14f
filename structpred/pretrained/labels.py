"""Which pieces of a pretrained tokenizer are labels, what stands around a source, and how sources become ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

from torch import nn

from structpred.errors import ConfigError, DataError
from structpred.models.base import Featurizer
from structpred.pretrained.folder import ModelFolder
from structpred.pretrained.library import positions, quiet
from structpred.pretrained.places import CONFIG
from structpred.sequences import FlatSequences
from structpred.task import Sizes
from structpred.vocabulary import Symbols, Vocabularies, Vocabulary

ROLES = ("bos", "eos", "pad", "unk", "sep", "cls", "mask", "decoder_start")
"""Ids with these roles are never labels, whether the tokenizer or a config of the model names them."""


@dataclass(frozen=True)
class Pieces:
    """The symbols of a folder, according to its tokenizer and configs.

    Attributes:
        name: what messages call the folder.
        tokenizer: of transformers' class.
        labels: the pieces that outputs are made of, in the order of their ids in the model: all of the tokenizer's, but
            no special one and none that the model says it never generates.
        ids: the id of each label.
        front, back: ids that the tokenizer puts before and after every source.
        unknown: the id of an unknown piece; None where the tokenizer has none.
    """

    name: str
    tokenizer: Any
    labels: Vocabulary
    ids: tuple[int, ...]
    front: tuple[int, ...]
    back: tuple[int, ...]
    unknown: int | None

    @classmethod
    def of(cls, path: str, revision: str | None = None, *, pickles: bool = False) -> "Pieces":
        """Those of a folder, read once a process as long as its files stay the same.

        Raises:
            AbsentError: there is no such folder, and it cannot be downloaded.
            DataError: its tokenizer cannot be read, or leaves no label.
        """
        folder = ModelFolder.of(path, revision, pickles=pickles)
        return _pieces(folder, tuple(sorted(folder.files.items())))

    @property
    def known(self) -> Mapping[str, int]:
        """The id of every piece."""
        known: dict[str, int] = self.tokenizer.get_vocab()
        return known

    def cut(self, texts: Sequence[str], *, target: bool = False) -> list[Symbols]:
        """The pieces of texts, without special ones around them.

        Args:
            texts: any.
            target: read them as outputs, for tokenizers that tell the languages of inputs and outputs apart.
        """
        if not texts:
            return []
        given = {"text_target" if target else "text": list(texts)}
        rows = self.tokenizer(**given, add_special_tokens=False)["input_ids"]
        return [tuple(self.tokenizer.convert_ids_to_tokens(row)) for row in rows]

    def ids_of(self, text: str) -> list[int]:
        """The ids of a text, without special ones around it."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ids

    def text(self, pieces: Symbols) -> str:
        """What pieces spell, in one line."""
        ids = self.tokenizer.convert_tokens_to_ids(list(pieces))
        spelt: str = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return " ".join(spelt.split())


@lru_cache(maxsize=8)
def _pieces(folder: ModelFolder, files: tuple[tuple[str, str], ...]) -> Pieces:
    del files  # their digests tell whether anything has changed
    with quiet():
        tokenizer = folder.tokenizer
        around, inside = _around(tokenizer)
    if getattr(tokenizer, "separate_vocabs", False):
        raise DataError(
            f"the tokenizer of {folder.name} must have one vocabulary for inputs and outputs, but has one for each, "
            "whose ids differ; set PretrainedSeq2Seq.symbols to 'task'"
        )
    never = {*tokenizer.all_special_ids, *never_labels(folder)}
    never |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    labels = {number: piece for piece, number in tokenizer.get_vocab().items() if number not in never}
    if not labels:
        raise DataError(
            f"the tokenizer of {folder.name} must have pieces that outputs can be made of, but all "
            f"{len(tokenizer.get_vocab())} are special, or forbidden by the model's generation config"
        )
    ids = tuple(sorted(labels))
    begin = next((i for i in range(len(around)) if around[i : i + len(inside)] == inside), 0) if inside else 0
    return Pieces(
        name=folder.name,
        tokenizer=tokenizer,
        labels=Vocabulary(tuple(labels[each] for each in ids)),
        ids=ids,
        front=tuple(around[:begin]),
        back=tuple(around[begin + len(inside) :]),
        unknown=tokenizer.unk_token_id,
    )


def positions_of(config: Any) -> tuple[int | None, int | None]:
    """How many steps outputs, and sources, can have; None for any number.

    Args:
        config: of transformers; of a network without an encoder, whose sources leave room for the start and one label.
    """
    decoder, encoder = (getattr(config, each, None) or config for each in ("decoder", "encoder"))
    outputs, sources = positions(decoder, "decoder"), positions(encoder, "encoder")
    return outputs, sources if config.is_encoder_decoder or sources is None else sources - 2


def refuse_beyond(length: int, positions: int | None, name: str) -> None:
    """Refuse a source that is longer than a network can read.

    Raises:
        DataError: it is longer.
    """
    if positions is not None and length > positions:
        raise DataError(
            f"an input of {length} symbols, with those that stand around it, must fit into the {positions} positions "
            f"of {name}; leave out long examples, or take a model with more positions"
        )


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The ids of some text with what the tokenizer puts around it, and without."""
    candidates = ("a", *tokenizer.get_vocab())
    inside, text = next(
        ((ids, text) for text in candidates if (ids := tokenizer(text, add_special_tokens=False)["input_ids"])),
        ([], ""),
    )
    return list(tokenizer(text)["input_ids"]), list(inside)


def never_labels(folder: ModelFolder) -> set[int]:
    """Ids that a model never generates, by its configs: those with a role, and single ones that are forbidden."""
    never = {number for role in ROLES for number in ids_with(folder, f"{role}_token_id")}
    generation = folder.json("generation_config.json")
    suppressed, bad = (generation.get(name) or [] for name in ("suppress_tokens", "bad_words_ids"))
    if not _ids(suppressed) or not isinstance(bad, list) or not all(_ids(each) for each in bad):
        raise DataError(
            f"{folder.name}/generation_config.json must have lists of ids as suppress_tokens and bad_words_ids, but "
            "has something else; correct it"
        )
    return never | {*suppressed} | {each[0] for each in bad if len(each) == 1}


def _ids(value: object) -> bool:
    return isinstance(value, list) and all(type(each) is int for each in value)


def ids_with(folder: ModelFolder, role: str) -> tuple[int, ...]:
    """The ids that have a role, such as ``"eos_token_id"``, by the configs of a model; the one for decoding first."""
    config = folder.config
    parts = (config, getattr(config, "decoder", None), getattr(config, "encoder", None))
    values = [folder.json("generation_config.json").get(role), *(getattr(part, role, None) for part in parts)]
    flat = [number for value in values for number in (value if isinstance(value, list) else [value])]
    return tuple(dict.fromkeys(number for number in flat if isinstance(number, int) and number >= 0))


def forced_start(folder: ModelFolder) -> int | None:
    """The id that every output has between its start and its first label, such as its language; None for none.

    It is ``forced_bos_token_id`` of the config for decoding or else of the model's, read without transformers.
    """
    values = [folder.json(name).get("forced_bos_token_id") for name in ("generation_config.json", CONFIG)]
    return next((value for value in values if type(value) is int and value >= 0), None)


@dataclass(frozen=True, kw_only=True)
class SourcePieces(Featurizer):
    """Pieces of a pretrained tokenizer as the ids of its model, with the special ones that belong around a source.

    Attributes:
        path_or_name, revision, pickles: the folder of the model, as in `PretrainedSeq2Seq`.
        prefix, suffix: text before and after every source.
    """

    symbolic: ClassVar[bool] = False
    open_vocabulary: ClassVar[bool] = True
    strict: ClassVar[bool] = True

    path_or_name: str
    revision: str | None = None
    pickles: bool = False
    prefix: str = ""
    suffix: str = ""

    def read(self, sources: Sequence[Symbols], vocabularies: Vocabularies) -> FlatSequences:
        """Their ids.

        Raises:
            DataError: a symbol is no piece of the tokenizer.
        """
        del vocabularies
        pieces = Pieces.of(self.path_or_name, self.revision, pickles=self.pickles)
        known = pieces.known
        before = [*pieces.front, *pieces.ids_of(self.prefix)]
        after = [*pieces.ids_of(self.suffix), *pieces.back]
        for source in sources:
            strange = next((symbol for symbol in source if symbol not in known), None)
            if strange is not None:
                raise DataError(
                    f"the input {' '.join(source)[:40]!r} must be pieces of the tokenizer of {pieces.name}, but "
                    f"{strange!r} is not one; cut the task's text with the task 'pretrained-pieces', or set "
                    "PretrainedSeq2Seq.symbols to 'task'"
                )
            refuse_beyond(len(before) + len(source) + len(after), self._positions, pieces.name)
        return FlatSequences.of([[*before, *(known[symbol] for symbol in source), *after] for source in sources])

    @cached_property
    def _positions(self) -> int | None:
        return positions_of(ModelFolder.of(self.path_or_name, self.revision, pickles=self.pickles).config)[1]

    def build(self, sizes: Sizes, features: int) -> nn.Module:
        """Refused: the pretrained network has its own embeddings.

        Raises:
            ConfigError: always.
        """
        del sizes, features
        raise ConfigError("pieces of a pretrained tokenizer are read by PretrainedSeq2Seq alone; choose other inputs")
