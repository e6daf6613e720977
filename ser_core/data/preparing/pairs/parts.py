"""A field of the specification that names data files: opening them, with errors that name the field."""

from collections.abc import Callable
from pathlib import Path

from ser_core.api.spec.places import PlaceSpec
from ser_core.data.reading.locations import Access
from ser_core.data.reading.sources import Source, open_source
from ser_core.errors import DataError


def open_part(field: str, spec: PlaceSpec, access: Access, folder: Path, alive: Callable[[], None]) -> Source:
    """Find and download the files of one field, such as ``data.seed``; arguments as of `open_source`.

    Raises:
        DataError: As of `open_source`, with the field.
        SpecError: The hub refuses access.
        StoreError: Store or hub cannot be reached.
    """
    try:
        return open_source(spec.uri, access, folder, alive, spec)
    except DataError as error:
        hint = error.hint or ""
        name = next((name for name in ("path", "subset", "split") if getattr(spec, name) and f"data.*.{name}" in hint), "uri")
        raise DataError(f"{field}.{name}: {error.message}", reason=error.reason, hint=of_part(hint, field)) from error


def of_part(text: str, field: str) -> str:
    """What is said of any field's files, said of this field's."""
    return text.replace("data.*", field)
