"""Any task that is one JSON object a line."""

import json
import re
from dataclasses import dataclass
from typing import ClassVar

from structpred.errors import DataError
from structpred.metrics import Metric, SymbolErrorRate, WordErrorRate
from structpred.reading import read_lines
from structpred.registry import tasks
from structpred.task import Example
from structpred.tasks.pairs import Pairs, merged
from structpred.tasks.reading import place_of


@tasks.register("json-lines")
@dataclass(frozen=True, kw_only=True)
class JsonLines(Pairs):
    """Pairs from files of one JSON object a line, such as ``{"source": "ab", "target": ["x y", "x z"]}``.

    The target is a text, or a list of texts that are all right. Objects may hold more than the two keys. Objects with
    the same source are one example; a split without a file of its own is held out of ``train``, as `Pairs` describes.

    Attributes:
        source_key, target_key: the keys of the two sides.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (SymbolErrorRate(), WordErrorRate())

    source_key: str = "source"
    target_key: str = "target"

    def examples(self, path: str) -> list[Example]:
        """The examples of one file.

        Raises:
            DataError: it cannot be read, or a line is no object with a text under both keys.
        """
        return merged(self._example(line, where) for line, where in read_lines(place_of(path), self.encoding))

    def _example(self, line: str, where: str) -> Example:
        try:
            node = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error if isinstance(error, json.JSONDecodeError) else type(error).__name__
            raise DataError(f"{where} must be a JSON object, but it cannot be parsed ({reason}); mend it") from None
        for key in (self.source_key, self.target_key):
            if not isinstance(node, dict) or key not in node:
                raise DataError(f"{where} must be a JSON object with the key {key!r}, but it is none; name another key")
        targets = node[self.target_key]
        texts = targets if isinstance(targets, list) and targets else [targets]
        references = [self.symbols(_text(text, where, "target"), self.target, f"{where}: the target") for text in texts]
        source = self.symbols(_text(node[self.source_key], where, "source"), self.source, f"{where}: the source")
        return Example(source, tuple(references), where)


_NO_TEXT = re.compile("[\0\t\n\r\ud800-\udfff]")


def _text(value: object, where: str, side: str) -> str:
    if not isinstance(value, str):
        kind = {dict: "an object", list: "a list", type(None): "null", bool: "true or false"}.get(
            type(value), "a number"
        )
        raise DataError(f"{where}: the {side} must be a text, but it is {kind}; write it in quotation marks")
    if found := _NO_TEXT.search(value):
        raise DataError(f"{where}: the {side} must be one line of text, but it holds {found[0]!r}; leave that out")
    return value
