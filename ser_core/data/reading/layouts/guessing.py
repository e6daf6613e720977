"""What columns of unknown names may hold, for the line that a hint proposes; nothing is ever read by a guess."""

import difflib
from collections.abc import Collection, Mapping

_MEANT: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "query", "instruction", "input", "context", "q"),
    "chosen": ("chosen", "good", "preferred", "accepted", "positive", "chosen_response", "response_chosen", "winner"),
    "rejected": ("rejected", "bad", "dispreferred", "negative", "rejected_response", "response_rejected", "loser"),
    "response_1": ("response_1", "answer_1", "response_a", "answer_a", "output_1", "output_a", "completion_1", "completion_a", "a"),
    "response_2": ("response_2", "answer_2", "response_b", "answer_b", "output_2", "output_b", "completion_2", "completion_b", "b"),
    "better": ("better", "label", "preference", "winner", "preferred", "choice"),
    "score_1": ("score_1", "score_a", "rating_1", "rating_a"),
    "score_2": ("score_2", "score_b", "rating_2", "rating_b"),
}
_PAIRS = (
    ("prompt", "chosen", "rejected"),
    ("chosen", "rejected"),
    ("prompt", "response_1", "response_2", "better"),
    ("prompt", "response_1", "response_2", "score_1", "score_2"),
)


def guessed(present: Collection[str]) -> dict[str, str] | None:
    """Keys of ``columns`` for columns whose names sound like a pair; None where they do not."""
    own = {_letters(name): name for name in sorted(present, reverse=True)}
    found = {key: own[name] for key, names in _MEANT.items() if (name := next((one for one in map(_letters, names) if one in own), None))}
    pair = next((keys for keys in _PAIRS if set(keys) <= found.keys()), None)
    return None if pair is None else {key: found[key] for key in pair}


def _letters(name: str) -> str:
    """A name without letter case and what may stand between its words."""
    return "".join(filter(str.isalnum, name.lower()))


def corrected(names: Mapping[str, str], present: Collection[str]) -> dict[str, str] | None:
    """``names`` with each column that is not there replaced by one of nearly that name; None where there is none, or one for two."""
    near = {column: difflib.get_close_matches(column, present, 1) for column in names.values() if column not in present}
    near.pop("scores", None)  # the word of columns.weight and columns.margin
    if not all(near.values()):
        return None
    meant = {column: near.get(column, [column])[0] for column in names.values()}
    return {key: meant[column] for key, column in names.items()} if len(set(meant.values())) == len(meant) else None


def nested(names: Mapping[str, str], present: Collection[str]) -> list[str]:
    """Names such as ``fields.prompt`` that mean a part of what a column holds."""
    return sorted(column for column in set(names.values()) - set(present) if "." in column and column.partition(".")[0] in present)
