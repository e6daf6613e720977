"""How a specification names columns: the line that a hint tells a user to write."""

import json
import re
from collections.abc import Collection, Mapping

_KEYS = {"answer_1": "response_1", "answer_2": "response_2"}


def keys_of(names: Mapping[str, str], there: Collection[str]) -> dict[str, str]:
    """The keys of ``columns`` that say what a layout reads.

    Args:
        names: Column of the file by column of the form.
        there: Columns of the file; what it does not have is left out.
    """
    return {_KEYS.get(name, name): own for name, own in names.items() if own in there}


def columns_line(field: str, keys: Mapping[str, str], first: Collection[str] | None = None) -> str:
    """Such as ``data.source.columns: {prompt: question, chosen: good, rejected: bad}``, which YAML reads.

    Args:
        field: Of the specification, such as ``data.source``.
        keys: Columns of the file by key of ``columns``.
        first: Columns of the first rows, among which named ones are looked for; None where all of these are.
    """
    line = f"{field}.columns: {{{', '.join(f'{key}: {_scalar(own)}' for key, own in keys.items())}}}"
    late = [repr(own) for own in keys.values() if first is not None and own not in first]
    return f"{line} (put a row with {' and '.join(late)} first)" if late else line


def _scalar(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_][-\w. /]*(?<! )", text, re.ASCII) else json.dumps(text, ensure_ascii=False)
