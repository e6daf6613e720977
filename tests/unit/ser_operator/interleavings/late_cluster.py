"""A cluster with one history, of which an operator hears late: every request, every answer and every word of a watch waits to be let go.

What is told of one object comes in order. What is told of different objects, and answers, come in any order.
"""

import asyncio
import copy
from collections import defaultdict, deque
from dataclasses import dataclass, field

from ser_operator.cluster.kubernetes_api import Page
from ser_operator.cluster.transport import ApiError
from ser_operator.facts.reading import name, uid

from ..conftest import FakeCluster

KINDS = ("SERRun", "Job", "Pod")
PAGE = 2
"""Objects of a page of a LIST."""


@dataclass(frozen=True, eq=False)
class Message:
    """A request, or an answer, that is on its way."""

    what: str
    arrived: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


def late(method):
    """A request that takes a while, and whose answer takes a while."""

    async def call(self, *arguments):
        what = f"{method.__name__} {[name(one) if isinstance(one, dict) else one for one in arguments]}"
        await self.message(what)
        try:
            return await method(self, *arguments)
        finally:
            await self.message(f"answer to {what}")

    return call


class LateCluster(FakeCluster):
    """``messages`` are on their way, and ``news`` wait in the watches, by kind and UID.

    Attributes:
        history: All that happened, to be read when a story ends badly.
        is_unheard: Whether anything went that no watch tells of: only a LIST does.
        fails: Whether a LIST fails now.
    """

    def __init__(self):
        super().__init__()
        self.version, self.history = 0, []
        self.messages, self.news, self.watched = [], defaultdict(deque), []
        self.is_unheard, self.fails = False, lambda: False

    def things(self, kind):
        """Objects of a kind by their key in the store."""
        return {"SERRun": self.runs, "Job": self.jobs, "Pod": self.pods}[kind]

    def stamp(self, thing):
        answer = super().stamp(thing)
        self.tell("MODIFIED", answer)
        return answer

    def delete(self, kind, key):
        """An object is gone, in a version of its own."""
        thing = self.things(kind).pop(key)
        thing["metadata"]["resourceVersion"] = str(next(self.versions))
        self.is_unheard |= kind not in self.watched
        self.tell("DELETED", copy.deepcopy(thing))

    def tell(self, what, thing):
        self.version = int(thing["metadata"]["resourceVersion"])
        kind = thing.get("kind", "Pod")
        self.history.append(f"{self.version}: {what} {kind} {name(thing)} {uid(thing)}")
        if kind in self.watched:
            self.news[kind, uid(thing)].append({"type": what, "object": thing})

    def watch(self, kind):
        """A watch begins, or begins anew: it tells of all that is there, and not of what is gone."""
        self.watched.append(kind)
        for thing in copy.deepcopy(list(self.things(kind).values())):
            self.news[kind, uid(thing)].append({"type": None, "object": thing})

    def lose_watch(self, kind):
        """What it has not told yet it will not tell."""
        self.watched.remove(kind)
        for key in [key for key in self.news if key[0] == kind]:
            self.is_unheard |= any(event["type"] == "DELETED" for event in self.news.pop(key))

    async def message(self, what):
        one = Message(what)
        self.messages.append(one)
        await one.arrived.wait()

    def let_go(self, message):
        self.messages.remove(message)
        message.arrived.set()

    get_run, get_job, list_pods = late(FakeCluster.get_run), late(FakeCluster.get_job), late(FakeCluster.list_pods)
    create_job, apply_status, delete_job = late(FakeCluster.create_job), late(FakeCluster.apply_status), late(FakeCluster.delete_job)

    async def create_event(self, event):
        """Nobody reads them here."""

    async def pages(self, kind, namespace, selector=""):
        """As many as it takes, all of the version that the first one has."""
        await self.message(f"LIST {kind}")
        version, things = self.version, copy.deepcopy(list(self.things(kind).values()))
        for start in range(0, max(len(things), 1), PAGE):
            await self.message(f"answer to LIST {kind} from {start}")
            if self.fails():
                raise ApiError(503, "busy")
            yield Page(version, things[start : start + PAGE])

    def tell_requests(self, tell):
        """Nobody counts them here."""
