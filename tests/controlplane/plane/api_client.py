"""The Kubernetes API as plain dicts: what the fixtures and the tests need of it, over one pool of connections."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from ser_operator.cluster.transport import json_and_yaml

Object = dict[str, Any]

MERGE, STRATEGIC, APPLY = "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        code: HTTP status.
        message: The server's own words.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class ApiClient:
    """One user of one API server. Safe to share between threads."""

    def __init__(self, port: int, token: str, certificate: Path) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}"}
        self._certificate = certificate
        self._pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1", port, maxsize=32, ca_certs=str(certificate), timeout=urllib3.Timeout(connect=60, read=60), retries=False
        )

    def get(self, path: str, **query: str) -> Object:
        """The object or list at a path, such as ``/api/v1/pods``; ``labelSelector`` and the like by keyword."""
        return self._request("GET", path, query=query)

    def find(self, path: str) -> Object | None:
        """The object at a path; None when there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.code == http.client.NOT_FOUND:
                return None
            raise

    def items(self, path: str, **query: str) -> list[Object]:
        """All objects of a collection."""
        found: list[Object] = self.get(path, **query)["items"]
        return found

    def create(self, path: str, body: Object) -> Object:
        """Add an object to a collection, or post to a subresource."""
        return self._request("POST", path, body)

    def patch(self, path: str, body: Object, kind: str = MERGE) -> Object:
        """Change an object or its subresource."""
        return self._request("PATCH", path, body, content_type=kind)

    def delete(self, path: str, body: Object | None = None) -> None:
        """Delete an object; one that is gone already is fine."""
        try:
            self._request("DELETE", path, body)
        except ApiError as error:
            if error.code != http.client.NOT_FOUND:
                raise

    def text(self, path: str) -> str:
        """A plain answer, such as that of ``/readyz``."""
        return self._send("GET", path).decode()

    def close(self) -> None:
        """Give the connections back."""
        self._pool.close()

    def watch(self, path: str, query: Mapping[str, str]) -> "Watch":
        """Follow a collection."""
        return Watch(self._port, self._headers, self._certificate, f"{path}?{urlencode({**query, 'watch': 'true'})}")

    def _request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        answer: Object = json.loads(self._send(method, f"{path}?{urlencode(query)}" if query else path, body, content_type))
        return answer

    def _send(self, method: str, url: str, body: Object | None = None, content_type: str = "application/json") -> bytes:
        headers = {**self._headers, "Content-Type": content_type, "Accept": "application/json"}
        response = self._pool.request(method, url, body=None if body is None else json_and_yaml(body), headers=headers)
        if response.status >= http.client.BAD_REQUEST:
            raise ApiError(response.status, _reason(response.data))
        return response.data


class Watch:
    """An open watch. ``stop`` ends it from another thread, while one waits for the next event."""

    def __init__(self, port: int, headers: Mapping[str, str], certificate: Path, url: str) -> None:
        context = ssl.create_default_context(cafile=str(certificate))
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
        self._request = (url, dict(headers))
        self._stopped = False

    def events(self) -> Iterator[Object]:
        """Events until the server, or ``stop``, ends the watch."""
        url, headers = self._request
        try:
            self._connection.connect()
            if self._stopped:
                return
            self._connection.request("GET", url, headers=headers)
            with self._connection.getresponse() as response:
                if response.status >= http.client.BAD_REQUEST:
                    raise ApiError(response.status, _reason(response.read()))
                while line := response.readline():
                    yield json.loads(line)
        finally:
            self._connection.close()

    def stop(self) -> None:
        """End the watch."""
        self._stopped = True
        if (connected := self._connection.sock) is not None:
            try:
                # below TLS: another thread reads from it just now
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
            except OSError:
                return  # ended by itself


def _reason(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")[:500]
