"""A stage without data, torch and store: keeps the stage contract, and remembers what it was asked to do."""

import threading
from collections import Counter
from collections.abc import Mapping

from ser_core.api.stage import (
    Evaluation,
    FilterMetrics,
    LabelMetrics,
    ManifestRef,
    PolicyEvaluation,
    PolicyMetrics,
    PrepareMetrics,
    RetrainMetrics,
    StageMetrics,
    StageResult,
    StageSpec,
    SupervisedMetrics,
)
from ser_core.api.status import LearningStatus, StageKind
from ser_core.errors import EXIT_DONE, EXIT_NOTHING_TO_REPORT

StageKey = tuple[str, int, StageKind]
"""UID of the run, iteration, stage."""


class StageDouble:
    """Commits each stage once, in memory; reports it ever after.

    Attributes:
        executed: How often each stage was computed, which must never be more than once.
        first: How the next attempts of a stage end, with exit code and message, before one does its work; by run and stage.
    """

    def __init__(self) -> None:
        self.store: dict[StageKey, StageResult] = {}
        self.executed: Counter[StageKey] = Counter()
        self.reported: Counter[StageKey] = Counter()
        self.first: dict[tuple[str, StageKind], list[tuple[int, str]]] = {}
        self._lock = threading.Lock()

    def __call__(self, environment: Mapping[str, str]) -> tuple[int, str]:
        """Exit code and termination message of the stage that ``SER_STAGE`` describes."""
        spec = StageSpec.model_validate_json(environment["SER_STAGE"])
        key = (spec.run.uid, spec.iteration, spec.stage)
        with self._lock:
            if spec.mode == "report":
                self.reported[key] += 1
                if key not in self.store:
                    return EXIT_NOTHING_TO_REPORT, StageResult(outcome="absent").model_dump_json(by_alias=True)
            if spec.mode == "execute" and (instead := self.first.get((spec.run.name, spec.stage))):
                return instead.pop()
            if key not in self.store:
                self._check_inputs(spec)
                self.executed[key] += 1
                self.store[key] = result(spec.stage, spec.iteration)
            return EXIT_DONE, self.store[key].model_dump_json(by_alias=True)

    def _check_inputs(self, spec: StageSpec) -> None:
        for source in spec.inputs.values():
            committed = self.store[spec.run.uid, source.iteration, source.stage].manifest
            assert committed == source, f"{spec.stage} of {spec.run.name} reads {source}, which is not what was committed"


def result(stage: StageKind, iteration: int) -> StageResult:
    """What a stage reports once it is committed: the same for the same stage and iteration."""
    digest = f"{iteration:032x}{list(StageKind).index(stage):032x}"
    uri = f"s3://bucket/iter-{iteration:04d}/{stage.value}/MANIFEST.json"
    ref = ManifestRef(stage=stage, iteration=iteration, uri=uri, sha256=digest)
    return StageResult(outcome="done", manifest=ref, metrics=metrics(stage, iteration))


def policy_metrics() -> PolicyMetrics:
    """Metrics of a policy that has learnt."""
    before, after = (PolicyEvaluation(score=score, kl=kl, answer_tokens=20, ended=1.0) for score, kl in ((-0.5, 0.0), (0.5, 4.0)))
    return PolicyMetrics(
        steps=9,
        kept_step=9,
        prompts=70,
        heldout_prompts=10,
        before=before,
        after=after,
        change_low=0.8,
        change_high=1.2,
        critic="policy",
    )


def metrics(stage: StageKind, iteration: int) -> StageMetrics:
    """Metrics of a run that climbs by a tenth in each loop."""
    if stage is StageKind.PREPARE:
        return PrepareMetrics(found="jsonl", rows=100, seed=10, dev=5, pool=75, heldout=10, hidden_labels=True)
    if stage is StageKind.LABEL:
        return LabelMetrics(labeled=75, truncated=1)
    if stage is StageKind.FILTER:
        status = LearningStatus.STATUS_1
        return FilterMetrics(learning_status=status, labeled=75, status1=30, status2=10, kept=40, kept_fraction=40 / 75)
    if stage is StageKind.SFT:
        return SupervisedMetrics(steps=9, answers=10, truncated=0, first_loss=3.0, last_loss=2.0)
    if stage is StageKind.PPO:
        return policy_metrics()
    accuracy = min(0.95, 0.6 + 0.1 * iteration)
    found = Evaluation(
        pairs=100,
        accuracy=accuracy,
        accuracy_low=accuracy - 0.05,
        accuracy_high=min(1.0, accuracy + 0.05),
        length_only_accuracy=0.5,
        calibration_error=0.1,
        log_loss=1 - accuracy,
    )
    return RetrainMetrics(steps=9, seed_pairs=10, self_labeled_pairs=40, truncated=0, temperature=1.0, dev=found, heldout=found)
