"""HTTP to the API server: one session, JSON both ways, an error with the server's own words.

Of the official client only the configuration is used (kubeconfigs, the token of a pod read again). Its requests ask two threads for the
proxies of the environment and walk through every body three times, which takes four times as long as the request itself.
"""

import json
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

from ser_core.errors import SpecError
from ser_operator.facts.reading import Object

NO_ANSWER, FORBIDDEN, NOT_FOUND, CONFLICT = 0, 403, 404, 409
CONNECT_SECONDS = 5.0
_NO_PLAIN_TEXT_OF_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
TellRequest = Callable[[str, int, float], None]
"""Told of each request: HTTP method, status (`NO_ANSWER` without one; any success is 200) and seconds."""


class ApiError(Exception):
    """The API server refused or failed.

    Attributes:
        code: HTTP status; 0 when there was no answer.
        retry_after: Seconds that the server asks to wait; None when it does not.
    """

    def __init__(self, code: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class Transport:
    """One server and one user. Made in a running event loop, and closed there.

    Args:
        configuration: Server, credentials and certificates.
        request_seconds: Longest wait for one answer.
    """

    def __init__(self, configuration: Configuration, request_seconds: float) -> None:
        self._configuration = configuration
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_tls(configuration)),
            timeout=aiohttp.ClientTimeout(connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=request_seconds),
            proxy=configuration.proxy,
        )
        self.tell: TellRequest = lambda *_: None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """The answer to a request.

        Raises:
            ApiError: There was none, or it was a refusal.
        """
        began, code = time.monotonic(), NO_ANSWER
        try:
            answer, content = await self._exchange(method, path, query, body, content_type)
            code = 200 if answer.ok else answer.status
        except (OSError, TimeoutError, aiohttp.ClientError) as error:  # an answer that breaks off is no OSError
            raise ApiError(NO_ANSWER, f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            self.tell(method, code, time.monotonic() - began)
        if not answer.ok:
            raise ApiError(answer.status, f"{answer.status} {answer.reason}: {_words(content)}", _retry_after(answer.headers))
        found: Object = json.loads(content)
        return found

    async def _exchange(
        self, method: str, path: str, query: Sequence[tuple[str, str]], body: Object | None, content_type: str
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        authorization = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if authorization:
            headers["Authorization"] = authorization
        data = None if body is None else json_and_yaml(body)
        async with self._session.request(method, self._configuration.host + path, params=query, data=data, headers=headers) as answer:
            return answer, await answer.read()


def _words(content: bytes) -> str:
    """What the server says in an answer that is no success."""
    try:
        told = str(json.loads(content)["message"])
    except (ValueError, LookupError, TypeError):
        told = content.decode(errors="replace")
    return told[:500]


def json_and_yaml(body: Object) -> bytes:
    """``body`` as JSON that means the same as YAML, which server-side apply reads.

    YAML knows no pairs of \\ud83d escapes, so an emoji stands for itself. Control characters may not, and some line ends would
    become spaces.
    """
    text = json.dumps(body, ensure_ascii=False)
    return _NO_PLAIN_TEXT_OF_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


async def configuration(environment: Mapping[str, str] = os.environ) -> Configuration:
    """How to reach the cluster: `KUBECONFIG` where it is set, else the pod's own ServiceAccount.

    Raises:
        SpecError: Neither names a cluster and a user, their certificates cannot be read, or the server's is for another name.
    """
    found, file = Configuration(), environment.get("KUBECONFIG")
    try:
        if file:
            await load_kube_config(config_file=file, client_configuration=found)
        else:
            load_incluster_config(client_configuration=found)
        _tls(found)
    except (ConfigException, OSError, YAMLError, LookupError, TypeError, AttributeError, ValueError) as error:
        where = f"KUBECONFIG={file} names no cluster" if file else "KUBECONFIG is not set, and this is no pod of a cluster"
        told = " ".join(str(error).removeprefix("Invalid kube-config file. ").split())
        hint = "set KUBECONFIG to a file with which kubectl reaches the cluster"
        raise SpecError(f"{where}: {told}", hint=hint) from error
    if found.tls_server_name:  # kopf, which watches, knows no such thing
        told = f"KUBECONFIG={file} sets tls-server-name: {found.tls_server_name}, which the operator's watches cannot use"
        raise SpecError(told, hint="leave it out, and write a name or address of the API server into server that its certificate has")
    return found


def authorities(configuration: Configuration) -> str:
    """The certificate authorities (PEM) of the API server; empty: none are configured."""
    return Path(configuration.ssl_ca_cert).read_text(encoding="utf-8") if configuration.ssl_ca_cert else ""


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None
