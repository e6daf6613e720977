"""A world for the planner: a clock, a store of manifests and an executor whose processes end as a test says."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from ser_core.api.serrun import SERRun
from ser_core.api.stage import (
    Comparison,
    Evaluation,
    FilterMetrics,
    LabelMetrics,
    ManifestRef,
    PolicyEvaluation,
    PolicyMetrics,
    PrepareMetrics,
    RetrainMetrics,
    StageResult,
    SupervisedMetrics,
)
from ser_core.api.status import LearningStatus, Monitors, StageKind, StoredBytes
from ser_core.loop.observed import Leg, Observed, ObservedAttempt, StartStage, StopStage
from ser_core.loop.plan import plan

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
EXIT_CODES = {"failed": 20, "interrupted": 143, "absent": 3}


def evaluation(accuracy, versus_best=None, pairs=120):
    return Evaluation(
        pairs=pairs,
        accuracy=accuracy,
        accuracy_low=max(0.0, accuracy - 0.05),
        accuracy_high=min(1.0, accuracy + 0.05),
        length_only_accuracy=0.5,
        calibration_error=0.1,
        log_loss=0.6,
        versus_best=versus_best,
    )


def policy_metrics(stopped="", notes=()):
    before = PolicyEvaluation(score=-0.5, witness_score=-0.4, kl=0.0, answer_tokens=20, ended=0.5)
    after = PolicyEvaluation(score=2 / 3, witness_score=0.3, kl=4.25, answer_tokens=22, ended=0.75)
    return PolicyMetrics(
        steps=30,
        kept_step=25 if stopped else 30,
        prompts=70,
        heldout_prompts=10,
        before=before,
        after=after,
        change_low=0.9,
        change_high=1.4,
        critic="policy",
        stopped=stopped,
        notes=notes,
    )


class Results:
    """The metrics of every stage: ``dev`` accuracy by iteration (the last one goes on), the loop that filters to a Stop, and the loops
    whose model has ``collapsed`` (True: all)."""

    def __init__(
        self,
        dev=(0.6, 0.7, 0.8, 0.85, 0.9),
        stop_at=None,
        heldout=0.75,
        agreement=0.9,
        p_value=0.2,
        notes=(),
        pairs=75,
        stopped="",
        loss_gain=None,
        collapsed=False,
        trainings=1,
        groups=None,
    ):
        self.dev, self.stop_at, self.heldout, self.agreement = dev, stop_at, heldout, agreement
        self.p_value, self.notes, self.pairs, self.stopped = p_value, notes, pairs, stopped
        self.loss_gain, self.collapsed = loss_gain, collapsed
        self.trainings, self.groups = trainings, groups

    def __call__(self, stage, iteration):
        if stage is StageKind.PREPARE:
            return PrepareMetrics(found="jsonl", rows=100, seed=10, dev=5, pool=75, heldout=10, hidden_labels=True)
        if stage is StageKind.LABEL:
            return LabelMetrics(labeled=75, truncated=1)
        if stage is StageKind.FILTER:
            status = LearningStatus.STOP if iteration == self.stop_at else LearningStatus.STATUS_1
            return FilterMetrics(
                learning_status=status,
                labeled=self.pairs,
                status1=30,
                status2=10,
                kept=self.pairs - 35,
                kept_fraction=40 / 75,
                threshold=8 / 9,
                agreement=self.agreement,
                notes=self.notes,
                monitors=Monitors(
                    same_labels=2 / 3, score=-100 / 3, margin=100 / 3, confidence=2 / 3, right=2 / 3, as_sure=9, easier=2 / 3
                ),
            )
        if stage is StageKind.SFT:
            return SupervisedMetrics(steps=7, answers=40, truncated=0, first_loss=3.0, last_loss=2.0)
        if stage is StageKind.PPO:
            return policy_metrics(self.stopped, self.notes)
        dev = self.dev[min(iteration, len(self.dev) - 1)]
        versus = Comparison(only_this=9, only_best=4, p_value=self.p_value) if iteration else None
        return RetrainMetrics(
            steps=100 + iteration,
            seed_pairs=10,
            self_labeled_pairs=40,
            truncated=5 * iteration,
            temperature=100 / 3,
            dev=evaluation(dev, versus),
            heldout=evaluation(self.heldout).model_copy(update={"groups": self.groups}),
            notes=self.notes,
            collapsed=self.collapsed is True or (self.collapsed is not False and iteration in self.collapsed),
            trainings=self.trainings,
            folds=None if self.loss_gain is None else 4,
            loss_gain=self.loss_gain if iteration else None,
            loss_gain_error=None if self.loss_gain is None or not iteration else 1 / 300,
        )


class World:
    """A run, its executor and its store. ``tick`` is called after every effect, so that a test can crash there."""

    def __init__(self, run, results=None):
        self.run, self.results, self.now = run, results or Results(), START
        self.jobs = {}
        self.rerun = []
        self.tick = lambda: None
        self.specs = {}
        self.store = {}
        self.stopped = []
        self.events = []
        self.uri = "s3://bucket/run"
        self.image, self.threads = "registry.example/ser:1", 2

    # What the executor does

    def observed(self):
        return Observed(tuple(self.jobs.values()), image=self.image, threads=self.threads, judged="f" * 16)

    def plan(self):
        return plan(self.run, self.observed(), self.now)

    def act(self, action):
        if isinstance(action, StopStage):
            self.stopped.append(action)
            return
        assert isinstance(action, StartStage)
        if action.job in self.jobs:
            return
        spec = action.spec
        assert not self.live(), f"{action.job} starts beside {[job.job for job in self.live()]}"
        for source in spec.inputs.values():
            stored = self.store[(source.iteration, source.stage)].manifest
            assert (stored.uri, stored.sha256) == (source.uri, source.sha256), "an input is another manifest than the committed one"
        if spec.mode == "execute" and (spec.iteration, spec.stage) in self.store:
            self.rerun.append(action.job)
        self.specs[action.job] = action
        self.jobs[action.job] = ObservedAttempt(
            spec.iteration, spec.stage, spec.attempt, action.job, "running", spec.mode, started_at=self.now, legs=(Leg(self.now),)
        )

    def reconcile(self):
        planned = self.plan()
        for action in planned.actions:
            self.act(action)
            self.tick()
        self.save(planned)
        self.tick()
        return planned

    def save(self, planned):
        self.run = self.run.model_copy(update={"status": planned.status})
        self.events += planned.events

    # What happens to the stages

    def live(self):
        return [job for job in self.jobs.values() if job.state == "running"]

    def committed(self):
        return list(self.store)

    def end(self, outcome="done", exit_code=None, result=True, job=None, state=None, **fields):
        """End the live attempt. ``done`` commits, unless the stage is committed; ``absent`` and report mode look only."""
        job = job or self.live()[0]
        key = (job.iteration, job.stage)
        checkpoint = fields.pop("checkpoint_step", None)
        reason, message = fields.pop("reason", ""), fields.pop("message", "")
        if outcome == "done" and job.mode == "report" and key not in self.store:
            outcome = "absent"
        if outcome == "done":
            if key not in self.store:
                digest = f"{len(self.store):064x}"
                uri = f"{self.uri}/iter-{job.iteration:04d}/{job.stage.value}/MANIFEST.json"
                ref = ManifestRef(stage=job.stage, iteration=job.iteration, uri=uri, sha256=digest)
                metrics, stored = self.results(job.stage, job.iteration), StoredBytes(**dict.fromkeys(StoredBytes.model_fields, 10**15))
                self.store[key] = StageResult(outcome="done", manifest=ref, metrics=metrics, stored=stored)
            else:
                outcome = "superseded"
            told = self.store[key].model_copy(update={"outcome": outcome})
            code = 0
        else:
            told = StageResult(outcome=outcome, reason=reason or outcome.capitalize(), message=message, checkpoint_step=checkpoint)
            code = EXIT_CODES[outcome]
        self.jobs[job.job] = dataclasses.replace(
            job,
            state=state or ("succeeded" if outcome in ("done", "superseded") else "failed"),
            exit_code=code if exit_code is None else exit_code,
            result=told if result else None,
            finished_at=self.now,
            legs=tuple(leg if leg.end else dataclasses.replace(leg, end=self.now) for leg in job.legs),
            **fields,
        )

    def forget_exit_code(self, job):
        """Let an ended attempt be one whose pod never ran."""
        self.jobs[job.job] = dataclasses.replace(self.jobs[job.job], exit_code=None)

    def lose(self):
        """The live attempt vanishes, without a report."""
        del self.jobs[self.live()[0].job]

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    def settle(self, **end):
        """End the live attempt, if any, and plan; one step of a run."""
        if self.live():
            self.end(**end)
        return self.reconcile()

    def drive(self, until=None, steps=400):
        """Let everything succeed until the run ends or ``until(world)`` holds."""
        for _ in range(steps):
            planned = self.reconcile()
            if self.run.status.phase in ("Completed", "Failed") or (until is not None and until(self)):
                return self
            if self.live():
                self.wait(1)
                self.end("interrupted" if self.stopped and self.stopped[-1].job == self.live()[0].job else "done")
                self.tick()
            elif planned.requeue_after:
                self.wait(planned.requeue_after)
        raise AssertionError(f"no end after {steps} steps: {self.run.status.message}")

    def at(self, stage, iteration=0):
        """Drive until an attempt of that stage lives."""
        return self.drive(until=lambda world: any((job.stage, job.iteration) == (stage, iteration) for job in world.live()))

    # What the tests change and read

    def change(self, **spec):
        """Change the spec as a user may."""
        changed = {"maxIterations": spec.pop("max_iterations")} if "max_iterations" in spec else {}
        document = self.run.model_dump(mode="json", by_alias=True)
        document["spec"] |= spec
        document["spec"]["loop"] |= changed
        document["metadata"]["generation"] += 1
        self.run = SERRun.model_validate(document)

    def rows(self, stage=None):
        return [row for row in self.run.status.stages if stage in (None, row.stage)]

    @property
    def status(self):
        return self.run.status

    def condition(self, kind):
        return next(condition for condition in self.status.conditions if condition.type == kind)

    def started(self):
        """(stage, iteration, attempt, mode) of everything that was ever started, in order."""
        return [(a.spec.stage.value, a.spec.iteration, a.spec.attempt, a.spec.mode) for a in self.specs.values()]


@pytest.fixture(scope="session")
def make_run():
    def make(name="climb", uid="5f2c", loop=None, **spec):
        document = {
            "metadata": {"name": name, "uid": uid},
            "spec": {
                "rewardModel": {"base": "hf://org/model"},
                "data": {"source": {"uri": "hf://org/data"}},
                "storage": {"uri": "s3://bucket/run"},
                "loop": loop or {},
                **spec,
            },
        }
        return SERRun.model_validate(document)

    return make


@pytest.fixture(scope="session")
def make_world(make_run):
    def make(results=None, **run):
        return World(make_run(**run), results)

    return make


@pytest.fixture(scope="session")
def make_results():
    return Results
