"""Between one operator and the API server: counts its requests, and loses, delays or cuts what a test says.

The operator speaks plain HTTP to it and brings its own token, which is passed on: whatever it may do, it may do through here only.
"""

import asyncio
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOP_HEADERS = frozenset({"host", "connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request that would change something."""

    number: int
    """0 is the first one that this proxy saw."""
    method: str
    path: str

    @property
    def what(self) -> str:
        """``create jobs``, ``patch serruns/status``, ``delete jobs``, ``create events``."""
        verb = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}[self.method]
        parts = self.path.split("?")[0].strip("/").split("/")
        after = parts[parts.index("namespaces") + 2 :] if "namespaces" in parts else parts
        return f"{verb} {after[0]}{f'/{after[2]}' if len(after) > 2 else ''}"


class FaultProxy:
    """A proxy in a thread of its own. Use as a context manager.

    Attributes:
        before: Called with each mutating call before it is passed on.
        refuse: Called with each mutating call; a status code other than 0 is answered instead of passing it on.
        refuse_read: Called with the path of each GET that is no watch; a status code other than 0 is answered instead.
        after: Called with it and the answer's code before the answer is passed back; True loses the answer.
        watch_delay: Seconds that each line of a watch is held back.
        keep_event: False for a watch event (a dict) loses it; None keeps all and reads none, however deep it is.
    """

    def __init__(self, server: str, authority: Path) -> None:
        self._server = server.rstrip("/")
        self._tls = ssl.create_default_context(cafile=str(authority))
        self.before: Callable[[Call], None] = lambda _call: None
        self.refuse: Callable[[Call], int] = lambda _call: 0
        self.refuse_read: Callable[[str], int] = lambda _path: 0
        self.after: Callable[[Call, int], bool | None] = lambda _call, _code: None
        self.watch_delay = 0.0
        self.keep_event: Callable[[dict], bool] | None = None
        self.calls: list[tuple[float, Call, int]] = []
        self.requests: Counter[str] = Counter()
        self._cut = False
        self._number = 0

    def __enter__(self) -> "FaultProxy":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="fault-proxy", daemon=True)
        self._thread.start()
        if not ready.wait(60):
            raise TimeoutError("the fault proxy did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def kubeconfig(self, folder: Path, token: str, namespace: str) -> Path:
        """A kubeconfig whose only door is this proxy."""
        path = folder / f"kubeconfig-{self.url.rpartition(':')[2]}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
            "current-context": "x",
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def cut(self) -> None:
        """Break every connection, and refuse new ones until `heal`."""
        self._cut = True
        self._loop.call_soon_threadsafe(self._break)

    def heal(self) -> None:
        """Let requests pass again."""
        self._cut = False

    def writes(self) -> list[str]:
        """What was changed, in order, those that the API server accepted."""
        return [call.what for _, call, code in self.calls if code < 300]

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._open: set[asyncio.Task] = set()
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=True, timeout=aiohttp.ClientTimeout(total=None)) as session:
            self._session = session
            application = web.Application(client_max_size=16 * 1024 * 1024)
            application.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            ready.set()
            await self._stop.wait()
            self._break()
            await runner.cleanup()
        await asyncio.sleep(0.2)  # TLS connections take some turns of the loop to close

    def _break(self) -> None:
        for task in self._open:
            task.cancel()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if self._cut:
                return self._reset(request)
            return await self._forward(request)
        except (asyncio.CancelledError, OSError, aiohttp.ClientError):  # cut, or one of the two is gone
            return self._reset(request)
        finally:
            self._open.discard(task)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        watch = request.query.get("watch") in ("true", "1")
        self.requests[f"{'WATCH' if watch else request.method}"] += 1
        call = None
        if request.method in MUTATING:
            call = Call(self._number, request.method, request.path_qs)
            self._number += 1
            await asyncio.to_thread(self.before, call)
            if code := self.refuse(call):
                self.calls.append((time.monotonic(), call, code))
                return _refusal(code)
        elif not watch and (code := self.refuse_read(request.path)):
            return _refusal(code)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS}
        async with self._session.request(request.method, self._server + request.path_qs, headers=headers, data=body or None) as answer:
            if watch and answer.status == 200:
                return await self._stream(request, answer)
            content = await answer.read()
            if call is not None:
                self.calls.append((time.monotonic(), call, answer.status))
                if await asyncio.to_thread(self.after, call, answer.status):
                    return self._reset(request)
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_HEADERS}
            return web.Response(status=answer.status, body=content, headers=kept)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=200, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        rest = b""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.create_task(self._send_late(held, response))
        try:
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line and (self.keep_event is None or self.keep_event(json.loads(line))):
                        held.put_nowait((time.monotonic() + self.watch_delay, line))
        finally:
            sender.cancel()
        return response

    @staticmethod
    async def _send_late(held: "asyncio.Queue[tuple[float, bytes]]", response: web.StreamResponse) -> None:
        while True:
            due, line = await held.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await response.write(line + b"\n")

    @staticmethod
    def _reset(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=599)


def _refusal(code: int) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": "refused by the fault proxy"}, status=code)
