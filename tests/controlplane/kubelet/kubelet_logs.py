"""The one page of the process kubelet that the API server asks for: the log of a container, over TLS as a kubelet serves it."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane.kubelet.kubelet import ProcessKubelet
from controlplane.plane.api_client import ApiClient
from controlplane.plane.certificates import Authority


class KubeletLogs:
    """Serves ``/containerLogs/<namespace>/<pod>/<container>`` on loopback, and tells the API server where.

    Args:
        kubelet: Whose logs.
        api: To change the node.
        node: Name of the node. It loses its host name, which nobody resolves.
        folder: For the key.
    """

    def __init__(self, kubelet: ProcessKubelet, api: ApiClient, node: str, folder: Path) -> None:
        self._api, self._path = api, f"/api/v1/nodes/{node}/status"

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _, namespace, pod, _ = self.path.partition("?")[0].strip("/").split("/")
                content = kubelet.logs(namespace, pod).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        Authority(folder).issue("kubelet", "kubelet", addresses=("127.0.0.1",))  # the API server of the tests verifies no kubelet
        context.load_cert_chain(folder / "kubelet.crt", folder / "kubelet.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        endpoint = {"kubeletEndpoint": {"Port": self._server.server_port}}
        self._before = self._api.get(self._path)["status"]["addresses"]
        self._api.patch(
            self._path, {"status": {"daemonEndpoints": endpoint, "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._api.patch(self._path, {"status": {"daemonEndpoints": None, "addresses": self._before}})
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
