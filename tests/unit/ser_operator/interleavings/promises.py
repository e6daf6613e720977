"""What a user may rely on with every status that is written, and once all has come to rest."""

from ser_core.api.status import Outcome, Phase, SERRunStatus
from ser_operator.facts.reading import at, name, uid

STAGES = 5
"""prepare, retrain, label, filter, retrain."""
RETRIES = 3


class Promises:
    """All that was ever recorded, and what was wrong with it.

    Attributes:
        broken: Promises that were broken.
        rows: The last record of every attempt, by the UID of its run and the name of its Job.
    """

    def __init__(self):
        self.broken, self.rows = [], {}

    def take_in(self, run, before):
        """A status was written onto ``before``."""
        old, new = SERRunStatus.model_validate(before or {}), SERRunStatus.model_validate(run["status"])
        wrong = [what for what, holds in self._compared(run, old, new).items() if not holds]
        self.broken += [f"{name(run)} {uid(run)}: {what}" for what in wrong]
        self.rows |= {(uid(run), row.job): row for row in new.stages}

    def _compared(self, run, old, new):
        told_to_go_on = run["spec"].get("reopen", 0) > old.reopened
        keys = [(row.iteration, row.stage, row.attempt) for row in new.stages]
        charged = [(row.iteration, row.stage) for row in new.stages if row.charged and not row.forgiven]
        return {
            "it forgets what was told to it": new.observed_generation >= old.observed_generation,
            "it forgets what was asked": new.reopened >= old.reopened,
            "it forgets what it has taken": (new.admitted_seconds or 0) >= (old.admitted_seconds or 0) and new.gpu_hours >= old.gpu_hours,
            "it forgets a loop": len(new.iterations) >= len(old.iterations),
            "it has ended, and goes on": not old.has_ended or new.has_ended or (old.phase is Phase.FAILED and told_to_go_on),
            "an attempt is counted twice": len(keys) == len(set(keys)),
            "two attempts live": sum(row.outcome is Outcome.RUNNING for row in new.stages) <= 1,
            "an ended attempt lives": all(self._may_follow(uid(run), row) for row in new.stages),
            "more retries than allowed": all(charged.count(key) <= RETRIES for key in charged),
        }

    def _may_follow(self, run_uid, row):
        before = self.rows.get((run_uid, row.job))
        return before is None or before.outcome is Outcome.RUNNING or before.outcome is row.outcome


def check_rest(server, run, heard_all):
    """Of a run that has completed.

    Args:
        server: The cluster.
        run: One of its runs.
        heard_all: Whether the operator was told at once of all that happened to it.
    """
    status = SERRunStatus.model_validate(run["status"])
    rows = {job: row for (owner, job), row in server.promises.rows.items() if owner == uid(run)}
    assert status.phase is Phase.COMPLETED
    made = set(server.jobs_of[uid(run)])
    of_one_gone = len(made & server.deleted) < 2  # of the Jobs that are gone it remembers the last one
    knows = heard_all and of_one_gone and uid(run) not in server.unknown_ends
    if knows or not made & server.deleted:
        assert made <= rows.keys(), f"nobody has recorded {made - rows.keys()}"
    charged = {job for job, row in rows.items() if row.charged}
    assert charged <= server.failed, f"charged, and had not failed: {charged - server.failed}"
    if uid(run) not in server.meddled:
        assert len(server.jobs_of[uid(run)]) == STAGES
        assert status.admitted_seconds == server.ran(uid(run))
    if knows:
        lost = {job for job, row in rows.items() if row.outcome is Outcome.LOST}
        assert not lost & server.told, f"it was told how they ended: {lost & server.told}"
        assert status.admitted_seconds == server.ran(uid(run))


def check_suspended(server, run):
    """Of a run that has come to rest suspended."""
    assert at(run, "status")["phase"] == "Suspended"
    assert not any(server.is_at_work(job) or server.active(job) for job in server.jobs_of_run(run)), "suspended, and it runs"


def check_known(server, cache):
    """What there is, is known as it is."""
    for kind, known in cache._versions.items():
        for one in server.shown(kind):
            assert known.get(uid(one)) == int(one["metadata"]["resourceVersion"]), (kind, name(one))


def check_cache(server, cache):
    """What the cache holds is what there is, and nothing of what is gone."""
    jobs = {uid(job) for job in server.jobs.values()}
    for kind, known in cache._versions.items():
        there = {uid(one): int(one["metadata"]["resourceVersion"]) for one in server.shown(kind)}
        there |= {one: version for one, version in known.items() if one in server.unshown}
        assert known == there, f"{kind}: {known.items() ^ there.items()}"
    assert cache._legs._legs.keys() <= jobs, "legs of Jobs that are gone"
    assert cache._remains.keys() <= jobs, "pods of Jobs that are gone"
    assert {job for job, pods in cache._children.items() if pods} <= jobs | {uid(run) for run in server.runs.values()}
    assert not cache._gone, "Jobs that are gone, of runs that have ended"
