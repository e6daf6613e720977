"""Texts of one form: pydantic and the API server check the same pattern, and both say the same about a text of another form."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

_SHOWN_CHARACTERS = 40
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


@dataclass(frozen=True, slots=True)
class Form:
    """What a text must look like."""

    pattern: str
    """The whole text matches this; understood alike by Python and by RE2."""
    wanted: str
    """What is wrong with a text that does not, and the remedy; the text stands before it."""
    max_length: int
    but_not: str | None = None
    """The whole text does not match this."""

    def check(self, value: Any) -> Any:
        """Return ``value`` if it is a text of this form, else raise ValueError."""
        if isinstance(value, str) and len(value) > self.max_length:
            raise ValueError(f"{value!r:.{_SHOWN_CHARACTERS}}… is {len(value)} characters long: at most {self.max_length}")
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value) or (self.but_not and re.fullmatch(self.but_not, value)):
            raise ValueError(f"{value!r:.{_SHOWN_CHARACTERS}} {self.wanted}")
        return value

    def holds(self, name: str = "self") -> str:
        """The same check in CEL, of the variable ``name``. Its length is the schema's affair."""
        unlike = f" && !{name}.matches(r'^({self.but_not})$')" if self.but_not else ""
        return f"{name}.matches(r'^({self.pattern})$'){unlike}"

    @property
    def schema(self) -> dict[str, Any]:
        """What the CRD says of a field of this form."""
        return {"maxLength": self.max_length, "x-kubernetes-validations": [{"rule": self.holds(), "message": self.wanted}]}


DURATION = Form(
    r"([0-9]+h)?([0-9]+m)?([0-9]+s)?",
    "is no duration: write hours, minutes and seconds such as 36h, 1h30m or 90s",
    max_length=20,
    but_not="[0hms]*",
)
PAUSE = Form(
    r"([0-9]{1,2}h)?([0-9]{1,3}m)?([0-9]{1,4}s)?",
    "is no pause: write hours (at most two digits), minutes and seconds such as 10s or 5m",
    max_length=12,
    but_not="[0hms]*",
)
QUANTITY = Form(
    r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?",
    "is no quantity in quotes: write '2', '500m' or '16Gi'",
    max_length=20,
    but_not=r"[0.]*[A-Za-z]*",
)
ENDPOINT = Form(r"https?://[^\s/@]+(/\S*)?", "is no URL without credentials: write https://host:port", max_length=500)
REGION = Form(r"[a-z0-9-]+", "is no region: write one such as eu-central-1", max_length=60)
NAME = Form(
    rf"{_DNS_LABEL}(\.{_DNS_LABEL})*", "is no name: use lower-case letters, digits, '-' and '.', such as team-a.data", max_length=253
)
NAMESPACE = Form(_DNS_LABEL, "is no namespace: use lower-case letters, digits and '-', such as team-a", max_length=63)
QUEUE = Form(NAME.pattern, NAME.wanted, max_length=63)
LABEL_KEY = Form(
    rf"({NAME.pattern}/)?{_LABEL}",
    "is no label key: write one such as pool or example.com/pool, with at most 63 characters",
    max_length=317,
)
LABEL_VALUE = Form(
    rf"({_LABEL})?", "is no label value: use at most 63 letters, digits, '-', '_' and '.', none of these three at an end", max_length=63
)

Duration = Annotated[str, BeforeValidator(DURATION.check), Field(json_schema_extra=DURATION.schema)]
"""Hours, minutes and seconds in Go's form: ``36h``, ``1h30m``, ``90s``."""
Pause = Annotated[str, BeforeValidator(PAUSE.check), Field(json_schema_extra=PAUSE.schema)]
"""A short duration: ``10s``, ``5m``."""
Quantity = Annotated[str, BeforeValidator(QUANTITY.check), Field(json_schema_extra=QUANTITY.schema)]
"""Kubernetes quantity: ``2``, ``500m``, ``16Gi``."""
Endpoint = Annotated[str, AfterValidator(ENDPOINT.check), Field(json_schema_extra=ENDPOINT.schema)]
"""URL of a server, without credentials."""
Region = Annotated[str, AfterValidator(REGION.check), Field(json_schema_extra=REGION.schema)]
"""Region of a bucket."""
Name = Annotated[str, AfterValidator(NAME.check), Field(json_schema_extra=NAME.schema)]
"""Name of a Kubernetes object: a DNS subdomain."""
Namespace = Annotated[str, AfterValidator(NAMESPACE.check)]
"""Name of a namespace: a DNS label."""
QueueName = Annotated[str, AfterValidator(QUEUE.check), Field(json_schema_extra=QUEUE.schema)]
"""Name of a Kueue queue, short enough for a label."""
LabelKey = Annotated[str, AfterValidator(LABEL_KEY.check), Field(json_schema_extra=LABEL_KEY.schema)]
"""Key of a label or taint."""
LabelValue = Annotated[str, AfterValidator(LABEL_VALUE.check), Field(json_schema_extra=LABEL_VALUE.schema)]
"""Value of a label or taint."""

LABEL_KEYS: dict[str, Any] = {
    "x-kubernetes-validations": [{"rule": f"self.all(key, {LABEL_KEY.holds('key')})", "message": f"a key {LABEL_KEY.wanted}"}]
}
"""What the CRD says of a map whose keys are label keys."""
