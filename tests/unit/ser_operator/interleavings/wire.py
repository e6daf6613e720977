"""What lies between one operator process and the API server: every request, every answer and every word of a watch waits to be let go.

What is told of one object comes in order. What is told of different objects, and answers, come in any order.
"""

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field

from ser_operator.cluster.kubernetes_api import Page
from ser_operator.cluster.transport import ApiError
from ser_operator.facts.reading import name, uid

from .server import Server

PAGE = 2
"""Objects of a page of a LIST."""


@dataclass(frozen=True, eq=False)
class Message:
    """A request, or an answer, that is on its way."""

    what: str
    since: float
    """Seconds of the loop."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


def late(method):
    """A request that takes a while, and whose answer takes a while. Who has given up waiting, or is dead, does not take it back."""

    async def call(self, *arguments):
        request = asyncio.ensure_future(self.carry(method, arguments))
        request.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(self.patience):
                return await asyncio.shield(request)
        except TimeoutError as error:
            raise ApiError(0, "no answer") from error

    return call


class Wire:
    """``messages`` are on their way, and ``news`` wait in the watches, by kind and UID.

    Args:
        server: At its other end.
        fails: Whether a request fails now: it is then lost, or its answer is.
        patience: Seconds after which a request is given up; None: never.

    Attributes:
        watched: Kinds.
        is_unheard: Whether anything went that no watch tells of: only a LIST does.
    """

    def __init__(self, server, fails, patience):
        self.server, self.fails, self.patience = server, fails, patience
        self.messages, self.news, self.watched = [], defaultdict(deque), []
        self.is_unheard = False
        server.wires.append(self)

    def cut(self):
        """The process is dead. Its requests go on; nobody waits for the answers."""
        self.server.wires.remove(self)
        self.messages = [one for one in self.messages if not one.what.startswith(("answer", "LIST"))]
        self.news.clear()

    def hear(self, what, thing):
        """Something has happened."""
        kind = thing.get("kind", "Pod")
        if kind in self.watched:
            self.news[kind, uid(thing)].append({"type": what, "object": thing})
        self.is_unheard |= kind not in self.watched and what == "DELETED"

    def watch(self, kind):
        """A watch begins, or begins anew: it tells of all that is there, and not of what is gone."""
        self.watched.append(kind)
        for thing in self.server.shown(kind):
            self.news[kind, uid(thing)].append({"type": None, "object": thing})

    def lose_watch(self, kind):
        """What it has not told yet it will not tell."""
        self.watched.remove(kind)
        for key in [key for key in self.news if key[0] == kind]:
            self.is_unheard |= any(event["type"] == "DELETED" for event in self.news.pop(key))

    async def message(self, what):
        one = Message(what, asyncio.get_running_loop().time())
        self.messages.append(one)
        try:
            await one.arrived.wait()
        finally:
            if one in self.messages:
                self.messages.remove(one)

    def let_go(self, message):
        self.messages.remove(message)
        message.arrived.set()

    async def carry(self, method, arguments):
        """To the server and back."""
        what = f"{method.__name__} {[name(one) if isinstance(one, dict) else one for one in arguments]}"
        await self.message(what)
        self._fail(what)
        answer, refusal = None, None
        try:
            answer = await method(self.server, *arguments)
        except ApiError as error:
            refusal = error
        if self in self.server.wires:
            await self.message(f"answer to {what}")
            self._fail(f"answer to {what}")
        if refusal is not None:
            raise refusal
        return answer

    def _fail(self, what):
        if self.fails():
            self.server.history.append(f"   lost: {what}")
            raise ApiError(503, "busy")

    get_run, get_job, get_service = late(Server.get_run), late(Server.get_job), late(Server.get_service)
    create_job, create_service, list_pods = late(Server.create_job), late(Server.create_service), late(Server.list_pods)
    apply_status, delete_job = late(Server.apply_status), late(Server.delete_job)

    async def pages(self, kind, namespace, selector=""):
        """As many as it takes, all of the version that the first one has."""
        await self._page(f"LIST {kind} {namespace}")
        version, things = self.server.version, self.server.shown(kind, namespace)
        for start in range(0, max(len(things), 1), PAGE):
            await self._page(f"answer to LIST {kind} {namespace} from {start}")
            yield Page(version, things[start : start + PAGE])

    async def _page(self, what):
        try:
            async with asyncio.timeout(self.patience):
                await self.message(what)
        except TimeoutError as error:
            raise ApiError(0, "no answer") from error
        self._fail(what)

    async def list_events(self, namespace, of):
        """There are none."""
        return []

    async def list_workloads(self, namespace, job_uid):
        """The queue says nothing."""
        return []

    async def create_event(self, event):
        """Nobody reads them here."""

    def tell_requests(self, tell):
        """Nobody counts them here."""
