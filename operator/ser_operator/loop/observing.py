"""What is known of a run: from the cache, which costs nothing, or as the API server has it now."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime

from ser_core.api.serrun import SERRun
from ser_operator.cluster.glances import Glances
from ser_operator.cluster.kubernetes_api import KubernetesApi, run_selector
from ser_operator.cluster.transport import CONFLICT, FORBIDDEN, ApiError
from ser_operator.facts.cache import Cache, RunKey, run_key
from ser_operator.facts.pods.attempts_from_pods import attempts, have_succeeded, identity_of, is_told
from ser_operator.facts.reading import Object, deleting_since, name, owner_uid, uid
from ser_operator.facts.serruns.read_run import read_run
from ser_operator.facts.serruns.template_copy import missing_template, unusable, with_copy
from ser_operator.facts.view import View, live_job, named, open_jobs


class Observer:
    """Makes views of runs.

    Args:
        api: The cluster.
        cache: What the watches have shown; answers of the API server are put into it.
        glances: Looks at Events and progress.
        clock: The time.
    """

    def __init__(self, api: KubernetesApi, cache: Cache, glances: Glances, clock: Callable[[], datetime]) -> None:
        self._api = api
        self._cache = cache
        self._glances = glances
        self._clock = clock
        self._read: dict[RunKey, tuple[str, SERRun]] = {}
        """Live runs as they were read last, and the version: reading one is a large part of a reconcile."""

    def forget(self, key: RunKey) -> None:
        """Drop what is remembered of a run that is gone."""
        self._read.pop(key, None)

    async def with_template(self, body: Object) -> Object:
        """The run, once its status holds the copy of the template that it names.

        Raises:
            SpecError: The template cannot be used now (reason `TemplateUnusable`).
        """
        template = missing_template(body)
        if template is None:
            return body
        try:
            found = await self._api.get_template(str(body["metadata"]["namespace"]), template)
        except ApiError as error:
            if error.code != FORBIDDEN:
                raise
            raise unusable(template, "the operator may not read SERRunTemplates: update its role with the chart") from error
        copied = await self._api.apply_status(body, with_copy(body, template, found))
        self._cache.put("SERRun", copied)
        return copied

    async def cached(self, body: Object) -> View:
        """The run ``body`` and its children as the cache has them.

        Raises:
            SpecError: The run cannot be read.
        """
        run = self._run(body)
        jobs = self._cache.jobs(run.metadata.uid)
        return await self._view(body, run, jobs, [pod for job in jobs for pod in self._cache.pods(uid(job))])

    async def live(self, seen: View) -> View | None:
        """The run and its children as the API server has them now; None when the run is gone or going.

        Of the Jobs only those that can still change are asked for, by name: for a LIST the API server looks through all of the namespace.

        Raises:
            ApiError: The API server refused or failed, or the run has been replaced.
            SpecError: The run cannot be read.
        """
        namespace, asked = seen.run.metadata.namespace, open_jobs(seen.run, seen.jobs, seen.pods)
        body, current = await asyncio.gather(self._api.get_run(namespace, seen.run.metadata.name), self._jobs(namespace, asked))
        if body is None or deleting_since(body) is not None:
            return None
        self._cache.put("SERRun", body)
        if missing_template(body) is not None:
            raise ApiError(CONFLICT, "its copy of the SERRunTemplate is gone")
        for job in seen.jobs:
            if name(job) in asked and named(name(job), current) is None:
                self._cache.remove("Job", job, for_good=True)
        if uid(body) != seen.run.metadata.uid:
            raise ApiError(CONFLICT, "it has been deleted and made anew")
        run = self._run(body)
        newly = open_jobs(run, seen.jobs, seen.pods) - asked
        current += await self._jobs(namespace, newly)
        jobs = [*current, *(job for job in seen.jobs if name(job) not in asked | newly)]
        return await self._view(body, run, *self._with_gone(run, jobs, await self._pods(run, current, jobs)))

    def _run(self, body: Object) -> SERRun:
        key, version = run_key(body), body["metadata"]["resourceVersion"]
        known = self._read.pop(key, None)
        run = known[1] if known is not None and known[0] == version else read_run(body)
        if not run.status.has_ended:
            self._read[key] = version, run
        return run

    async def _jobs(self, namespace: str, names: Collection[str]) -> list[Object]:
        """Those that exist, whatever labels they have: somebody may have removed them."""
        found = [job for job in await asyncio.gather(*(self._api.get_job(namespace, one) for one in names)) if job is not None]
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

    def _with_gone(self, run: SERRun, jobs: list[Object], pods: list[Object]) -> tuple[list[Object], list[Object]]:
        """Jobs and pods, and of those that are gone the ones whose end a watch has seen."""
        for job in jobs:
            own = [pod for pod in pods if owner_uid(pod) == uid(job)]
            pods = pods + (self._cache.remains(uid(job), own) if own else self._cache.pods(uid(job)))
        gone, remains = self._cache.gone(run.metadata.uid)
        if any(seen.state != "running" and named(seen.job, jobs) is None for seen in attempts(run, gone, remains, self._clock())):
            return jobs + gone, pods + remains
        return jobs, pods

    async def _view(self, body: Object, run: SERRun, jobs: Sequence[Object], pods: Sequence[Object]) -> View:
        view = View(body, run, jobs, pods, self._clock())
        job = live_job(view)
        if job is not None and identity_of(run, job) is not None:
            own = [pod for pod in pods if owner_uid(pod) == uid(job)]
            view = replace(view, glance=await self._glances.look(run_key(body), job, own, view.now))
        return replace(view, legs={uid(job): self._cache.legs(uid(job)) for job in jobs})
