"""`ser retry`: let a run that has failed go on, once the cause is gone."""

from ser_core.api.status import Phase
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import StoredRun, Target, open_run
from ser_core.cli.views.output import say
from ser_core.errors import SpecError
from ser_core.loop.deciding.reopening import is_out_of_time, is_reopened
from ser_core.loop.deciding.stopping import ending
from ser_core.store.runs.run_object import save_run


def retry(run: Target, namespace: NamespaceOption = None, context: ContextOption = None, kubeconfig: KubeconfigOption = None) -> None:
    """Let a failed run go on at the stage that failed.

    It raises spec.reopen by one. All that is committed is kept, and the attempts before count no more. A file is not changed: then ser run
    goes on.
    """
    stored = open_run(run, Place(namespace, context, kubeconfig))
    _refuse_unless_failed(stored)
    _refuse_without_time(stored)
    wanted = stored.run.spec.reopen + 1
    if stored.cluster is not None:
        stored.cluster.reopen(run, wanted)
        print(f"serrun.ser.dev/{run} reopened")
        say(f"its failed stage starts again; watch it: ser status {stored.target} --watch")
        return
    spec = stored.run.spec.model_copy(update={"reopen": wanted})
    metadata = stored.run.metadata.model_copy(update={"generation": stored.run.metadata.generation + 1})
    save_run(stored.store, stored.run.model_copy(update={"spec": spec, "metadata": metadata}))
    print(f"{run} reopened")
    say(f"to go on: ser run {stored.target}")


def _more_loops(stored: StoredRun) -> str:
    spec, status = stored.run.spec, stored.run.status
    ended = ending(spec.loop, status.iterations) if status.iterations else None
    if spec.policy is not None or (ended is not None and ended.reason != "MaxIterations"):
        why = "it has a policy" if spec.policy is not None else ended.message if ended is not None else ""
        return f"it has ended for good ({why}): further loops need another run, which may take over stages (spec.from)"
    return "for further loops raise loop.maxIterations"


def _refuse_unless_failed(stored: StoredRun) -> None:
    status, metadata = stored.run.status, stored.run.metadata
    if status.phase is not Phase.FAILED or is_reopened(stored.run):
        phase = "reopened already" if status.phase is Phase.FAILED else status.phase.value
        hint = {
            Phase.COMPLETED: _more_loops(stored),
            Phase.SUSPENDED: f"let it go on: ser resume {stored.target}"
            if stored.cluster is not None
            else f"remove suspend: true from {stored.target}, if it is there, then ser run {stored.target}",
            Phase.BUDGET_EXCEEDED: f"raise budget.gpuHours, and {'it' if stored.cluster else f'ser run {stored.target}'} goes on",
            Phase.FAILED: f"ser run {stored.target}" if stored.cluster is None else f"watch it: ser status {stored.target} --watch",
        }.get(status.phase, f"why it does not get further: ser why {stored.target}")
        raise SpecError(
            f"run {metadata.namespace}/{metadata.name} has not failed ({phase}): there is nothing to retry", reason="NotFailed", hint=hint
        )


def _refuse_without_time(stored: StoredRun) -> None:
    if is_out_of_time(stored.run):
        goes_on = "it goes on by itself" if stored.cluster is not None else f"ser run {stored.target} goes on"
        raise SpecError(
            f"spec.activeDeadline: the stages have run for all of {stored.run.spec.active_deadline}, and the run would only fail again",
            reason="DeadlineExceeded",
            hint=f"raise or remove activeDeadline, and {goes_on}",
        )
