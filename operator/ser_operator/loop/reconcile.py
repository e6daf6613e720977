"""One reconcile of one run: observe, plan, execute.

The first plan uses the cache and costs nothing. If there is nothing to do, the reconcile ends. Before anything is written, the operator
reads the objects from the API server and plans again, so an old cache can delay an action but never cause a wrong one.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ser_core.api.run_template import TEMPLATE_UNUSABLE
from ser_core.api.serrun import SERRun
from ser_core.api.status import SERRunStatus
from ser_core.errors import SpecError
from ser_core.loop.deciding.stages import live_attempt
from ser_core.loop.observed import Action, Observed, ObservedAttempt, Plan, StartStage, StopStage, Waiting
from ser_core.loop.plan import plan
from ser_operator.cluster.glances import Glances
from ser_operator.cluster.kubernetes_api import KubernetesApi, Object, run_selector
from ser_operator.cluster.transport import CONFLICT, FORBIDDEN, ApiError
from ser_operator.facts.cache import Cache, RunKey, run_key
from ser_operator.facts.leftovers import is_settled, needless, seconds_to_needless
from ser_operator.facts.outdated import is_outdated
from ser_operator.facts.pods.attempts_from_pods import attempts, have_succeeded, identity_of, is_told
from ser_operator.facts.pods.legs import pods_at_once
from ser_operator.facts.reading import deleting_since, owner_uid, uid
from ser_operator.facts.serruns.allow_lists import judged, refusal, unsupported
from ser_operator.facts.serruns.read_run import read_run, unreadable, write_status
from ser_operator.facts.serruns.template_copy import missing_template, unusable, with_copy
from ser_operator.facts.view import View, ends_unseen, has_ended, live_job, may_be_gone, named, open_jobs, unwatched
from ser_operator.objects import gang, render
from ser_operator.objects.overlay import unrestricted
from ser_operator.objects.recorder import event
from ser_operator.settings import Settings

NAME_CONFLICT, JOB_REFUSED = "NameConflict", "JobRefused"
BLOCKED_SECONDS = 30.0
"""Pause before a refused Job is tried again: two tries a minute."""
_REFUSALS = (400, 403, 422)


@dataclass(frozen=True, slots=True)
class Refused:
    """A Job that could not be created. Until the time is over, or the spec changes, it is not tried again, whatever happens meanwhile."""

    job: str
    generation: int
    until: datetime
    waiting: Waiting

    def stands(self, view: View, planned: Plan) -> bool:
        """Whether it keeps ``planned`` from being carried out."""
        wanted = any(isinstance(action, StartStage) and action.job == self.job for action in planned.actions)
        return wanted and view.now < self.until and view.run.metadata.generation == self.generation


class Reconciler:
    """Reconciles runs, one step a call.

    Args:
        api: The cluster.
        cache: What the watches have shown; answers of the API server are put into it.
        settings: The operator's.
        glances: Looks at Events and progress.
        clock: The time.
        hurry: Whether other runs wait for their next Job.
        cluster: Its identity.
    """

    def __init__(
        self,
        api: KubernetesApi,
        cache: Cache,
        settings: Settings,
        glances: Glances,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        hurry: Callable[[], bool] = lambda: False,
        cluster: str = "",
    ) -> None:
        self._api = api
        self._cache = cache
        self._settings = settings
        self._glances = glances
        self._clock = clock
        self._hurry = hurry
        self._cluster = cluster
        self._read: dict[RunKey, tuple[str, SERRun]] = {}
        """Live runs as they were read last, and the version: reading one is a large part of a reconcile."""
        self._refused: dict[RunKey, Refused] = {}
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
            self._refused.pop(key, None)
            self._read.pop(key, None)
            return None
        try:
            body = await self._with_template(body)
            view = await self._cached(body)
            if not has_ended(view) and not unwatched(view) and not may_be_gone(view, self._settings.events_after_seconds):
                planned = self._plan(view)
                if is_settled(view, planned) and not needless(view, planned):
                    return self._come_back(view, planned)
            live = await self._live(view)
            return None if live is None else await self._execute(live, self._plan(live))
        except SpecError as error:
            status = unreadable(body, error, self._clock())
            if status is not None:
                await self._write(body, status)
            return BLOCKED_SECONDS if error.reason == TEMPLATE_UNUSABLE else None

    async def _with_template(self, body: Object) -> Object:
        """The run, once its status holds the copy of the template that it names.

        Raises:
            SpecError: The template cannot be used now (reason `TemplateUnusable`).
        """
        name = missing_template(body)
        if name is None:
            return body
        try:
            found = await self._api.get_template(str(body["metadata"]["namespace"]), name)
        except ApiError as error:
            if error.code != FORBIDDEN:
                raise
            raise unusable(name, "the operator may not read SERRunTemplates: update its role with the chart") from error
        copied = await self._api.apply_status(body, with_copy(body, name, found))
        self._cache.put("SERRun", copied)
        return copied

    def _run(self, body: Object) -> SERRun:
        key, version = run_key(body), body["metadata"]["resourceVersion"]
        known = self._read.pop(key, None)
        run = known[1] if known is not None and known[0] == version else read_run(body)
        if not run.status.has_ended:
            self._read[key] = version, run
        return run

    async def _cached(self, body: Object) -> View:
        run = self._run(body)
        jobs = self._cache.jobs(run.metadata.uid)
        view = View(body, run, jobs, [pod for job in jobs for pod in self._cache.pods(uid(job))], self._clock())
        return await self._with_glance(view)

    async def _live(self, seen: View) -> View | None:
        """The run and its children as the API server has them now; None when the run is gone or going.

        Of the Jobs only those that can still change are asked for, by name: for a LIST the API server looks through all of the namespace.
        """
        namespace, name = _key(seen.run)
        asked = open_jobs(seen.run, seen.jobs, seen.pods)
        body, current = await asyncio.gather(self._api.get_run(namespace, name), self._jobs(namespace, asked))
        if body is None or deleting_since(body) is not None:
            return None
        self._cache.put("SERRun", body)
        if missing_template(body) is not None:
            raise ApiError(CONFLICT, "its copy of the SERRunTemplate is gone")
        for job in seen.jobs:
            if job["metadata"]["name"] in asked and named(job["metadata"]["name"], current) is None:
                self._cache.remove("Job", job, for_good=True)
        if uid(body) != seen.run.metadata.uid:
            raise ApiError(CONFLICT, "it has been deleted and made anew")
        run = self._run(body)
        newly = open_jobs(run, seen.jobs, seen.pods) - asked
        current += await self._jobs(namespace, newly)
        jobs = [*current, *(job for job in seen.jobs if job["metadata"]["name"] not in asked | newly)]
        pods = await self._pods(run, current, jobs)
        for job in jobs:
            own = [pod for pod in pods if owner_uid(pod) == uid(job)]
            # How the pods ended that a watch has seen and that are gone now.
            pods += self._cache.remains(uid(job), own) if own else self._cache.pods(uid(job))
        gone, remains = self._cache.gone(run.metadata.uid)
        if any(seen.state != "running" and named(seen.job, jobs) is None for seen in attempts(run, gone, remains, self._clock())):
            jobs, pods = jobs + gone, pods + remains  # a watch has seen how it ended before it went
        return await self._with_glance(View(body, run, jobs, pods, self._clock()))

    async def _jobs(self, namespace: str, names: Collection[str]) -> list[Object]:
        """Those that exist, whatever labels they have: somebody may have removed them."""
        found = [job for job in await asyncio.gather(*(self._api.get_job(namespace, name) for name in names)) if job is not None]
        for job in found:
            self._cache.put("Job", job)
        return found

    async def _pods(self, run: SERRun, current: Sequence[Object], jobs: Sequence[Object]) -> list[Object]:
        """The pods of ``jobs``: from the cache if those of ``current`` have succeeded and all have told how they ended, since nothing can
        change then, else as they are."""
        known = {uid(job): self._cache.pods(uid(job)) for job in jobs}
        if all(have_succeeded(job, known[uid(job)]) for job in current) and all(map(is_told, known.values())):
            return [pod for pods in known.values() for pod in pods]
        listed = list(await self._api.list_pods(run.metadata.namespace, run_selector(run.metadata.uid)))
        for pod in listed:
            self._cache.put("Pod", pod)
        return listed

    async def _with_glance(self, view: View) -> View:
        job = live_job(view)
        if job is None or identity_of(view.run, job) is None:
            return view
        pods = [pod for pod in view.pods if owner_uid(pod) == uid(job)]
        return replace(view, glance=await self._glances.look(run_key(view.body), job, pods, view.now))

    def _plan(self, view: View) -> Plan:
        planned = self._plan_with(view, unsupported(view.run))
        refused = self._refused.get(_key(view.run))
        return self._plan_with(view, refused.waiting) if refused is not None and refused.stands(view, planned) else planned

    def _plan_with(self, view: View, blocked: Waiting | None) -> Plan:
        found, digest = attempts(view.run, view.jobs, view.pods, view.now), judged(view.body, view.run)
        observed = Observed(
            attempts=tuple(self._with_legs(attempt, view) for attempt in found),
            waiting=view.glance.waiting,
            blocked=blocked,
            outdated=is_outdated(view, self._settings),
            progress=view.glance.progress,
            refusal=refusal(view.body, view.run, self._settings, digest),
            judged=digest,
            image=self._settings.image,
            threads=self._settings.default_threads,
        )
        return plan(view.run, observed, view.now)

    def _with_legs(self, attempt: ObservedAttempt, view: View) -> ObservedAttempt:
        job = named(attempt.job, view.jobs)
        if job is None:
            return attempt
        return replace(attempt, legs=self._cache.legs(uid(job)), pods=pods_at_once(job))

    async def _execute(self, view: View, planned: Plan) -> float | None:
        """Actions first, then the status, then the events: after a crash in between, the next reconcile finds everything.

        So these may also wait until no other run waits for its next Job.
        """
        for action in planned.actions:
            blocked = await self._carry_out(view, planned, action)
            if blocked is not None:
                until = view.now + timedelta(seconds=BLOCKED_SECONDS)
                self._refused[_key(view.run)] = Refused(action.job, view.run.metadata.generation, until, blocked)
                planned = self._plan(view)
                await self._record(view, planned)
                return BLOCKED_SECONDS
        if planned.actions and self._hurry():
            self._unrecorded[_key(view.run)] = view, planned
            return 0.0
        return await self._conclude(view, planned)

    async def _conclude(self, view: View, planned: Plan) -> float | None:
        await self._record(view, planned)
        for job in needless(view, planned):
            await self._api.delete_job(job)
        return self._come_back(view, planned)

    async def _carry_out(self, view: View, planned: Plan, action: Action) -> Waiting | None:
        if isinstance(action, StopStage):
            await self._stop(view, action)
            return None
        return await self._start(view, planned, action)

    async def _start(self, view: View, planned: Plan, action: StartStage) -> Waiting | None:
        """Create a Job, or find that it exists; returns what prevents both."""
        image = planned.status.image or self._settings.image
        job = render.job(view.body, view.run, action, image, self._settings, self._cluster)
        if beyond := ", ".join(unrestricted(job["spec"]["template"]["spec"])):
            return Waiting(JOB_REFUSED, f"its pod would not be of the level restricted: {beyond}", stalled=True)
        if gang.is_gang(action.spec, render.stage_resources(view.run, action.spec)):
            blocked = await self._serve(view.run)
            if blocked is not None:
                return blocked
        try:
            self._cache.put("Job", await self._api.create_job(job))
            self._refused.pop(_key(view.run), None)
            return None
        except ApiError as error:
            if error.code in _REFUSALS:
                return _refused(error)
            if error.code != CONFLICT:
                raise
        existing = await self._api.get_job(view.run.metadata.namespace, action.job)
        if existing is not None and identity_of(view.run, existing) is None:
            told = f"Job {action.job} exists and is not of this run: delete it, and the run goes on"
            return Waiting(NAME_CONFLICT, told, stalled=True)
        if existing is not None:
            self._cache.put("Job", existing)
        return None

    async def _serve(self, run: SERRun) -> Waiting | None:
        """Create the Service that the pods of a gang meet by, or find that it exists; returns what prevents both."""
        service = gang.service(run, render.owner(run))
        name = service["metadata"]["name"]
        try:
            await self._api.create_service(service)
            return None
        except ApiError as error:
            if error.code in _REFUSALS:
                return _refused(error)
            if error.code != CONFLICT:
                raise
        existing = await self._api.get_service(run.metadata.namespace, name)
        if existing is None:
            raise ApiError(CONFLICT, f"Service {name} existed a moment ago")
        if owner_uid(existing) != run.metadata.uid:
            return Waiting(NAME_CONFLICT, f"Service {name} exists and is not of this run: delete it, and the run goes on", stalled=True)
        return None

    async def _stop(self, view: View, action: StopStage) -> None:
        job = named(action.job, view.jobs)
        # Whatever the status says, nothing but an attempt of this run is ever deleted.
        if job is not None and deleting_since(job) is None and identity_of(view.run, job) is not None:
            await self._api.delete_job(job)

    async def _record(self, view: View, planned: Plan) -> None:
        if planned.status == view.run.status:
            return
        await self._write(view.body, planned.status)
        told = [event(view.body, one, view.now, number) for number, one in enumerate(planned.events)]
        await asyncio.gather(*map(self._api.create_event, told))

    async def _write(self, body: Object, status: SERRunStatus) -> None:
        before = body.get("status") or {}
        wanted = write_status(status, before)
        if before != wanted:
            self._cache.put("SERRun", await self._api.apply_status(body, wanted))

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
        if refused is not None and view.now < refused.until:
            wishes.append((refused.until - view.now).total_seconds())
        return min((wish for wish in wishes if wish is not None), default=None)


def _refused(error: ApiError) -> Waiting:
    return Waiting(JOB_REFUSED, str(error), stalled=error.code != 403)


def _key(run: SERRun) -> RunKey:
    return run.metadata.namespace, run.metadata.name
