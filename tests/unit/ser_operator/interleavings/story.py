"""One story of an operator and its cluster: what comes next is drawn, step by step, from all that could come next."""

import asyncio
import random
from datetime import timedelta
from functools import partial

from kubernetes.aio.client.configuration import Configuration

from ser_operator.cluster.transport import ApiError
from ser_operator.facts.reading import at, name
from ser_operator.loop.engine import Engine
from ser_operator.loop.handlers import build_registry
from ser_operator.settings import Settings

from ..conftest import START
from .late_cluster import KINDS
from .others import Others

STEPS = (20, 50, 100, 300)
ROUNDS = 400
"""In which, with everybody quick, all runs must have ended: ten times as many as they need."""
OFTEN = {
    "message": 8.0,
    **dict.fromkeys(KINDS, 3.0),
    "controllers": 4.0,
    "people": 0.7,
    "nodes": 0.1,
    "time": 1.5,
    "resync": 0.3,
    "watch": 0.5,
    "broken watch": 0.05,
    "crash": 0.03,
}
"""How often each kind of step comes, by and large."""


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
        self.cluster = Others()
        failing = self._random.choice((0.0, 0.1, 0.4))
        self.cluster.fails = lambda: self._random.random() < failing
        self._workers = self._random.choice((1, 2))  # of one worker alone others wait, which then puts off what can wait
        self._tasks = set()
        self._resync = None

    async def live(self):
        """Let things happen, and then let all come to rest."""
        self._loop = asyncio.get_running_loop()
        for _ in range(self._random.randint(0, 3)):
            self._draw({"people": self.cluster.people()})
        self._start_operator()
        for _ in range(self._random.choice(STEPS)):
            self._draw(self._possible())
            await self._settle()
        await self._come_to_rest()

    def _start_operator(self):
        self.engine = Engine(self.cluster, Configuration(), Settings(image="registry.example/ser:1"))
        self.cache, self._queue = self.engine._cache, self.engine._queue
        self.engine._reconciler._clock = self.cache._legs._clock = lambda: self.cluster.now
        self._queue._jitter = lambda: 0.5
        registry = build_registry(self.cache, self._queue, self.engine._telemetry, Configuration())
        self._handlers = dict(zip(KINDS, (one.fn for one in registry._watching.get_all_handlers()), strict=True))
        self._spawn(self._operate())

    async def _operate(self):
        await self.engine._prime(asyncio.Event())
        workers = [self.engine._work() for _ in range(self._workers)]
        await asyncio.gather(*workers, self._queue.run_timer())

    def _crash(self):
        """The process dies, with all that was on its way, and another one starts."""
        for task in self._tasks:
            task.cancel()
        self.cluster.messages.clear()
        for kind in list(self.cluster.watched):
            self.cluster.lose_watch(kind)
        self._start_operator()

    def _spawn(self, part):
        task = self._loop.create_task(part)
        self._tasks.add(task)
        return task

    async def _settle(self):
        """Until nobody can go on."""
        await asyncio.sleep(0)  # timers that are due begin
        await asyncio.sleep(0)
        while self._loop._ready:
            await asyncio.sleep(0)
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            if not task.cancelled():
                task.result()

    def _possible(self):
        """Steps by kind."""
        cluster, primed = self.cluster, self.engine._primed
        return {
            "message": [partial(cluster.let_go, one) for one in sorted(cluster.messages, key=str)],
            **{kind: [partial(self._tell, key) for key, told in cluster.news.items() if told and key[0] == kind] for kind in KINDS},
            "controllers": cluster.controllers(),
            "people": cluster.people(),
            "nodes": cluster.nodes(),
            "time": [partial(self._pass, seconds) for seconds in (1, 1, 5, 40)],
            "resync": [partial(self._list_everything)] if primed and (self._resync is None or self._resync.done()) else [],
            "watch": [partial(cluster.watch, kind) for kind in KINDS if primed and kind not in cluster.watched],
            "broken watch": [partial(cluster.lose_watch, kind) for kind in cluster.watched],
            "crash": [partial(self._crash)] if primed else [],
        }

    def _draw(self, possible):
        kinds = [kind for kind, steps in possible.items() if steps]
        (kind,) = self._random.choices(kinds, [self._often[kind] for kind in kinds])
        step = self._random.choice(possible[kind])
        named = [name(one) if isinstance(one, dict) else one for one in step.args]
        self.cluster.history.append(f"   {step.func.__name__} {named}")
        step()

    def _tell(self, key):
        self._spawn(self._handlers[key[0]](event=self.cluster.news[key].popleft()))

    def _pass(self, seconds):
        self._loop.seconds += seconds
        self.cluster.now = START + timedelta(seconds=self._loop.seconds)

    def _list_everything(self):
        self._resync = self._spawn(self._listed())

    async def _listed(self):
        try:
            await self.engine._list_everything()
        except ApiError:
            return False
        return True

    async def _come_to_rest(self):
        """People are content, everybody is quick, and where a watch could not tell that something is gone, one LIST does."""
        cluster = self.cluster
        cluster.fails = lambda: False
        for key in [key for key, run in cluster.runs.items() if run["spec"].get("suspend")]:
            cluster.suspend(key)
        for _ in range(ROUNDS):
            for kind in KINDS if self.engine._primed else ():
                if kind not in cluster.watched:
                    cluster.watch(kind)
            await self._deliver()
            if self.engine._primed and cluster.is_unheard:
                self._list_everything()
                await self._deliver()
                cluster.is_unheard = not self._resync.result()
            is_heard = self.engine._primed and not cluster.is_unheard
            if is_heard and all(map(has_ended, cluster.runs.values())) and not cluster.controllers():
                return
            for step in cluster.controllers():
                step()
            self._pass(1)
        raise AssertionError(f"no end: {[(key, at(run, 'status').get('message')) for key, run in cluster.runs.items()]}")

    async def _deliver(self):
        """All that is on its way arrives."""
        await self._settle()
        while self.cluster.messages or any(self.cluster.news.values()):
            for message in list(self.cluster.messages):
                self.cluster.let_go(message)
            for key in [key for key, told in self.cluster.news.items() if told]:
                self._tell(key)
            await self._settle()


def has_ended(run):
    return at(run, "status").get("phase") in ("Completed", "Failed")


def tell(seed):
    """The story of a seed."""
    story = Story(seed)
    with asyncio.Runner(loop_factory=Clock) as runner:
        try:
            runner.run(story.live())
        except BaseException as error:
            error.add_note("\n".join(story.cluster.history))
            raise
    return story
