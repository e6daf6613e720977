"""Texts of one form: pydantic and the API server check the same pattern, and both say the same about a text of another form.

A form never gets narrower, since what was accepted once stays in clusters and stores, and is still read. What is too much is a `Limit`:
it is refused in a SERRun that somebody writes now, and borne in one that exists.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, ValidationInfo

from ser_core.api.guarded import AllowList, Guarded

_SHOWN_CHARACTERS = 40
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


NEW: Final = "new"
"""Validation context of a SERRun that somebody writes now: limits hold."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a text of a form must also keep when somebody writes it now."""

    keeps: Callable[[str], bool]
    cel: str
    """The same and the form, in CEL, of ``self``."""

    @classmethod
    def pattern(cls, pattern: str) -> Self:
        """The whole text matches ``pattern``, which is narrower than the form's."""
        return cls(lambda text: _is(pattern, text), f"self.matches(r'^({pattern})$')")


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
    limit: Limit | None = None

    def has(self, value: Any) -> bool:
        """Whether it is a text of this form."""
        if not isinstance(value, str) or len(value) > self.max_length:
            return False
        return _is(self.pattern, value) and not (self.but_not and _is(self.but_not, value))

    def check(self, value: Any) -> Any:
        """Return ``value`` if it is a text of this form, else raise ValueError."""
        if isinstance(value, str) and len(value) > self.max_length:
            raise ValueError(f"{value!r:.{_SHOWN_CHARACTERS}}… is {len(value)} characters long: at most {self.max_length}")
        if not self.has(value):
            raise ValueError(f"{value!r:.{_SHOWN_CHARACTERS}} {self.wanted}")
        return value

    def check_field(self, value: Any, info: ValidationInfo) -> Any:
        """The same of a field; in a new SERRun its limit holds too."""
        self.check(value)
        if self.limit is not None and info.context == NEW and not self.limit.keeps(value):
            raise ValueError(f"{value!r:.{_SHOWN_CHARACTERS}} {self.wanted}")
        return value

    @property
    def field(self) -> AfterValidator:
        """The check of a text field's value."""
        return AfterValidator(self.check_field)

    def holds(self, name: str = "self") -> str:
        """The same check in CEL, of the variable ``name``. Its length is the schema's affair."""
        unlike = f" && !{name}.matches(r'^({self.but_not})$')" if self.but_not else ""
        return f"{name}.matches(r'^({self.pattern})$'){unlike}"

    @property
    def schema(self) -> dict[str, Any]:
        """What the CRD says of a field of this form."""
        rule = self.holds() if self.limit is None else self.limit.cel
        return {"maxLength": self.max_length, "x-kubernetes-validations": [{"rule": rule, "message": self.wanted}]}


def _is(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.ASCII) is not None  # as RE2, where \s and \w know ASCII alone


_HOST = r"([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
ENDPOINT = Form(
    r"https?://[^\s/@]+(/\S*)?",
    "is no URL without credentials: write https://host:port",
    max_length=500,
    limit=Limit.pattern(rf"https?://{_HOST}(/[!-~]*)?"),
)
REGION = Form(
    r"[A-Za-z0-9-]+",
    "is no region: write one such as eu-central-1",
    max_length=60,
    limit=Limit.pattern("[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?"),
)
DATA_KEY = Form(r"[-._A-Za-z0-9]+", "is no key of a Secret or ConfigMap: write one such as ca.crt", max_length=253, but_not=r"\.|\.\..*")
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

Endpoint = Annotated[str, ENDPOINT.field, Field(json_schema_extra=ENDPOINT.schema), Guarded(AllowList.ENDPOINTS)]
"""URL of a server, without credentials."""
Region = Annotated[str, REGION.field, Field(json_schema_extra=REGION.schema)]
"""Region of a bucket."""
DataKey = Annotated[str, DATA_KEY.field, Field(json_schema_extra=DATA_KEY.schema)]
"""Key of a Secret or ConfigMap."""
Name = Annotated[str, NAME.field, Field(json_schema_extra=NAME.schema)]
"""Name of a Kubernetes object: a DNS subdomain."""
SecretName = Annotated[Name, Guarded(AllowList.SECRETS)]
"""Name of a Secret of the run's namespace."""
PriorityClass = Annotated[Name, Guarded(AllowList.PRIORITY_CLASSES)]
"""Name of a PriorityClass."""
Namespace = Annotated[str, NAMESPACE.field]
"""Name of a namespace: a DNS label."""
QueueName = Annotated[str, QUEUE.field, Field(json_schema_extra=QUEUE.schema), Guarded(AllowList.QUEUES)]
"""Name of a Kueue queue, short enough for a label."""
LabelKey = Annotated[str, LABEL_KEY.field, Field(json_schema_extra=LABEL_KEY.schema)]
"""Key of a label or taint."""
LabelValue = Annotated[str, LABEL_VALUE.field, Field(json_schema_extra=LABEL_VALUE.schema)]
"""Value of a label or taint."""

LABEL_KEYS: dict[str, Any] = {
    "x-kubernetes-validations": [{"rule": f"self.all(key, {LABEL_KEY.holds('key')})", "message": f"a key {LABEL_KEY.wanted}"}]
}
"""What the CRD says of a map whose keys are label keys."""
