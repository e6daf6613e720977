"""Warnings about rows that can be used. Nothing here decides anything."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ser_core.counted import counted
from ser_core.data.reading.files.rows import Row
from ser_core.data.reading.layouts.layout import MARGIN, WEIGHT, Layout
from ser_core.data.reading.layouts.writing import columns_line, keys_of

LENGTH_RULE = 0.7
LABEL_NOISE = 0.3
SWAPPED = 0.2
_ENOUGH_PAIRS = 50
_ENOUGH_REPEATS = 20
SAME_ANSWER = 0.5
_ANSWERS_COMPARED = 1000
STRENGTHS = ("margin", "weight", "strength", "preference_strength")
"""Columns that say how much better the better answer is."""
_LABELS = frozenset({"1", "2", "a", "b", "tie"})
_OF_LABELS = ("better", "label", "winner", "prefer", "choice", "vote", "annotator")
"""Words in the name of a column with labels."""
SCORES = tuple(
    (form.format(side="chosen", word=word), form.format(side="rejected", word=word))
    for word in ("score", "rating", "reward")
    for form in ("{side}_{word}", "{side}-{word}", "{word}_{side}", "{word}-{side}")
)
"""Columns that say how good the two answers are, as public sets name them."""


@dataclass(slots=True)
class Answers:
    """How often the same text wins or loses, among the first labelled pairs."""

    pairs: int = 0
    chosen: Counter[int] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)

    def add(self, chosen: str, rejected: str) -> None:
        """Count a labelled pair; of very many the first are enough."""
        if self.pairs < _ANSWERS_COMPARED:
            self.pairs += 1
            self.chosen[hash(chosen)] += 1
            self.rejected[hash(rejected)] += 1

    def warnings(self) -> Iterator[str]:
        """One for each side on which most answers are one text."""
        for side, texts in (("chosen", self.chosen), ("rejected", self.rejected)):
            most = max(texts.values(), default=0)
            if self.pairs >= _ENOUGH_REPEATS and most > SAME_ANSWER * self.pairs:
                yield f"the {side} answer is the same text in {most} of {self.pairs} pairs: a model can know it by heart"


def text_warnings(remarks: Counter[str], dropped: Counter[str], notes: set[str]) -> list[str]:
    """Warnings about the rows: odd text, length, label noise.

    Args:
        remarks: Pairs by remark (`Corpus.remarks`).
        dropped: Dropped rows by reason.
        notes: What was normalised.
    """
    warnings = [f"normalised: {', '.join(sorted(notes)[:5])}"] if notes else []
    texts = {
        "cleaned": "with zero-width spaces or direction overrides, which were removed",
        "special_tokens": "with special tokens or role markers inside their text, which are read as text",
        "damaged": "with U+FFFD, which a program wrote in place of characters that it could not read: they are lost",
        "misread": "with characters such as Ã© in place of é: text in UTF-8 that was read in another encoding; read and write it as UTF-8",
        "no_value": "of which a text is only a word such as nan, None, [deleted] or #NAME?, which programs write where there is no value",
        "written_bytes": "with a text in b'…', as Python writes bytes: decode it before it is written",
        "secrets": "with something like an e-mail address or an access key",
    }
    repeated = {
        "prompt_twice": "whose answers both begin with the whole prompt, which is read twice: remove it from the answers",
        "all_json": 'whose texts are all written as JSON, such as ["…"], which is read as it stands: write what stands inside',
        "escaped": r"whose answers have \n in place of line breaks: they were escaped once too often",
    }
    warnings += [f"{counted(remarks[name], 'pair')} {text}" for name, text in texts.items() if remarks[name]]
    warnings += [f"{counted(remarks[name], 'pair')} {text}" for name, text in repeated.items() if remarks[name] >= _ENOUGH_REPEATS]
    return warnings + _length_warning(remarks) + _noise_warning(dropped) + _scores_warning(remarks)


def _length_warning(remarks: Counter[str]) -> list[str]:
    labelled = remarks["longer"] + remarks["shorter"] + remarks["equally long"]
    share = (max(remarks["longer"], remarks["shorter"]) + remarks["equally long"] / 2) / max(1, labelled)
    if labelled < _ENOUGH_PAIRS or share <= LENGTH_RULE:
        return []
    which = "longer" if remarks["longer"] > remarks["shorter"] else "shorter"
    return [f"the {which} answer wins in {share:.0%} of the pairs, by characters: compare every accuracy with the length rule's"]


def _scores_warning(remarks: Counter[str]) -> list[str]:
    compared = remarks["scores_contradict"] + remarks["scores_agree"]
    if remarks["scores_contradict"] <= SWAPPED * compared:
        return []
    return [f"the rejected answer has the higher score in {remarks['scores_contradict']} of {compared} rows: are the two columns swapped?"]


def _noise_warning(dropped: Counter[str]) -> list[str]:
    repeated = dropped["ContradictoryLabel"] + dropped["Duplicate"]
    share = dropped["ContradictoryLabel"] / max(1, repeated)
    if repeated < _ENOUGH_REPEATS or share <= LABEL_NOISE:
        return []
    return [f"{share:.0%} of {repeated} repeated rows contradict each other: the labels are noisy"]


def unused_strengths(rows: Sequence[Row], layout: Layout, field: str) -> list[str]:
    """What is said of columns with the strength of the preference that nothing reads.

    Args:
        rows: The first rows of the file.
        layout: How they are read.
        field: Of the specification, such as ``data.source``.
    """
    keys = keys_of(layout.names, {name for row in rows for name in row.fields})
    return [_of_strength(column, numbers, rows[0].file, keys, field) for column, numbers in _strengths(rows, layout)]


def unused_labels(rows: Sequence[Row], layout: Layout) -> Iterator[str]:
    """What is said of columns with labels that nothing reads, such as those of a second person. Arguments as of `unused_strengths`."""
    for column in dict.fromkeys(name for row in rows for name in row.fields if name not in layout.used):
        named = any(word in column.casefold() for word in _OF_LABELS)
        values = {str(row.fields.get(column) or "").strip().casefold() for row in rows if named} - {""}
        if len(values) > 1 and values <= _LABELS:
            said = f"the column {column!r} of {rows[0].file} holds labels and is not used"
            yield f"{said}: where they are those of another person, write each into a row of its own"


def _strengths(rows: Sequence[Row], layout: Layout) -> Iterator[tuple[str, list[float]]]:
    for column in STRENGTHS:
        try:
            numbers = [float(value) for row in rows if (value := row.fields.get(column)) not in (None, "")]
        except (TypeError, ValueError, OverflowError):
            continue
        if numbers and column not in layout.used:
            yield column, numbers


def _of_strength(column: str, numbers: Sequence[float], file: str, keys: Mapping[str, str], field: str) -> str:
    said = f"the column {column!r} of {file} is not used"
    kinds = (MARGIN, WEIGHT) if column == MARGIN.key else (WEIGHT, MARGIN)
    kind = next((one for one in kinds if all(map(one.takes, numbers))), None)
    if kind is None:
        return f"{said}: not all of its numbers are from {MARGIN.least:g} to {MARGIN.most:g}, as margins must be, or above zero, as weights"
    purpose = "let it weigh the pairs" if kind is WEIGHT else "subtract it in the loss"
    if not keys:
        return f"{said}: to {purpose}, name all columns in {field}.columns, with {kind.key} among its keys"
    return f"{said}: to {purpose}, write {columns_line(field, {**keys, kind.key: column})}"


def scores_contradict(fields: Mapping[str, Any], named: Sequence[tuple[str, str]]) -> bool | None:
    """Whether the chosen answer of a row has the lower score; None where there are no scores or they are equal.

    Args:
        fields: Of the row.
        named: Columns that the specification calls the scores of the chosen and of the rejected answer.
    """
    for names in (*named, *SCORES):
        chosen, rejected = (fields.get(name, "") for name in names)
        try:
            one, other = float(chosen), float(rejected)
        except (TypeError, ValueError, OverflowError):
            continue
        if one < other or other < one:
            return one < other
    return None
