"""How long the inputs of a base model may be."""

from collections.abc import Mapping
from typing import Any

from ser_core.errors import SpecError

_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len")
"""Of most kinds, of GPT-2's and of MPT's."""
_POSITIONS_AFTER_PADDING = frozenset(
    {
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "camembert",
        "mpnet",
        "xmod",
        "data2vec-text",
        "longformer",
        "esm",
        "ibert",
    }
)
"""Model types whose first position is pad_token_id + 1, so that the table holds fewer tokens than it has rows."""
_NO_LIMIT = 1 << 30


def longest_input(config: Mapping[str, Any]) -> int | None:
    """Tokens that the model's positions reach; None when it has no limit of its own."""
    limit = positions(config)
    if not isinstance(limit, int) or limit <= 0 or config.get("position_biased_input") is False:
        return None
    if config.get("model_type") in _POSITIONS_AFTER_PADDING:
        padding = config.get("pad_token_id")
        return limit - (padding if isinstance(padding, int) else 1) - 1
    return limit


def row_limit(config: Mapping[str, Any], tokenizer_limit: float) -> int:
    """What rows stay below, so that one padding token has room (`bucket_length`): the fewer of what model and tokenizer take."""
    return int(min(longest_input(config) or _NO_LIMIT, tokenizer_limit, _NO_LIMIT))


def check_max_length(config: Mapping[str, Any], max_length: int, field: str) -> None:
    """Raise `SpecError` ``MaxLengthTooLarge`` when ``max_length``, the value of ``field``, is more than the model's positions reach."""
    longest = longest_input(config)
    if longest is not None and max_length > longest:
        raise SpecError(
            f"{field} {max_length} is more than the {longest} tokens that the model takes (max_position_embeddings {positions(config)})",
            reason="MaxLengthTooLarge",
            hint=f"set {field.rstrip(' =')} to at most {longest}",
        )


def positions(config: Mapping[str, Any]) -> Any:
    """What a configuration says of them; one that has a part for each kind of input says it in that of text."""
    found = next((config[name] for name in _NAMES if name in config), None)
    text = config.get("text_config")
    return positions(text) if found is None and isinstance(text, dict) else found
