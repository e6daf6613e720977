"""Ended runs on a server that does nothing but list them: what the operator itself takes, whatever a control plane takes beside it."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from controlplane.faults.scenario import SPEC
from controlplane.faults.stage_double import StageDouble
from controlplane.plane.operator_process import IMAGE, ROOT, OperatorProcess
from controlplane.plane.processor_time import seconds_of
from controlplane.scale.many_runs import AS_SHIPPED, as_of, is_ready, writes_on
from ser_core.api.serrun import API_VERSION, KIND, SERRun
from ser_core.api.stage import StageResult
from ser_core.api.status import SERRunStatus
from ser_core.loop.observed import Observed, ObservedAttempt, StartStage
from ser_core.loop.plan import TERMINAL, plan
from ser_core.loop.text import write_time
from ser_operator.facts.serruns.read_run import write_status
from ser_operator.objects import render
from ser_operator.settings import Settings

Object = dict[str, Any]
NAMESPACE = "lab"
_KINDS = {"serruns": (API_VERSION, KIND), "jobs": ("batch/v1", "Job"), "pods": ("v1", "Pod")}
_SERVED = {**_KINDS, "namespaces": ("v1", "Namespace"), "events": ("v1", "Event")}


def ended(folder: Path, count: int, with_jobs: int) -> None:
    """Start an operator over ``count`` ended runs, of which the last ``with_jobs`` have all their Jobs and pods; print what it takes."""
    folder.mkdir()
    with serving(listed(count, with_jobs)) as server:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(configuration(server)))
        began = time.monotonic()
        operator = OperatorProcess(kubeconfig, NAMESPACE, folder, code=ROOT, **AS_SHIPPED).start()
        try:
            while not is_ready(operator):
                time.sleep(0.05)
            ready, taken = time.monotonic() - began, seconds_of(operator.pid)
            time.sleep(20)  # kopf lists everything once more
            page = page_of(operator, 120)
            assert f'ser_operator_runs{{phase="Completed"}} {count}.0\n' in page
            print(
                f"{count} ended runs, {with_jobs} of them with Jobs and pods, on a server that only lists: ready in {ready:.1f} s, "
                f"{taken:.1f} s of a processor, "
                f"{operator.megabytes():.0f} MB, at most {operator.most_megabytes():.0f} MB, {writes_on(page)} writes, "
                f"{sum(line[0] != '#' for line in page.splitlines())} series",
                flush=True,
            )
        finally:
            operator.kill()


def page_of(operator: OperatorProcess, seconds: float) -> str:
    """Its metrics; a first page, or one on a busy machine, may take longer than one request may."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return operator.page("/metrics")
    return operator.page("/metrics")


def listed(count: int, with_jobs: int) -> Mapping[str, Sequence[str]]:
    """The objects as JSON, by plural; every run has taken four loops and has just ended."""
    found: dict[str, list[str]] = {plural: [] for plural in _KINDS}
    _, status, _ = one_run(0)
    for number in range(count):
        run, jobs = a_run(number), []
        if number >= count - with_jobs:
            run, status, jobs = one_run(number)
        body = {"metadata": metadata("run", number, generation=1), "spec": run.spec.model_dump(mode="json", by_alias=True)}
        found["serruns"].append(json.dumps({**body, "status": write_status(as_of(run, status), {})}))
        for job, pod in jobs:
            found["jobs"].append(json.dumps(job))
            found["pods"].append(json.dumps(pod))
    return found


def a_run(number: int) -> SERRun:
    """Before its first stage."""
    return SERRun.model_validate({"metadata": metadata("run", number, generation=1), "spec": {**SPEC, "loop": {"maxIterations": 4}}})


def one_run(number: int) -> tuple[SERRun, SERRunStatus, list[tuple[Object, Object]]]:
    """A run at its end, with the Jobs of its stages and their pods."""
    run, double, settings, now = a_run(number), StageDouble(), Settings(image=IMAGE), datetime.now(UTC)
    attempts: list[ObservedAttempt] = []
    jobs: list[tuple[Object, Object]] = []
    while run.status.phase not in TERMINAL:
        planned = plan(run, Observed(attempts=tuple(attempts), image=IMAGE, threads=2), now)
        run, now = run.model_copy(update={"status": planned.status}), now + timedelta(seconds=1)
        for action in planned.actions:
            assert isinstance(action, StartStage)
            _, message = double({"SER_STAGE": action.spec.model_dump_json(by_alias=True)})
            spec, result = action.spec, StageResult.model_validate_json(message)
            attempts.append(
                ObservedAttempt(
                    spec.iteration, spec.stage, spec.attempt, action.job, "succeeded", exit_code=0, result=result, started_at=now
                )
            )
            jobs.append(with_pod(render.job({"metadata": {}}, run, action, IMAGE, settings), message, write_time(now)))
    return run, run.status, jobs


def with_pod(job: Object, message: str, moment: str) -> tuple[Object, Object]:
    """A Job that has just completed, and its pod."""
    name = job["metadata"]["name"]
    uid = {"uid": f"uid-{name}", "resourceVersion": "7", "creationTimestamp": moment}
    job = {**job, "metadata": {**job["metadata"], **uid}}
    job["status"] = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": moment}]}
    state = {"terminated": {"exitCode": 0, "message": message, "startedAt": moment, "finishedAt": moment}}
    about = {"name": f"{name}-abcde", "namespace": NAMESPACE, "labels": job["spec"]["template"]["metadata"]["labels"]}
    owners = [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid["uid"], "controller": True}]
    pod = {"metadata": {**about, **uid, "uid": f"uid-pod-{name}", "ownerReferences": owners}, "spec": job["spec"]["template"]["spec"]}
    return job, {**pod, "status": {"phase": "Succeeded", "containerStatuses": [{"name": "stage", "state": state}]}}


def metadata(prefix: str, number: int, **more: object) -> Object:
    """Of the object with this number."""
    name = f"{prefix}-{number}"
    return {"name": name, "namespace": NAMESPACE, "uid": f"{name}-5f2c0000", "resourceVersion": str(number + 1), **more}


def configuration(server: str) -> Object:
    """A kubeconfig for it."""
    return {
        "clusters": [{"name": "lists", "cluster": {"server": server}}],
        "users": [{"name": "operator", "user": {"token": "none"}}],
        "contexts": [{"name": "lists", "context": {"cluster": "lists", "user": "operator", "namespace": NAMESPACE}}],
        "current-context": "lists",
    }


@contextlib.contextmanager
def serving(objects: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Address of a server that lists these objects, in pages where they are asked for, and whose watches tell nothing."""
    over = threading.Event()

    class Lists(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(asked.query).items()}
            plural = asked.path.rpartition("/")[2]
            if "watch" in query:
                self.answer("")
                over.wait()
            elif plural in objects:
                self.answer(page(plural, objects[plural], query))
            else:
                self.answer(json.dumps(discovery(asked.path)))

        def answer(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            if text:
                self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Lists) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            over.set()
            server.shutdown()


def page(plural: str, items: Sequence[str], query: Mapping[str, str]) -> str:
    """A part of a list, as JSON."""
    begin = int(query.get("continue", 0))
    end = begin + int(query.get("limit", len(items) or 1))
    version, kind = _KINDS[plural]
    head = {"resourceVersion": str(10**6), **({"continue": str(end)} if end < len(items) else {})}
    whole = json.dumps({"apiVersion": version, "kind": f"{kind}List", "metadata": head})
    return f'{whole[:-1]}, "items": [{",".join(items[begin:end])}]}}'


def discovery(path: str) -> Object:
    """What is served, for kopf."""
    if path == "/api":
        return {"versions": ["v1"]}
    served = {plural: one for plural, one in _SERVED.items() if path.endswith(f"/{one[0]}")}
    if path != "/apis":
        verbs = ["get", "list", "watch", "patch", "create", "delete"]
        names = [
            {"name": plural, "kind": kind, "namespaced": True, "singularName": "", "verbs": verbs} for plural, (_, kind) in served.items()
        ]
        return {"kind": "APIResourceList", "groupVersion": path.removeprefix("/apis/").removeprefix("/api/"), "resources": names}
    versions = {version for version, _ in _SERVED.values() if "/" in version}
    told = [(version.partition("/")[0], {"groupVersion": version, "version": version.partition("/")[2]}) for version in sorted(versions)]
    return {"groups": [{"name": name, "versions": [one], "preferredVersion": one} for name, one in told]}
