"""GPUs where there are none: a page like those of NVIDIA's DCGM exporter and of stages with GPUs, for the pods that a test names."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

GPUS = 2
UTILISATION = (93, 87)
MEMORY = {"allocated": 41e9, "reserved": 52e9, "peak": 61e9, "total": 85e9}


@dataclass(frozen=True)
class Pod:
    """A pod that holds GPUs.

    Attributes:
        node: Where it runs.
    """

    namespace: str
    name: str
    node: str
    run: str
    iteration: str
    stage: str


class GpuExporter:
    """Serves the page on loopback from entering the context to leaving it.

    What DCGM says of the first GPU is named as Prometheus does with ``honorLabels``, of the second as without: boards must find both.
    """

    def __init__(self) -> None:
        self._pods: Sequence[Pod] = ()
        exporter = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = "".join(f"{line}\n" for pod in exporter._pods for line in _lines(pod)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # on a busy machine a scrape is given up
                    self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def show(self, pods: Sequence[Pod]) -> None:
        """From now on these pods hold GPUs, and no others."""
        self._pods = pods


def _lines(pod: Pod) -> Iterator[str]:
    for gpu in range(GPUS):
        prefix = "exported_" if gpu else ""
        owner = {f"{prefix}namespace": pod.namespace, f"{prefix}pod": pod.name}
        yield _line("DCGM_FI_DEV_GPU_UTIL", UTILISATION[gpu], gpu=str(gpu), Hostname=pod.node, **owner)
        stage = {"namespace": pod.namespace, "run": pod.run, "iteration": pod.iteration, "stage": pod.stage}
        for use, size in MEMORY.items():
            yield _line("ser_stage_gpu_memory_bytes", size, device=str(gpu), use=use, **stage)


def _line(metric: str, value: float, **labels: str) -> str:
    return f"{metric}{{{','.join(f'{name}={chr(34)}{text}{chr(34)}' for name, text in labels.items())}}} {value}"
