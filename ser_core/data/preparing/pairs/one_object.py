"""A file that is one object alone, whose rows stand inside it: as a list under a key, as columns, or by their numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from ser_core.data.reading.dialogues.messages import messages_in
from ser_core.data.reading.files.rows import Row
from ser_core.errors import DataError

_RECORDS = "with pandas: to_json(orient='records', lines=True)"


def refuse_one_object(rows: Sequence[Row]) -> None:
    """Refuse a file of one row whose values are rows or columns themselves.

    Args:
        rows: The first rows of the file.

    Raises:
        DataError: ``UnknownFormat``, with what to write instead.
    """
    if len(rows) != 1 or not rows[0].fields:
        return
    what = _inside(rows[0].fields)
    if what is not None:
        hint = f"write one object a line (.jsonl), or one list of them; {_RECORDS}"
        raise DataError(f"{rows[0].file} is one object, {what}", reason="UnknownFormat", hint=hint)


def _inside(fields: Mapping[str, Any]) -> str | None:
    lists = {name: value for name, value in fields.items() if isinstance(value, list) and len(value) > 1 and messages_in(value) is None}
    for name, value in lists.items():
        if all(isinstance(one, dict) for one in value):
            return f"whose rows stand in {name!r}"
    if len(lists) == len(fields) > 1:
        return "whose values are columns"
    if len(fields) > 1 and all(isinstance(value, dict) and messages_in(value) is None for value in fields.values()):
        return "whose values are rows or columns"
    return None
