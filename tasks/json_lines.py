"""Any task that is one JSON object a line."""

import json
import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from structpred.errors import DataError
from structpred.metrics import SER, Metric, WordErrorRate
from structpred.reading import place_of, read_lines
from structpred.registry import tasks
from structpred.task import Example
from structpred.tasks.pairs import Pairs, merged
from structpred.vocabulary import Symbols


@tasks.register("json-lines")
@dataclass(frozen=True, kw_only=True)
class JsonLines(Pairs):
    """Pairs from files of one JSON object a line, such as ``{"source": "ab", "target": "x y"}``.

    The source is a text. The target is a text too, or a list: of texts that are all right, as in ``["x y", "x z"]``, or
    of the symbols of one output, as in ``["x", "y"]``; ``lists`` says which. Objects may hold more than the two keys,
    and the values of those that ``metadata`` names are kept for rewards that ask (`FunctionReward`). Objects with the
    same source are one example; a split without a file of its own is held out of ``train``, as `Pairs` describes.

    Attributes:
        source_key, target_key: the keys of the two sides.
        lists: what a list of texts is, ``"references"`` or ``"symbols"``. None refuses one that may be both, which is
            any but one of texts with spaces between their symbols, or of a single symbol. A list of lists is taken for
            references of symbols.
        metadata: further keys that every object has, whose values become `Example.metadata` and part of the data's
            digest.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SER(), WordErrorRate())
    identity_optional: ClassVar[tuple[str, ...]] = (*Pairs.identity_optional, "lists", "metadata")

    source_key: str = "source"
    target_key: str = "target"
    lists: Literal["references", "symbols"] | None = None
    metadata: tuple[str, ...] = ()

    def examples(self, path: str) -> list[Example]:
        """The examples of one file.

        Raises:
            DataError: it cannot be read, or a line is no object with a text under both keys.
        """
        return merged(self._example(line, where) for line, where in read_lines(place_of(path), self.encoding))

    def _example(self, line: str, where: str) -> Example:
        try:
            node = json.loads(line, object_pairs_hook=_object)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        except (ValueError, RecursionError) as error:
            reason = error if isinstance(error, json.JSONDecodeError) else type(error).__name__
            raise DataError(f"{where} must be a JSON object, but it cannot be parsed ({reason}); correct it") from None
        for key in (self.source_key, self.target_key, *self.metadata):
            if not isinstance(node, dict) or key not in node:
                raise DataError(f"{where} must be a JSON object with the key {key!r}, but it is none; name another key")
        source = self.symbols(_text(node[self.source_key], where, "source"), self.source, f"{where}: the source")
        references = tuple(self._references(node[self.target_key], where))
        return Example(source, references, where, metadata={key: node[key] for key in self.metadata})

    def _references(self, target: object, where: str) -> list[Symbols]:
        if not isinstance(target, list) or not target:
            return [self._reference(target, where)]
        if isinstance(target[0], list):
            return [self._listed(each, where) for each in target]
        texts = [_text(each, where, "target") for each in target]
        if self.lists == "symbols":
            return [self._listed(texts, where)]
        if self.lists is None and not self._surely_references(texts):
            raise DataError(
                f"{where}: the target must be a text, or a list of which it is certain what it means, but "
                f"{json.dumps(target, ensure_ascii=False):.60} may be {len(texts)} right outputs or one of "
                f"{len(texts)} symbols; set JsonLines.lists to 'references' or 'symbols'"
            )
        return [self._reference(text, where) for text in texts]

    def _surely_references(self, texts: list[str]) -> bool:
        one = len(texts) == 1 and (self.target == "spaces" or len(texts[0]) == 1)
        return one or (self.target == "spaces" and any(" " in text.strip(" ") for text in texts))

    def _reference(self, text: object, where: str) -> Symbols:
        return self.labels(_text(text, where, "target"), f"{where}: the target")

    def _listed(self, symbols: object, where: str) -> Symbols:
        """The symbols that a list names one by one; joined as text they must be the same."""
        if not isinstance(symbols, list):
            raise DataError(f"{where}: the target must be a list of lists or hold none, but it mixes them; correct it")
        named = tuple(_text(symbol, where, "target") for symbol in symbols)
        found = self.labels(self.render(named), f"{where}: the target")
        if found != named:
            kind = "of one character" if self.target == "characters" else "without spaces"
            raise DataError(
                f"{where}: the target must be a list of symbols {kind}, for target={self.target!r}, but it is "
                f"{json.dumps(symbols, ensure_ascii=False):.60}; write it otherwise or say target="
                f"{'spaces' if self.target == 'characters' else 'characters'}"
            )
        return found


_NO_TEXT = re.compile("[\0\t\n\r\ud800-\udfff]")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys are all different; JSON itself would keep the last of two."""
    node = dict(pairs)
    if len(node) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise DataError(f"a JSON object must have each key once, but this one has {twice[:40]!r} twice; remove one")
    return node


def _text(value: object, where: str, side: str) -> str:
    if not isinstance(value, str):
        kind = {dict: "an object", list: "a list", type(None): "null", bool: "true or false"}.get(
            type(value), "a number"
        )
        raise DataError(f"{where}: the {side} must be a text, but it is {kind}; write it in quotation marks")
    if found := _NO_TEXT.search(value):
        raise DataError(f"{where}: the {side} must be one line of text, but it holds {found[0]!r}; leave that out")
    return value
