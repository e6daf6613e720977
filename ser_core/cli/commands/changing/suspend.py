"""`ser suspend` and `ser resume`: stop a run on a cluster in order, and let it go on."""

from ser_core.api.serrun import SERRun
from ser_core.api.status import Phase
from ser_core.cli.access.place import ContextOption, KubeconfigOption, NamespaceOption, Place
from ser_core.cli.access.stored_run import Target, open_run
from ser_core.cli.views.output import say
from ser_core.errors import SpecError
from ser_core.loop.deciding.stages import live_attempt
from ser_core.shown import shown_line


def suspend(run: Target, namespace: NamespaceOption = None, context: ContextOption = None, kubeconfig: KubeconfigOption = None) -> None:
    """Stop a run on a cluster after a checkpoint.

    Its stage saves a checkpoint and frees its GPUs; ser resume lets the run go on from there.
    """
    _set(run, Place(namespace, context, kubeconfig), suspend=True)


def resume(run: Target, namespace: NamespaceOption = None, context: ContextOption = None, kubeconfig: KubeconfigOption = None) -> None:
    """Let a suspended run on a cluster go on.

    From the checkpoint that its stage has saved.
    """
    _set(run, Place(namespace, context, kubeconfig), suspend=False)


def _set(target: str, place: Place, *, suspend: bool) -> None:
    verb, done = ("suspend", "suspended") if suspend else ("resume", "resumed")
    stored = open_run(target, place)
    run, cluster = stored.run, stored.cluster
    if cluster is None:
        how = (
            "press Ctrl-C in its ser run, or write suspend: true into the file"
            if suspend
            else f"ser run {stored.target} goes on where it stopped"
        )
        raise SpecError(f"{target} is a run of this machine, and no operator carries it out", reason="NotOnACluster", hint=how)
    if run.status.has_ended:
        raise SpecError(
            f"run {cluster.namespace}/{target} has ended ({run.status.phase}): there is nothing to {verb}",
            reason="RunEnded",
            hint=_of_the_end(run, stored.target),
        )
    if run.spec.suspend is suspend:
        say(f"run {cluster.namespace}/{target} {'is suspended already' if suspend else 'is not suspended'}")
        return
    cluster.suspend(target, suspend)
    print(shown_line(f"serrun.ser.dev/{target} {done}"))
    if suspend:
        say(f"{_what_stops(run)}; watch it: ser status {stored.target} --watch")


def _of_the_end(run: SERRun, target: str) -> str:
    return (
        f"why, and how it goes on: ser why {target}" if run.status.phase is Phase.FAILED else f"to see its results: ser evolution {target}"
    )


def _what_stops(run: SERRun) -> str:
    if live_attempt(run.status) is None:
        return "none of its stages runs, and none starts until it is resumed"
    if run.status.phase is Phase.RUNNING:
        return "its stage saves a checkpoint and ends"
    return "its stage ends; if it has begun, after a checkpoint"
