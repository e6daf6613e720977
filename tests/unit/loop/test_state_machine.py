"""Everything that can happen to a run, in any order: the invariants hold, and without further failures it ends."""

import dataclasses

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from ser_core.loop.observed import StopStage
from ser_core.loop.recording.coherence import coherent

LOOP = {"maxIterations": 2, "controls": ["pseudoLabelOnce", "seedOnly"], "stopping": {"patience": 1}}
GPUS = {"retrain": {"gpus": 2}, "label": {"gpus": 1}, "ppo": {"gpus": 2}}
SPEC = {"loop": LOOP, "budget": {"gpuHours": 1}, "resources": GPUS, "policy": {"base": "hf://org/policy", "sft": {}}}
POINTS = [("prepare", 0), ("retrain", 0), ("label", 1), ("filter", 2), ("retrain", 2), ("sft", 0), ("ppo", 0), ("control-seed-only", 0)]
TERMINAL = ("Completed", "Failed")


SEEN = st.sampled_from([True, True, False])
"""Whether the executor plans before anything else happens."""


def has_live(machine):
    return bool(machine.world.live())


class Runs(RuleBasedStateMachine):
    """A run under an unreliable executor. `World.act` checks that nothing starts beside a live attempt or before its inputs."""

    make_world = None

    def __init__(self):
        super().__init__()
        self.world = type(self).make_world(**SPEC)
        self.hidden = None
        self.ended = None

    @initialize(stage=st.sampled_from(POINTS))
    def the_run_has_come_so_far(self, stage):
        self.world.at(*stage)

    @rule()
    def reconcile(self):
        self.world.reconcile()
        again = self.world.plan()
        assert again.status == self.world.status
        assert again.events == ()
        assert all(isinstance(action, StopStage) for action in again.actions)

    @rule(after=st.integers(0, 3))
    def crash_before_the_status_is_written(self, after):
        for action in self.world.plan().actions[:after]:
            self.world.act(action)

    @precondition(has_live)
    @rule(seconds=st.sampled_from([1, 60, 1800]), result=st.sampled_from([True, True, True, False]), seen=SEEN)
    def a_stage_commits(self, seconds, result, seen):
        self.world.wait(seconds)
        self.world.end(result=result)
        self.reconcile_if(seen)

    @precondition(has_live)
    @rule(code=st.sampled_from([1, 20, 20, 21, 137]), step=st.sampled_from([None, 10, 20]), result=st.booleans(), seen=SEEN)
    def a_stage_fails(self, code, step, result, seen):
        self.world.end("failed", exit_code=code, checkpoint_step=step, result=result)
        self.reconcile_if(seen)
        self.world.wait(60)
        self.reconcile_if(seen)

    @precondition(has_live)
    @rule(code=st.sampled_from([10, 11, 12]))
    def a_stage_meets_a_user_error(self, code):
        self.world.end("failed", exit_code=code)

    @precondition(has_live)
    @rule(step=st.sampled_from([None, 10, 20, 30]), disruption=st.sampled_from(["", "Eviction"]), seen=SEEN)
    def a_stage_is_interrupted(self, step, disruption, seen):
        self.world.end("interrupted", checkpoint_step=step, disruption=disruption)
        self.reconcile_if(seen)

    def reconcile_if(self, seen):
        if seen:
            self.reconcile()

    @precondition(lambda self: has_live(self) and self.hidden is None)
    @rule()
    def an_attempt_is_out_of_sight(self):
        self.hidden = self.world.live()[0]
        self.world.lose()

    @precondition(lambda self: self.hidden is not None)
    @rule()
    def it_comes_back(self):
        self.world.jobs[self.hidden.job] = self.hidden
        self.hidden = None

    @rule()
    def ended_jobs_are_deleted(self):
        self.world.jobs = {name: job for name, job in self.world.jobs.items() if job.state == "running"}

    @rule()
    def reports_come_twice_and_in_another_order(self):
        jobs = [job for job in self.world.jobs.values() if job.state != "running"]
        twins = {f"twin of {job.job}": dataclasses.replace(job, result=None) for job in jobs if job.result is not None}
        self.world.jobs = dict(reversed((self.world.jobs | twins).items()))

    @rule(seconds=st.sampled_from([1, 30, 300, 4000]))
    def time_passes(self, seconds):
        self.world.wait(seconds)

    @rule(suspend=st.booleans())
    def the_user_suspends_or_resumes(self, suspend):
        self.world.change(suspend=suspend)

    @rule()
    def the_user_raises_the_budget(self):
        self.world.change(budget={"gpuHours": self.world.run.spec.budget.gpu_hours + 1})

    @precondition(lambda self: self.world.run.spec.loop.max_iterations < 4 and self.world.status.phase not in TERMINAL)
    @rule()
    def the_user_raises_max_iterations(self):
        self.world.change(max_iterations=self.world.run.spec.loop.max_iterations + 1)

    @precondition(lambda self: self.world.status.phase == "Failed")
    @rule()
    def the_user_reopens(self):
        self.world.change(reopen=self.world.run.spec.reopen + 1)
        self.ended = None
        self.reconcile()
        assert self.world.status.phase != "Failed"

    @invariant()
    def an_ended_run_stays_ended(self):
        if self.ended is not None:
            assert (self.world.status.phase, self.world.status.stages, self.world.status.message) == self.ended
        elif self.world.status.phase in TERMINAL:
            self.ended = (self.world.status.phase, self.world.status.stages, self.world.status.message)

    @invariant()
    def at_most_one_attempt_is_recorded_as_live(self):
        assert sum(row.outcome == "Running" for row in self.world.status.stages) <= 1

    @invariant()
    def the_status_is_believed(self):
        assert coherent(self.world.run, self.world.status)

    @invariant()
    def the_status_is_small(self):
        assert len(self.world.status.model_dump_json(by_alias=True, exclude_none=True).encode()) < 32 * 1024

    def teardown(self):
        self.world.change(suspend=False, budget={"gpuHours": 1_000_000})
        for job in self.world.live()[1:]:
            self.world.end("interrupted", job=job)
        self.world.drive(steps=120)
        if self.world.status.phase == "Failed":
            self.world.change(reopen=self.world.run.spec.reopen + 1)
            self.world.drive(steps=120)
        assert self.world.status.phase == "Completed"
        assert self.world.status.iterations[-1].iteration >= 2
        assert self.world.status.policy is not None
        assert [control.control for control in self.world.status.controls] == LOOP["controls"]


def test_runs_under_an_unreliable_executor(make_world):
    machine = type("Machine", (Runs,), {"make_world": staticmethod(make_world)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
        ),
    )
