"""What a user does about a run that has failed, goes on, or that nobody has looked at, in one line."""

from ser_core.api.serrun import SERRun
from ser_core.api.status import Phase
from ser_core.cli.access.stored_run import StoredRun
from ser_core.cli.views.output import print_warning
from ser_core.cli.views.remedies.lookup import remedy_of
from ser_core.cli.views.remedies.remedy import Then
from ser_core.loop.deciding.reopening import is_reopened


def next_step(run: SERRun, target: str, *, on_cluster: bool) -> str:
    """What to do; empty: the run has not failed, and the operator knows its spec.

    Args:
        run: The run.
        target: What the user named it by.
        on_cluster: Whether an operator carries it out, or `ser run`.
    """
    if on_cluster and run.status.observed_generation < run.metadata.generation:
        return (
            f"no operator has looked at {'the change of the spec' if run.status.observed_generation else 'the run'} yet: ser why {target}"
        )
    if run.status.phase is not Phase.FAILED:
        return ""
    if is_reopened(run):
        return f"the run is reopened, and {'the operator' if on_cluster else f'ser run {target}'} goes on with it"
    why = f"what was wrong and what to do: ser why {target}"
    reason = next((condition.reason for condition in run.status.conditions if condition.type == "Ready"), "")
    needs_retry = remedy_of(reason, None).then is Then.RETRY
    return f"nothing is tried until ser retry {target}; {why}" if needs_retry else why


def warn_of_a_run_that_goes_on(run: SERRun) -> None:
    """Say that later loops may bring something else."""
    if not run.status.has_ended:
        print_warning(f"the run has not ended (phase {run.status.phase}): this is what it has so far")


def how_it_goes_on(stored: StoredRun) -> str:
    """The hint where a run has not computed yet what is asked for."""
    step = next_step(stored.run, stored.target, on_cluster=stored.cluster is not None)
    return step or f"how far it is, and how it goes on: ser why {stored.target}"
