"""What is written to the cluster for a run: Jobs, the Services of gangs, status and Events. Each write may have been made before."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from ser_core.api.serrun import SERRun
from ser_core.api.status import SERRunStatus
from ser_core.loop.observed import Action, Plan, StartStage, StopStage, Waiting
from ser_operator.cluster.kubernetes_api import KubernetesApi
from ser_operator.cluster.transport import CONFLICT, FORBIDDEN, ApiError
from ser_operator.facts.cache import Cache
from ser_operator.facts.leftovers import needless
from ser_operator.facts.pods.attempts_from_pods import identity_of
from ser_operator.facts.reading import Object, deleting_since, name, owner_uid, state_of, uid
from ser_operator.facts.serruns.read_run import write_status
from ser_operator.facts.view import View, named
from ser_operator.objects import gang, render
from ser_operator.objects.asked import stage_resources
from ser_operator.objects.overlay import unrestricted
from ser_operator.objects.recorder import event
from ser_operator.settings import Settings

NAME_CONFLICT, JOB_REFUSED = "NameConflict", "JobRefused"
ORPHANS = "orphan"
"""Kubernetes' finalizer of an object that is deleted with --cascade=orphan."""
_REFUSALS = (400, FORBIDDEN, 422)


class Executor:
    """Carries plans out.

    Args:
        api: The cluster.
        cache: What answers of the API server are put into.
        settings: The operator's.
        identity: The cluster's.
    """

    def __init__(self, api: KubernetesApi, cache: Cache, settings: Settings, identity: str) -> None:
        self._api = api
        self._cache = cache
        self._settings = settings
        self._identity = identity

    async def carry_out(self, view: View, planned: Plan, action: Action) -> Waiting | None:
        """Start or stop a stage; returns what prevents it."""
        if isinstance(action, StopStage):
            await self._stop(view, action)
            return None
        return await self._start(view, planned, action)

    async def record(self, view: View, planned: Plan) -> None:
        """Write the status down, then tell the Events."""
        if planned.status == view.run.status:
            return
        await self.write(view.body, planned.status)
        told = [event(view.body, one, view.now, number) for number, one in enumerate(planned.events)]
        await asyncio.gather(*map(self._api.create_event, told))

    async def write(self, body: Object, status: SERRunStatus) -> None:
        """Write a status down, if it is another one."""
        before = body.get("status") or {}
        wanted = write_status(status, before)
        if before != wanted:
            self._cache.put("SERRun", await self._api.apply_status(body, wanted))

    async def clear(self, view: View, planned: Plan) -> None:
        """Delete the Jobs that nothing needs any more."""
        for job in needless(view, planned):
            await self._api.delete_job(job)

    async def release(self, body: Object) -> None:
        """Delete the running Jobs of a run that is being deleted: somebody's finalizer may hold it, and with it their GPUs, for long."""
        if ORPHANS in (body["metadata"].get("finalizers") or ()):
            return  # whoever deletes it wants them to stay
        for job in self._cache.jobs(uid(body)):
            if state_of(job) == "running" and deleting_since(job) is None:
                await self._api.delete_job(job)

    async def _start(self, view: View, planned: Plan, action: StartStage) -> Waiting | None:
        """Create a Job, or find that it exists; returns what prevents both."""
        image = planned.status.image or self._settings.image
        job = render.job(view.body, view.run, action, image, self._settings, self._identity)
        if beyond := ", ".join(unrestricted(job["spec"]["template"]["spec"])):
            return Waiting(JOB_REFUSED, f"its pod would not be of the level restricted: {beyond}", stalled=True)
        if gang.is_gang(action.spec, stage_resources(view.run, action.spec)):
            blocked = await self._serve(view.run)
            if blocked is not None:
                return blocked
        found = await _made(self._api.create_job(job), partial(self._api.get_job, view.run.metadata.namespace, action.job))
        if isinstance(found, Waiting):
            return found
        if identity_of(view.run, found) is None:
            return _taken("Job", action.job)
        self._cache.put("Job", found)
        return None

    async def _serve(self, run: SERRun) -> Waiting | None:
        """Create the Service that the pods of a gang meet by, or find that it exists; returns what prevents both."""
        service = gang.service(run, render.owner(run))
        found = await _made(self._api.create_service(service), partial(self._api.get_service, run.metadata.namespace, name(service)))
        if isinstance(found, Waiting):
            return found
        return None if owner_uid(found) == run.metadata.uid else _taken("Service", name(service))

    async def _stop(self, view: View, action: StopStage) -> None:
        job = named(action.job, view.jobs)
        # Whatever the status says, nothing but an attempt of this run is ever deleted.
        if job is not None and deleting_since(job) is None and identity_of(view.run, job) is not None:
            await self._api.delete_job(job)


async def _made(creation: Awaitable[Object], find: Callable[[], Awaitable[Object | None]]) -> Object | Waiting:
    """What was made, or what has its name already; else why the API server refuses it.

    Raises:
        ApiError: To be tried again. A conflict, too, where nothing has the name: a quota that changes just then is one.
    """
    try:
        return await creation
    except ApiError as error:
        if error.code in _REFUSALS:
            return Waiting(JOB_REFUSED, str(error), stalled=error.code != FORBIDDEN)
        found = await find() if error.code == CONFLICT else None
        if found is None:
            raise
        return found


def _taken(kind: str, name: str) -> Waiting:
    return Waiting(NAME_CONFLICT, f"{kind} {name} exists and is not of this run: delete it, and the run goes on", stalled=True)
