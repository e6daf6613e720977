"""A stand-in for the model hub: one model and its files, at an address of the node's network."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from node import addresses

ENDPOINT = f"http://{addresses.HUB}:{addresses.HUB_PORT}"
MODEL = "org/model"
_COMMIT = "c0ffee" + "0" * 34


@contextmanager
def hub(model: Path) -> Iterator[None]:
    """Serves the files of a folder as `MODEL`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path.partition("?")[0]).strip("/")
            if path.startswith(f"api/models/{MODEL}"):
                files = [{"rfilename": file.name} for file in model.iterdir()]
                self._answer(
                    200, json.dumps({"id": MODEL, "sha": _COMMIT, "siblings": files}).encode(), {"Content-Type": "application/json"}
                )
                return
            file = model / path.removeprefix(f"{MODEL}/resolve/{_COMMIT}/")
            if file.is_file():
                self._answer(200, file.read_bytes(), {"ETag": f'"{file.name}"', "X-Repo-Commit": _COMMIT})
            else:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})

        do_HEAD = do_GET

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer((addresses.HUB, addresses.HUB_PORT), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
