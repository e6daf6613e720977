"""One story of an operator and its cluster: what comes next is drawn, step by step, from all that could come next."""

import asyncio
import random
from datetime import timedelta
from functools import partial

from ser_operator.facts.cache import resource_version
from ser_operator.facts.reading import name

from ..conftest import START
from .controllers import Controllers
from .people import People, Queue
from .process import Process
from .rest import come_to_rest
from .server import KINDS, NAMESPACES, Server

STEPS = (20, 50, 100, 300)
OFTEN = {
    "message": 8.0,
    **dict.fromkeys(KINDS, 3.0),
    "controllers": 4.0,
    "admission": 1.0,
    "eviction": 0.1,
    "people": 0.7,
    "strangers": 0.1,
    "trouble": 0.15,
    "time": 1.5,
    "resync": 0.3,
    "watch": 0.5,
    "broken watch": 0.05,
    "crash": 0.03,
    "handover": 0.03,
    "end of the old": 0.2,
}
"""How often each kind of step comes, by and large."""
REQUEST_SECONDS = 30
SLOW_SECONDS = 25
"""An answer that comes just in time."""
UNHEARD = ("broken watch", "crash", "handover")
"""After which a process cannot know all."""


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes when the story says so."""

    seconds = 0.0

    def time(self):
        return self.seconds


class Story:
    """Of a seed. In some stories answers are slow, in some the watches, in some people do much."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        self._often = {what: often * self._random.choice((0.1, 1, 1, 5)) for what, often in OFTEN.items()}
        self.hears_at_once = self._random.random() < 0.3
        if self.hears_at_once:
            self._often |= dict.fromkeys(UNHEARD, 0.0)
        self.server = Server()
        self.controllers, self.people, self.queue = Controllers(self.server), People(self.server), Queue(self.server)
        self._failing = 0.0 if self.hears_at_once else self._random.choice((0.0, 0.0, 0.02, 0.2))
        self._workers = self._random.choice((1, 2))  # of one worker alone others wait, which then puts off what can wait
        self._namespaces = self._random.choice(((), NAMESPACES))
        self._processes, self._wires = [], []
        self.holds_lists = False

    @property
    def process(self):
        """The newest."""
        return self._processes[-1]

    async def live(self):
        """Let things happen, and then let all come to rest."""
        self._loop = asyncio.get_running_loop()
        if self.hears_at_once:
            self._start()
            await self.settle()
            while not self.process.is_primed:
                for wire, message in self.messages():
                    wire.let_go(message)
                self.let_pass(1)
                await self.settle()
            for kind in KINDS:
                self.process.wire.watch(kind)
        for _ in range(self._random.randint(0, 3)):
            self._draw({"people": self.people.steps()})
        if not self.hears_at_once:
            self._start()
        for _ in range(self._random.choice(STEPS)):
            self._draw(self._possible())
            await self.settle()
        self._be_content()
        await come_to_rest(self)

    def _be_content(self):
        """LISTs may be late still."""
        self._failing = 0.0
        while len(self._processes) > 1:
            self._end_of_the_old()
        self.holds_lists = self.process.is_primed and self._random.random() < 0.5

    def _start(self):
        patience = None if self.hears_at_once else REQUEST_SECONDS
        fails = lambda: self._random.random() < self._failing  # noqa: E731
        self._processes.append(Process(self.server, fails, patience, self._workers, self._namespaces))
        self._wires.append(self.process.wire)

    def _crash(self):
        """The process dies, and another one starts."""
        self._processes.pop().die()
        self._start()

    def _end_of_the_old(self):
        self._processes.pop(0).die()

    async def settle(self):
        """Until nobody can go on."""
        await asyncio.sleep(0)  # timers that are due begin
        await asyncio.sleep(0)
        while self._loop._ready:
            await asyncio.sleep(0)
        if self.hears_at_once and any(self.process.wire.news.values()):
            self._tell_in_order()
            await self.settle()
        assert not self.server.promises.broken, self.server.promises.broken

    def _tell_in_order(self):
        news = self.process.wire.news
        told = [key for key, events in news.items() if events]
        for key in sorted(told, key=lambda key: resource_version(news[key][0]["object"])):
            self.process.tell(key)

    def _possible(self):
        """Steps by kind."""
        possible = {
            "message": [partial(wire.let_go, one) for wire, one in self.messages()],
            "controllers": self.controllers.steps(),
            "trouble": self.controllers.troubles(),
            "admission": self.queue.admissions(),
            "eviction": self.queue.evictions(),
            "people": self.people.steps(),
            "strangers": self.people.strangers(),
            "time": [partial(self.let_pass, seconds) for seconds in (1, 1, 5, 40)],
            "crash": [self._crash] if self.process.is_primed else [],
            "handover": [self._start] if self.process.is_primed and len(self._processes) == 1 else [],
            "end of the old": [self._end_of_the_old] if self.process.is_primed and len(self._processes) > 1 else [],
        }
        for process in self._processes:
            for what, steps in self._of_process(process).items():
                possible.setdefault(what, []).extend(steps)
        return possible

    def messages(self):
        """What is on its way, also from those that are dead, and by which wire."""
        found = [(wire, one) for wire in self._wires for one in sorted(wire.messages, key=str)]
        return [(wire, one) for wire, one in found if not (self.holds_lists and self._is_held(one))]

    def _is_held(self, message):
        return "LIST" in message.what and message.what.endswith("from 0") and self._loop.seconds - message.since < SLOW_SECONDS

    def _of_process(self, process):
        wire, is_primed = process.wire, process.is_primed
        return {
            **{kind: [partial(process.tell, key) for key, told in wire.news.items() if told and key[0] == kind] for kind in KINDS},
            "resync": [process.list_everything] if is_primed and not process.lists else [],
            "watch": [partial(wire.watch, kind) for kind in KINDS if is_primed and kind not in wire.watched],
            "broken watch": [partial(wire.lose_watch, kind) for kind in wire.watched],
        }

    def _draw(self, possible):
        kinds = [kind for kind, steps in possible.items() if steps and self._often[kind]]
        (kind,) = self._random.choices(kinds, [self._often[kind] for kind in kinds])
        self.do(self._random.choice(possible[kind]))

    def do(self, step):
        whole = step if isinstance(step, partial) else partial(step)
        named = [name(one) if isinstance(one, dict) else one for one in whole.args]
        self.server.history.append(f"   {whole.func.__name__} {named}")
        step()

    def let_pass(self, seconds):
        self._loop.seconds += seconds
        self.server.now = START + timedelta(seconds=self._loop.seconds)


def tell(seed):
    """The story of a seed."""
    story = Story(seed)
    with asyncio.Runner(loop_factory=Clock) as runner:
        try:
            runner.run(story.live())
        except BaseException as error:
            error.add_note("\n".join(story.server.history))
            raise
    return story
