"""``/progress`` of a stage in a pod, which the operator shows in the run's status, and ``/metrics``, which Prometheus scrapes.

The server listens on the pod's own address only. It changes nothing, and shows no data of the run except numbers and names.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

Progress = Mapping[str, Any]


@contextlib.contextmanager
def progress_server(environment: Mapping[str, str], latest: Callable[[], Progress | None], metrics: Callable[[], bytes]) -> Iterator[None]:
    """Serve the latest progress and the metrics while the context is open, on ``POD_IP`` and ``SER_PROGRESS_PORT`` if both are set.

    If the address cannot be used, the stage runs without a server.
    """
    address, port = environment.get("POD_IP"), environment.get("SER_PROGRESS_PORT")
    if not address or not port:
        yield
        return
    try:
        server = _Server((address, int(port)), _handler(latest, metrics))
    except OSError:
        yield
        return
    thread = threading.Thread(target=server.serve_forever, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


def _handler(latest: Callable[[], Progress | None], metrics: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            body, kind = b"", "application/json"
            if self.path == "/metrics":
                body, kind = metrics(), CONTENT_TYPE_PLAIN_0_0_4
            elif self.path == "/progress" and (said := latest()) is not None:
                body = json.dumps(said).encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Standard output belongs to the stage's events."""

    return Handler
