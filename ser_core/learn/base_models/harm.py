"""What the settings and the tokenizer of a base model may not ask for: memory or time without bound, chance, types that nobody knows."""

import contextlib
import string
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ser_core.errors import SpecError
from ser_core.learn.base_models.bounded import exceeded
from ser_core.learn.text.reference_text import plain_ids
from ser_core.learn.weights.fit import Loaded
from ser_core.learn.weights.pretrained import last_token, rows_for_tokens, told_of_the_model

TRIAL_SECONDS = 120
"""Of processor time that a model's settings and a line of text may take; large models take a few."""
TRIAL_GIGABYTES = 8
_COMMON_TEXTS = (string.printable, "\ufdfa ﬃ ½ é 日本 🙂", "a" * 100)
_MOST_TOKENS = 20_000
"""Of such a text; one code point may become 18, each of 3 bytes."""
_TIMES = 8
"""A tokenizer that draws is found out with so many readings, almost always."""
_MOST_ROWS_OF_NO_TOKEN = 100_000
"""That would be added to a table, since a token far beyond it has its place there."""


def model_not_supported(message: str, hint: str) -> SpecError:
    """The error of a base model that cannot be used as it is."""
    return SpecError(message, reason="ModelNotSupported", hint=hint)


def refuse_what_takes_too_much(load: Callable[[], tuple[Any, Loaded, Any]], field: str) -> None:
    """Neither transformers nor the tokenizers bound what a few words of a model's settings make of a letter, or of a layer."""
    if too_much := exceeded(lambda: _read_common_texts(load()[2], field), TRIAL_SECONDS, TRIAL_GIGABYTES):
        raise _harmful(field, f"to load its settings and to read a few lines of text takes {too_much}")


def refuse_what_grows(tokenizer: Any, field: str) -> None:
    """A tokenizer may write a word of megabytes for each letter."""
    tokens = _read_common_texts(tokenizer, field)
    if tokens > _MOST_TOKENS:
        raise _harmful(field, f"its tokenizer makes {tokens:,} tokens of a line of text")


def refuse_what_draws(tokenizer: Any, field: str) -> None:
    """A tokenizer with dropout makes other tokens of a text each time: equal runs would not have equal models."""
    texts = [" ".join(_COMMON_TEXTS)] * _TIMES
    if any(ids != read[0] for read in [plain_ids(tokenizer, texts)] for ids in read):
        raise model_not_supported(
            f"{field}: its tokenizer makes other tokens of the same text each time", "set dropout to null in its tokenizer.json"
        )


def refuse_far_tokens(network: Any, tokenizer: Any, field: str) -> None:
    """A table gets a row for each number up to the last token's, and one token may have a number of nine digits."""
    rows, last = rows_for_tokens(network), last_token(tokenizer)
    if rows is None or last - rows < _MOST_ROWS_OF_NO_TOKEN:
        return
    beyond = sum(number >= rows for number in tokenizer.get_vocab().values())
    if last + 1 - rows - beyond > _MOST_ROWS_OF_NO_TOKEN:
        raise _harmful(field, f"its tokenizer has a token number {last:,}, far beyond the {rows:,} rows of its table")


def refuse_odd_types(config: Mapping[str, Any], field: str) -> None:
    """Refuse a configuration whose type of numbers torch does not know: transformers asks torch for it, whatever the weights hold."""
    inner = [value for name, value in config.items() if name.endswith("_config") and isinstance(value, dict)]
    for part in (config, *inner):
        for key in ("dtype", "torch_dtype"):
            value = part.get(key)
            if isinstance(value, str) and not isinstance(getattr(torch, value, None), torch.dtype):
                raise SpecError(
                    f"{field}: {key} in its config.json is {value[:100]!r}, and torch has no such type",
                    reason="BadModelConfig",
                    hint=f"write {key} as bfloat16, float16 or float32, or remove it: the weights' own type counts",
                )


def _read_common_texts(tokenizer: Any, field: str) -> int:
    """Tokens of that text of which a tokenizer makes most; what it cannot read is told when its own text is."""
    most = 0
    for text in _COMMON_TEXTS:
        with contextlib.suppress(SpecError), told_of_the_model(field, "it cannot read every text"):
            most = max(most, *map(len, plain_ids(tokenizer, [text])))
    return most


def _harmful(field: str, what: str) -> SpecError:
    return model_not_supported(f"{field}: {what}", "name another model: its config.json or tokenizer.json is damaged, or made to do harm")
