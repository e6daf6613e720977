"""One reconcile of one run: observe, decide, execute.

The first plan uses the cache and costs nothing. If there is nothing to do, the reconcile ends. Before anything is written, the operator
reads the objects from the API server and plans again, so an old cache can delay an action but never cause a wrong one.
"""

from collections.abc import Callable
from datetime import datetime

from ser_core.api.run_template import TEMPLATE_UNUSABLE
from ser_core.api.serrun import SERRun
from ser_core.errors import SpecError
from ser_core.loop.deciding.stages import live_attempt
from ser_core.loop.observed import Action, Plan, StartStage, Waiting
from ser_operator.cluster.glances import Glances
from ser_operator.cluster.kubernetes_api import KubernetesApi
from ser_operator.cluster.transport import CONFLICT, NO_ANSWER, ApiError
from ser_operator.facts.cache import Cache, RunKey
from ser_operator.facts.leftovers import is_settled, needless, seconds_to_needless
from ser_operator.facts.reading import Object, deleting_since
from ser_operator.facts.serruns.read_run import unreadable
from ser_operator.facts.view import View, ends_unseen, has_ended, may_be_gone, unwatched
from ser_operator.loop.deciding import BLOCKED, Refused, decide
from ser_operator.loop.executing import JOB_REFUSED, Executor
from ser_operator.loop.observing import Observer
from ser_operator.settings import Settings


class Reconciler:
    """Reconciles runs, one step a call.

    Args:
        api: The cluster.
        cache: What the watches have shown; answers of the API server are put into it.
        settings: The operator's.
        glances: Looks at Events and progress.
        clock: The time.
        hurry: Whether other runs wait for their next Job.
        identity: The cluster's.
    """

    def __init__(
        self,
        api: KubernetesApi,
        cache: Cache,
        settings: Settings,
        glances: Glances,
        clock: Callable[[], datetime],
        hurry: Callable[[], bool],
        identity: str,
    ) -> None:
        self._observer = Observer(api, cache, glances, clock)
        self._executor = Executor(api, cache, settings, identity)
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._hurry = hurry
        self._refused: dict[RunKey, Refused] = {}
        self._conflicts: dict[RunKey, str] = {}
        """Jobs that could not be created the last time for a conflict with something else."""
        self._unrecorded: dict[RunKey, tuple[View, Plan]] = {}
        """Plans of which only the actions have been carried out."""

    async def reconcile(self, key: RunKey) -> float | None:
        """Reconcile a run once.

        Returns:
            Seconds after which to come back although nothing was reported; None: no need.

        Raises:
            ApiError: The API server refused or failed; to be tried again after a pause.
        """
        unrecorded = self._unrecorded.pop(key, None)
        if unrecorded is not None:
            await self._conclude(*unrecorded)
        body = self._cache.run(key)
        if body is None or deleting_since(body) is not None:
            self._forget_failures(key)
            self._observer.forget(key)
            if body is not None:
                await self._executor.release(body)
            return None
        try:
            body = await self._observer.with_template(body)
            return await self._observe_and_execute(body)
        except SpecError as error:
            status = unreadable(body, error, self._clock())
            if status is not None:
                await self._executor.write(body, status)
            return BLOCKED.total_seconds() if error.reason == TEMPLATE_UNUSABLE else None

    async def _observe_and_execute(self, body: Object) -> float | None:
        view = await self._observer.cached(body)
        if not has_ended(view) and not unwatched(view) and not may_be_gone(view, self._settings.events_after_seconds):
            planned = self._decide(view)
            if is_settled(view, planned) and not needless(view, planned):
                return self._come_back(view, planned)
        live = await self._observer.live(view)
        return None if live is None else await self._execute(live, self._decide(live))

    def _decide(self, view: View) -> Plan:
        return decide(view, self._settings, self._refused.get(_key(view.run)))

    async def _execute(self, view: View, planned: Plan) -> float | None:
        """Actions first, then the status, then the events: after a crash in between, the next reconcile finds everything.

        So these may also wait until no other run waits for its next Job.
        """
        for action in planned.actions:
            try:
                blocked = await self._executor.carry_out(view, planned, action)
            except ApiError as error:
                await self._record_failure(view, action, error)
                raise
            if blocked is not None:
                self._refused[_key(view.run)] = _refusal(view, action, blocked)
                await self._executor.record(view, self._decide(view))
                return BLOCKED.total_seconds()
            if isinstance(action, StartStage):
                self._forget_failures(_key(view.run))
        if planned.actions and self._hurry():
            self._unrecorded[_key(view.run)] = view, planned
            return 0.0
        return await self._conclude(view, planned)

    async def _record_failure(self, view: View, action: Action, error: ApiError) -> None:
        """Tell why a stage cannot start, and how the one before it has ended.

        A server that does not answer takes no status either, and most conflicts are over at the next try.
        """
        if not isinstance(action, StartStage) or error.code == NO_ANSWER:
            return
        if error.code == CONFLICT and self._conflicts.get(_key(view.run)) != action.job:
            self._conflicts[_key(view.run)] = action.job
        else:
            failed = _refusal(view, action, Waiting(JOB_REFUSED, str(error)))
            await self._executor.record(view, decide(view, self._settings, failed))

    def _forget_failures(self, key: RunKey) -> None:
        self._refused.pop(key, None)
        self._conflicts.pop(key, None)

    async def _conclude(self, view: View, planned: Plan) -> float | None:
        await self._executor.record(view, planned)
        await self._executor.clear(view, planned)
        return self._come_back(view, planned)

    def _come_back(self, view: View, planned: Plan) -> float | None:
        """When to reconcile again: for the planner, the next glance at a live attempt, the end of a refusal or of a Job's time."""
        wishes = [planned.requeue_after, seconds_to_needless(view, planned)]
        live = live_attempt(planned.status)
        if ends_unseen(live, view, self._cache.jobs(view.run.metadata.uid)):
            wishes.append(0.0)
        if live is not None:
            running = view.glance.waiting is None and view.glance.seen_at is not None
            wishes.append(self._settings.progress_seconds if running else max(self._settings.events_after_seconds, 1.0))
        refused = self._refused.get(_key(view.run))
        if refused is not None and refused.holds(view.now):
            wishes.append((refused.until - view.now).total_seconds())
        return min((wish for wish in wishes if wish is not None), default=None)


def _refusal(view: View, action: Action, why: Waiting) -> Refused:
    return Refused(action.job, view.run.metadata.generation, view.now, why)


def _key(run: SERRun) -> RunKey:
    return run.metadata.namespace, run.metadata.name
