"""What makes a pair usable, and the count of those that are not."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ser_core.data.preparing.pairs.text import (
    begins_with_a_role,
    clean,
    clean_prompt,
    digest,
    ends_with_a_role,
    holds_secrets,
    holds_special_tokens,
    is_escaped,
    is_json,
    is_usable,
    is_written_bytes,
    normal_form,
    stands_for_no_value,
    was_misread,
)
from ser_core.data.reading.dialogues.turns import unmarked
from ser_core.data.reading.files.rows import MAX_ROW_BYTES, BadRow, RowError
from ser_core.data.reading.formats import RawPair
from ser_core.errors import DataError

MAX_MALFORMED_FRACTION = 0.001
"""Malformed JSON rows are a sign of a damaged file; one of them (a cut-off last line) is always allowed."""
REPEATS = frozenset({"Duplicate", "HeldOut", "Tie", "OtherSplit", "SeveralTurns", "NoRanking"})
"""Drops for which nothing is wrong with the row: they do not count towards data.maxDroppedFraction."""

_REPAIRS = {
    "BadLabel": "write the labels that are expected, such as 1, 2 or tie in better, or scores as numbers such as 4.5; or name the "
    "column of the better answers and that of the worse ones as chosen and rejected in {field}.columns",
    "MalformedRow": "give each row as many cells as the first line has, which names the columns and stands alone above them; "
    "a cell with commas stands in quotes, which begin right after the comma before it",
    "NotText": "write each text as a string, or as messages with role and content; of several answers make several rows",
    "NotAnObject": 'write each row as an object whose keys name its texts, such as {{"prompt": "…"}}',
    "MalformedJson": "write one JSON object on each line (.jsonl), or one list of them (.json)",
    "PromptMismatch": "name the column with the prompts in {field}.columns, as prompt, if there is one; only chosen and rejected, where "
    "they hold the whole dialogues; else repair the rows",
    "BadWeight": "write numbers above zero, or leave weight out of {field}.columns",
    "BadMargin": "write numbers from 0 to 100, or leave margin out of {field}.columns",
    "MissingColumn": "name the column with the prompts in {field}.columns, as prompt",
}
"""What to do about the rows that are dropped for a reason, where it is more than to repair them."""
_OWN_MARKERS = re.compile(r"\n\n(?:Human|Assistant|System):")
"""Those that a prompt of several turns is rendered with."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A usable pair. Its answers stand in an order that does not depend on the label."""

    id: str
    """Digest of prompt and answers in their normal form: near duplicates share it, whatever their labels."""
    prompt: str
    """Its turns are marked where a chat template needs them (`ser_core.data.reading.dialogues`)."""
    answer_1: str
    answer_2: str
    better: int | None
    """1 or 2; 0 for a tie; None when it is unknown."""
    source: str
    weight: float | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Remarks:
    """What is odd about a pair's text but no reason to drop it."""

    cleaned: bool
    special_tokens: bool
    secrets: bool
    prompt_twice: bool
    """Both answers begin with the prompt."""
    damaged: bool
    """It holds what programs write in place of a character that they cannot read."""
    no_value: bool
    """A text of it is what programs write where there is no value."""
    written_bytes: bool
    """A text of it stands in ``b'…'``."""
    misread: bool
    """It holds text in UTF-8 that was read in another encoding."""
    all_json: bool
    """All its texts are written as JSON."""
    escaped: bool
    """The line breaks of both answers are written as a backslash and an n."""


def check_pair(raw: RawPair, source: str, *, turns: bool) -> tuple[Pair, Remarks]:
    """A raw pair as a usable one; with ``turns`` those of its prompt stay marked. Its id is the same either way.

    Raises:
        RowError: ``InvalidUnicode``, ``TooLarge``, ``EmptyPrompt``, ``EmptyAnswer`` or ``IdenticalAnswers``.
    """
    before = (unmarked(raw.prompt), raw.answer_1, raw.answer_2)
    if not all(map(is_usable, (*before, source))):
        raise RowError("InvalidUnicode", "a lone surrogate or a NUL character")
    prompt, one, other = map(clean, before)
    normal_prompt, normal_one, normal_other = map(normal_form, (prompt, one, other))
    if max(map(len, (normal_prompt, normal_one, normal_other))) > MAX_ROW_BYTES:
        raise RowError("TooLarge", "characters that stand for many others make a text of more than 16 million of it, as tokenizers read it")
    if not normal_prompt:
        raise RowError("EmptyPrompt", "the prompt is empty or white space")
    if not normal_one or not normal_other:
        raise RowError("EmptyAnswer", "an answer is empty or white space")
    if normal_one == normal_other:
        raise RowError("IdenticalAnswers", "the two answers are the same, letter case and white space aside")
    remarks = Remarks(
        cleaned=(prompt, one, other) != tuple(map(str.strip, before)),
        special_tokens=any(map(holds_special_tokens, (one, other))) or is_marked(prompt) or all(map(begins_with_a_role, (one, other))),
        secrets=any(map(holds_secrets, (prompt, one, other))),
        prompt_twice=normal_one.startswith(normal_prompt) and normal_other.startswith(normal_prompt),
        damaged=any("\ufffd" in text for text in (prompt, one, other)),
        no_value=any(map(stands_for_no_value, (prompt, one, other))),
        written_bytes=any(map(is_written_bytes, (prompt, one, other))),
        misread=any(map(was_misread, (prompt, one, other))),
        all_json=all(map(is_json, (prompt, one, other))),
        escaped=all(map(is_escaped, (one, other))),
    )
    better = raw.better
    if normal_one > normal_other:
        one, other, normal_one, normal_other = other, one, normal_other, normal_one
        better = 3 - better if better else better
    kept = clean_prompt(raw.prompt) if turns else prompt
    return Pair(digest(normal_prompt, normal_one, normal_other).hex(), kept, one, other, better, source, raw.weight, raw.margin), remarks


def is_marked(prompt: str) -> bool:
    """True when special tokens or role markers stand in a prompt, beside those that it is rendered with."""
    return holds_special_tokens(_OWN_MARKERS.sub("", prompt)) or ends_with_a_role(prompt)


def pair_id(prompt: str, one: str, other: str) -> str:
    """The id that `check_pair` gives to a pair of these texts, in either order of its answers."""
    return digest(normal_form(clean(unmarked(prompt))), *sorted(normal_form(clean(answer)) for answer in (one, other))).hex()


@dataclass(slots=True)
class Tally:
    """Rows read and dropped from one field's data."""

    of_field: str
    """Of the specification, such as ``data.source``."""
    needed: int = 1
    """Rows with which the field could be used at all."""
    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    first: dict[str, BadRow] = field(default_factory=dict)
    """The first dropped row of each reason."""

    def drop(self, row: BadRow) -> None:
        """Count a dropped row."""
        self.dropped[row.reason] += 1
        self.first.setdefault(row.reason, row)

    def first_of_each(self) -> list[str]:
        """Place of the first unusable row of each reason, so that a user can find and repair it; repeated rows need none."""
        rows = [row for reason, row in sorted(self.first.items()) if reason not in REPEATS]
        return [f"{row.reason}: {self.dropped[row.reason]} dropped, the first in {row.file}, line {row.line}: {row.detail}" for row in rows]

    def check(self, max_fraction: float) -> None:
        """Refuse data of which too much had to be dropped.

        Raises:
            DataError: Its reason is that of most dropped rows; with file, first line, counts and remedy.
        """
        malformed = self.dropped["MalformedJson"]
        if malformed > max(1, MAX_MALFORMED_FRACTION * self.rows):
            raise self._error(
                "MalformedJson",
                f"more than {MAX_MALFORMED_FRACTION:.1%} of the rows are no JSON",
                "repair or export the file again, with one JSON object on each line",
            )
        unusable = sum(count for reason, count in self.dropped.items() if reason not in REPEATS)
        if unusable > max_fraction * self.rows:
            reason = max((name for name in self.dropped if name not in REPEATS), key=lambda name: (self.dropped[name], name))
            limit = f"{unusable} of {self.rows} rows of {self.of_field} cannot be used, more than data.maxDroppedFraction {max_fraction:g}"
            raise self._error(reason, limit, self._remedy(reason))

    def _remedy(self, reason: str) -> str:
        repair = _REPAIRS.get(reason, "repair the rows").format(field=self.of_field)
        left = self.rows - self.dropped.total()
        if reason == "BadLabel" or left < self.needed:  # of labels of 0 and 1 only those would be left that are read wrong
            return repair
        return f"{repair}; or raise data.maxDroppedFraction, if the {left} rows that are left are enough"

    def _error(self, reason: str, what: str, hint: str) -> DataError:
        row = self.first[reason]
        counts = ", ".join(f"{name} {count}" for name, count in self.dropped.most_common())
        return DataError(f"{row.file}, line {row.line}: {row.detail}; {what} ({counts})", reason=reason, hint=hint)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of a usable pair while all of them are compared: about 300 bytes, and no text."""

    id: str
    part: str
    prompt: bytes
    """Digest of the prompt's normal form."""
    group: bytes
    """Digest of the value that must not fall on two sides."""
    content: bytes
    """Digest of the exact text, then weight and margin: of near duplicates, the one with the lowest is kept in every order of the rows."""
    better: int | None
    file: str
    line: int

    @property
    def is_tie(self) -> bool:
        """Whether none of the answers is better."""
        return self.better == 0


def drop_repeats(entries: Sequence[Entry], tallies: dict[str, Tally]) -> list[int]:
    """Positions of the pairs that stay: each pair once, and none that is labelled both ways.

    A pair that occurs in several parts stays in the first of them (the order of ``tallies``), unless it is labelled both ways
    there; labels of a later part never decide about an earlier one. A tie gives way to a label of the same pair.
    """
    by_id: dict[str, list[int]] = {}
    for position, entry in enumerate(entries):
        by_id.setdefault(entry.id, []).append(position)
    kept = []
    for positions in by_id.values():
        parts = [name for name in tallies if any(entries[position].part == name for position in positions)]
        home = [position for position in positions if entries[position].part == parts[0]]
        contradictory = len({entries[position].better for position in home} - {None, 0}) > 1
        best = min(home, key=lambda position: (entries[position].better is None, entries[position].is_tie, entries[position].content))
        if not contradictory:
            kept.append(best)
        for position in positions:
            if contradictory and position in home:
                _drop(entries[position], "ContradictoryLabel", "the same pair occurs with both labels", tallies)
            elif position != best or contradictory:
                _drop(entries[position], "Duplicate", "the pair occurred before", tallies)
    return sorted(kept)


def _drop(entry: Entry, reason: str, detail: str, tallies: dict[str, Tally]) -> None:
    tallies[entry.part].drop(BadRow(entry.file, entry.line, reason, detail))
