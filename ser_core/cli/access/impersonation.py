"""As whom a user of a kubeconfig acts. kubectl says it with every request; the official client does not, so it acts with more rights."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ser_core.errors import SpecError


def impersonation(user: Mapping[str, Any]) -> dict[str, str]:
    """Headers of every request.

    Args:
        user: What a kubeconfig says of a user (client-go, tools/clientcmd/api/v1/types.go).

    Raises:
        SpecError: It has several values where the client can send one (``NotSupported``).
    """
    headers: dict[str, str] = {}
    for field, header, value in _said(user):
        if header in headers:
            raise SpecError(
                f"the kubeconfig acts with several values of {field}, and ser can send one",
                reason="NotSupported",
                hint="give a --context or --kubeconfig that has one, or none",
            )
        headers[header] = value
    return headers


def _said(user: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for field, header in (("as", "Impersonate-User"), ("as-uid", "Impersonate-Uid")):
        if user.get(field):
            yield field, header, str(user[field])
    for group in user.get("as-groups") or ():
        yield "as-groups", "Impersonate-Group", str(group)
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            yield f"as-user-extra.{key}", f"Impersonate-Extra-{quote(str(key), safe='')}", str(value)
