"""Amounts with a unit: durations in Go's form, CPUs and memory in Kubernetes'. Each has a largest and a smallest that makes sense."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ser_core.api.values.forms import Form, Limit
from ser_core.api.values.quantity import quantity

LONGEST_HOURS = 87_600
"""Ten years. Who means "never" leaves the field out; much longer durations reach beyond what calendars can count."""
LEAST_CPUS, MOST_CPUS = "1m", 4096
"""Kubernetes counts no finer; more no machine has."""
LEAST_MEMORY, MOST_MEMORY = "16Mi", "64Ti"
"""With less no container starts; more no machine has."""

_QUANTITY, _ZERO = r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", "[0.]*[A-Za-z]*"
_FEW_DIGITS = "0*([0-9]{1,6}h)?0*([0-9]{1,7}m)?0*([0-9]{1,9}s)?"
"""Durations that CEL, which counts nanoseconds in 64 bits, can hold; all others are longer than ten years."""


def duration_seconds(duration: str) -> int:
    """Seconds of a `Duration` such as ``1h30m``, at most ten years.

    Raises:
        ValueError: The text is no duration, or none above zero; it names the accepted forms.
    """
    return min(_seconds(DURATION.check(duration)), LONGEST_HOURS * 3600)


def _seconds(duration: str) -> int:
    parts = re.fullmatch(DURATION.pattern, duration)
    values = parts.groups() if parts else ()
    return sum(int(part[:-1]) * unit for part, unit in zip(values, (3600, 60, 1), strict=True) if part)


def _as_text(value: Any) -> Any:
    """A whole number as the text that says it: YAML takes ``cpu: 4`` for a number, and so does the API server."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _int_or_string(form: Form) -> Any:
    def say(schema: dict[str, Any]) -> None:
        del schema["type"]
        schema |= {"x-kubernetes-int-or-string": True, **form.schema}

    return Field(json_schema_extra=say)


def _amounts(pattern: str, least: str, most: str) -> Limit:
    """Quantities of a narrower pattern between two others."""
    text = "string(self)"
    bounds = f"quantity({text}).compareTo(quantity('{least}')) >= 0 && quantity({text}).compareTo(quantity('{most}')) <= 0"
    return Limit(
        lambda text: re.fullmatch(pattern, text) is not None and quantity(least) <= quantity(text) <= quantity(most),
        f"{text}.matches(r'^({pattern})$') && {bounds}",
    )


DURATION = Form(
    r"([0-9]+h)?([0-9]+m)?([0-9]+s)?",
    "is no duration up to ten years: write hours, minutes and seconds such as 36h, 1h30m or 90s",
    max_length=20,
    but_not="[0hms]*",
    limit=Limit(
        lambda text: _seconds(text) <= LONGEST_HOURS * 3600,
        f"self.matches(r'^{_FEW_DIGITS}$') && !self.matches(r'^[0hms]*$') && duration(self) <= duration('{LONGEST_HOURS}h')",
    ),
)
PAUSE = Form(
    r"([0-9]{1,2}h)?([0-9]{1,3}m)?([0-9]{1,4}s)?",
    "is no pause: write hours (at most two digits), minutes and seconds such as 10s or 5m",
    max_length=12,
    but_not="[0hms]*",
)
CPUS = Form(
    _QUANTITY,
    f"is no number of CPUs from {LEAST_CPUS} to {MOST_CPUS}: write one such as 2, '0.5' or 500m",
    max_length=20,
    but_not=_ZERO,
    limit=_amounts(r"[0-9]+m|[0-9]+(\.[0-9]{1,3})?", LEAST_CPUS, str(MOST_CPUS)),
)
MEMORY = Form(
    _QUANTITY,
    f"is no amount of memory from {LEAST_MEMORY} to {MOST_MEMORY}: write one such as 512Mi or 16Gi",
    max_length=20,
    but_not=_ZERO,
    limit=_amounts(r"[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?", LEAST_MEMORY, MOST_MEMORY),
)

Duration = Annotated[str, BeforeValidator(DURATION.check_field), Field(json_schema_extra=DURATION.schema)]
"""Hours, minutes and seconds in Go's form: ``36h``, ``1h30m``, ``90s``."""
Pause = Annotated[str, BeforeValidator(PAUSE.check_field), Field(json_schema_extra=PAUSE.schema)]
"""A short duration: ``10s``, ``5m``."""
Cpus = Annotated[str, BeforeValidator(CPUS.check_field), BeforeValidator(_as_text), _int_or_string(CPUS)]
"""Number of CPUs as Kubernetes writes it: ``2``, ``0.5``, ``500m``."""
Memory = Annotated[str, BeforeValidator(MEMORY.check_field), BeforeValidator(_as_text), _int_or_string(MEMORY)]
"""Bytes as Kubernetes writes them: ``512Mi``, ``16Gi``, ``1073741824``."""
