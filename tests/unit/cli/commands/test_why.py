"""`ser why`: every reason that a status can hold has a cause and a fix, and the three lines fit the run."""

import ast
import inspect
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ser_core import errors
from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.status import (
    IterationStatus,
    LearningStatus,
    Monitors,
    Outcome,
    Phase,
    PolicyStatus,
    ProgressStatus,
    SERRunStatus,
    StageKind,
    StageStatus,
)
from ser_core.cli.views.remedies.lookup import BY_EXIT_CODE, DEFECT, REMEDIES, REMEDY_OF, UNKNOWN, remedy_of
from ser_core.cli.views.why_view import explain
from ser_core.data.preparing.pairs.validation import REPEATS
from ser_core.loop.observed import Observed, ObservedAttempt
from ser_core.loop.plan import plan
from ser_core.loop.recording.conditions import conditions
from ser_operator.facts.pods import queueing, silent_node, waiting
from ser_operator.facts.serruns import allow_lists, read_run
from ser_operator.loop import executing

NOW = datetime(2026, 1, 31, 12, 25, tzinfo=UTC)
BEGUN = "2026-01-31T12:20:00Z"
SPEC = {
    "rewardModel": {"base": "hf://org/model"},
    "data": {"source": {"uri": "hf://org/data"}},
    "storage": {"uri": "s3://bucket/runs"},
}
OF_COMMANDS = {"UsageError", "ClusterError", "ClusterAccessDenied"}
"""Only the command line raises these."""


def reasons_in_code():
    """Every literal reason that the operator, the stages and what they use can write into a status."""
    folders = [Path("jobs"), Path("operator"), *(Path("ser_core", name) for name in ("data", "learn", "loop", "store"))]
    for path in (path for folder in folders for path in sorted(folder.rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield from literal_reasons(node)
            elif isinstance(node, ast.Assign) and path.parts[:2] in (("ser_core", "loop"), ("operator", "ser_operator")):
                yield from (value for value in strings(node.value) if camel(value) and constants(node.targets))


def constants(targets):
    return all(name.id.isupper() for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def literal_reasons(call):
    yield from (value for word in call.keywords if word.arg == "reason" for value in strings(word.value))
    name = getattr(call.func, "id", "")
    if name in ("BadRow", "RowError", "_refused", "_drop", "_error", "Waiting", "Verdict"):
        yield from (value for part in call.args for value in strings(part) if camel(value))


def strings(node):
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def camel(text):
    return text.isalpha() and text[0].isupper() and not text.isupper()


def not_reasons():
    """Words in CamelCase that are something else: conditions, learning statuses, what stays in files, states that say nothing."""
    return {
        "Ready",
        "Reconciling",
        "Stalled",
        "Pending",
        "ControlsBegun",
        "UnreadableRun",
        "HasFollowers",
        *REPEATS,
        *LearningStatus,
        "ImmutableField",
        *waiting._ORDINARY,
        *waiting._GOES_ON,
    }


def error_classes():
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SERError)]
    return {kind.__name__ for kind in found} - OF_COMMANDS


def test_every_reason_of_the_code_has_a_remedy():
    missing = ({*reasons_in_code()} | error_classes()) - not_reasons() - REMEDY_OF.keys()
    assert missing == set(), "add them to ser_core/cli/views/remedies"


def test_every_reason_of_the_operator_has_a_remedy():
    own = {
        allow_lists.NOT_SUPPORTED,
        read_run.INVALID,
        executing.NAME_CONFLICT,
        executing.JOB_REFUSED,
        silent_node.NODE_NOT_READY,
        waiting.NODE_UNREACHABLE,
        queueing.QUEUED,
    }
    assert own <= REMEDY_OF.keys()


def test_no_reason_stands_twice():
    listed = [reason for remedy in REMEDIES for reason in remedy.reasons]
    assert sorted(listed) == sorted(set(listed))


@pytest.mark.parametrize("remedy", [*REMEDIES, *BY_EXIT_CODE.values(), DEFECT])
def test_every_remedy_is_two_phrases(remedy):
    for text in (remedy.cause, remedy.fix):
        assert text
        assert not text.endswith(".")
        assert "{" not in text.replace("{resources}", "")


@pytest.mark.parametrize(
    ("code", "cause"), [(10, "the SERRun is wrong"), (11, "the data are wrong"), (22, "made no step"), (1, "unexpected way")]
)
def test_a_reason_that_nobody_knows_is_told_by_its_exit_code(code, cause):
    assert cause in remedy_of("NeverHeardOf", code).cause


def run_of(phase, reason, message="", *, stalled=False, suspend=False, **status):
    said = conditions((), phase, reason, message, 1, BEGUN, stalled=stalled)
    state = SERRunStatus(phase=phase, message=message, conditions=said, observed_generation=1, started_at=BEGUN, **status)
    return SERRun(metadata={"name": "hh", "namespace": "lab", "uid": "u"}, spec={**SPEC, "suspend": suspend}, status=state)


def row(outcome, stage=StageKind.RETRAIN, iteration=1, attempt=1, **more):
    return StageStatus(iteration=iteration, stage=stage, attempt=attempt, outcome=outcome, started_at=BEGUN, **more)


def told(run, *, on_cluster=True, events=()):
    return explain(run, events, NOW, "hh -n lab" if on_cluster else "hh.yaml", on_cluster=on_cluster)


DEAD = (
    IterationStatus(iteration=0, learning_status=LearningStatus.SEED, dev_accuracy=0.0, accuracy=0.4, accuracy_low=0.3),
    IterationStatus(iteration=1, learning_status=LearningStatus.STOP, monitors=Monitors(score=0.3, margin=0.0)),
)
WAITS = "retrain of loop 1, attempt 1 waits: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
FAILED = row(Outcome.FAILED, charged=True, exit_code=11, reason="DataNotFound", message="data.source.uri: no such file; correct it")


@pytest.mark.parametrize(
    ("run", "cause", "evidence", "fix"),
    [
        (
            run_of(Phase.WAITING, "Unschedulable", WAITS, stages=(row(Outcome.RUNNING),)),
            "no node can take the stage's pod",
            f"Unschedulable: {WAITS}",
            "change what resources.retrain or podTemplate asks for: the waiting Job is then made anew",
        ),
        (
            run_of(
                Phase.WAITING,
                "StoreUnavailable",
                "retrain: attempt 2 starts at 2026-01-31T12:26:00Z, after StoreUnavailable: 503",
                stages=(row(Outcome.FAILED, exit_code=20, reason="StoreUnavailable", message="503"),),
            ),
            "the object store does not answer",
            "StoreUnavailable: retrain: attempt 2 starts at",
            "the run tries again by itself",
        ),
        (
            run_of(Phase.WAITING, "ImagePullBackOff", "prepare, attempt 1 waits: Back-off", stages=(row(Outcome.RUNNING),)),
            "the node cannot pull the stage image",
            "ImagePullBackOff: prepare, attempt 1 waits: Back-off",
            "ask the administrator",
        ),
        (
            run_of(Phase.WAITING, "SomethingNew", "prepare, attempt 1 waits: for Godot", stages=(row(Outcome.RUNNING),)),
            UNKNOWN.cause,
            "SomethingNew: prepare, attempt 1 waits: for Godot",
            "kubectl describe pod",
        ),
        (
            run_of(Phase.WAITING, "NotSupported", "label of loop 1 cannot start", stalled=True, stage=StageKind.LABEL),
            "spec.resources ask for more",
            "NotSupported: label of loop 1 cannot start",
            "resources.label",
        ),
        (
            run_of(
                Phase.RUNNING,
                "Running",
                stages=(row(Outcome.RUNNING),),
                progress=ProgressStatus(percent=45, step=9, total=20, unit="steps", updated_at=BEGUN),
            ),
            "nothing is wrong",
            "retrain of loop 1, attempt 1, since 5 min, 45 % (9 of 20 steps)",
            "ser status hh -n lab --watch",
        ),
        (
            run_of(
                Phase.RUNNING,
                "Running",
                stages=(row(Outcome.FAILED, reason="StoreUnavailable", message="no answer"), row(Outcome.RUNNING, attempt=2)),
            ),
            "nothing is wrong",
            "attempt 1 ended with StoreUnavailable: no answer",
            "ser status",
        ),
        (
            run_of(
                Phase.RUNNING,
                "Pausing",
                "retrain: attempt 2 starts at",
                stages=(row(Outcome.FAILED, exit_code=21, reason="OutOfMemory"),),
                stage=StageKind.RETRAIN,
            ),
            "the stage needs more memory than it has; the next attempt begins by itself",
            "attempt 2 starts at",
            "raise resources.retrain.memory",
        ),
        (
            run_of(Phase.FAILED, "DataNotFound", "retrain: no such file", stages=(FAILED,)),
            "there is no data where the spec says",
            "DataNotFound: retrain: no such file",
            "upload the data to the URI; or correct the URI in another run; then ser retry hh -n lab",
        ),
        (
            run_of(Phase.FAILED, "ExitCode139", "label: it crashed", stages=(row(Outcome.FAILED, exit_code=139, reason="ExitCode139"),)),
            DEFECT.cause,
            "ExitCode139: label: it crashed",
            "ser logs",
        ),
        (
            run_of(Phase.FAILED, "NotAllowed", "storage.uri 's3://x' is not allowed"),
            "allow-lists forbid",
            "NotAllowed: storage.uri 's3://x' is not allowed",
            "ask the administrator",
        ),
        (
            run_of(Phase.SUSPENDED, "Suspended", "set suspend to false", suspend=True),
            "somebody suspended the run",
            "Suspended:",
            "ser resume hh -n lab",
        ),
        (run_of(Phase.BUDGET_EXCEEDED, "BudgetExceeded", "8.00 of 8 are spent"), "GPU-hours", "8.00 of 8", "raise budget.gpuHours"),
        (
            run_of(
                Phase.COMPLETED,
                "Completed",
                "best",
                iterations=(IterationStatus(iteration=0, learning_status=LearningStatus.SEED),),
                best_iteration=0,
            ),
            "no loop beat the seed model",
            "best",
            "more seed labels",
        ),
        (
            run_of(
                Phase.COMPLETED,
                "Completed",
                "x",
                iterations=(IterationStatus(iteration=1, learning_status=LearningStatus.STOP),),
                best_iteration=0,
            ),
            "in loop 1 too few self-labels could be trusted",
            "x",
            "more pairs to label, or in a new run a lower training.pairsPerStep",
        ),
        (
            run_of(
                Phase.COMPLETED,
                "Completed",
                "loop 1 found too few pairs to trust (all scores are equal, so the reward model has learnt nothing)",
                iterations=DEAD,
                best_iteration=0,
            ),
            "all scores are equal, so no self-label could be trusted",
            "all scores are equal",
            "in a new run lower training.learningRate",
        ),
        (
            run_of(
                Phase.COMPLETED,
                "Completed",
                "best reward model: loop 1, held-out accuracy 0.55",
                iterations=tuple(
                    IterationStatus(iteration=number, learning_status=LearningStatus.STATUS_1, accuracy_low=low)
                    for number, low in enumerate((0.7, 0.34))
                ),
                best_iteration=1,
            ),
            "may be no better than a coin",
            "held-out accuracy 0.55",
            "more seed labels or more training",
        ),
        (
            run_of(
                Phase.COMPLETED,
                "Completed",
                "best reward model: the seed model, held-out accuracy 0.3",
                iterations=(
                    IterationStatus(iteration=0, learning_status=LearningStatus.SEED, accuracy=0.3, accuracy_low=0.2, accuracy_high=0.43),
                ),
                best_iteration=0,
            ),
            "it is worse than a coin",
            "held-out accuracy 0.3",
            "see in ser report, under Length bias",
        ),
        (
            run_of(
                Phase.COMPLETED,
                "Completed",
                "best reward model: the seed model, which does not hold; loop 1 found too few pairs",
                iterations=(
                    IterationStatus(iteration=0, learning_status=LearningStatus.SEED, collapsed=True),
                    IterationStatus(iteration=1, learning_status=LearningStatus.STOP),
                ),
                best_iteration=0,
            ),
            "the training of its best reward model collapsed each time",
            "which does not hold",
            "in a new run lower training.learningRate",
        ),
        (
            run_of(
                Phase.COMPLETED,
                "Completed",
                "best reward model: loop 1, held-out accuracy 0.8",
                iterations=tuple(
                    IterationStatus(iteration=number, learning_status=LearningStatus.STATUS_1, accuracy=accuracy, accuracy_low=0.7)
                    for number, accuracy in enumerate((0.89, 0.8))
                ),
                best_iteration=1,
            ),
            "right on fewer held-out pairs than the seed model",
            "held-out accuracy 0.8",
            "FOLDER --loop 0 takes the seed model",
        ),
        (
            run_of(
                Phase.COMPLETED,
                "Completed",
                "best reward model: the seed model, held-out accuracy 0.8",
                iterations=tuple(
                    IterationStatus(
                        iteration=number, learning_status=LearningStatus.STATUS_1, collapsed=number == 1, accuracy=0.8, accuracy_low=0.7
                    )
                    for number in (0, 1)
                ),
                best_iteration=0,
            ),
            "no loop beat the seed model on the dev pairs with a model that holds",
            "held-out accuracy 0.8",
            "in a new run lower training.learningRate",
        ),
        (
            run_of(
                Phase.COMPLETED,
                "Completed",
                "best reward model: loop 1, which does not hold, held-out accuracy 0",
                iterations=tuple(
                    IterationStatus(iteration=number, learning_status=LearningStatus.STATUS_1, collapsed=number == 1) for number in (0, 1)
                ),
                best_iteration=1,
            ),
            "the training of its best reward model collapsed each time",
            "which does not hold",
            "in a new run lower training.learningRate",
        ),
    ],
)
def test_what_is_told(run, cause, evidence, fix):
    why = told(run)
    assert cause in why.cause
    assert evidence in why.evidence
    assert fix in why.fix
    assert not [line for line in (why.cause, why.evidence, why.fix) if "\n" in line or "{" in line]


def test_only_held_out_pairs_of_another_file_may_be_labelled_the_other_way_round():
    seed = IterationStatus(iteration=0, learning_status=LearningStatus.SEED, accuracy=0.3, accuracy_low=0.2, accuracy_high=0.43)
    run = run_of(Phase.COMPLETED, "Completed", iterations=(seed,), best_iteration=0)
    files = {name: {"uri": f"hf://org/{name}"} for name in ("seed", "unlabeled", "heldout")}
    of_files = run.model_copy(update={"spec": SERRunSpec.model_validate({**SPEC, "data": files})})
    assert ["compare labels of held-out pairs" in told(one).fix for one in (run, of_files)] == [False, True]


def test_where_a_text_was_cut_the_whole_one_is_pointed_to():
    messages = ("the probabilities lie…)", "the probabilities lie between 0.4 and 0.6)")
    evidence = [told(run_of(Phase.COMPLETED, "Completed", message, best_iteration=1)).evidence for message in messages]
    assert evidence == [f"{messages[0]}; the whole text: ser report hh -n lab", messages[1]]


@pytest.mark.parametrize(
    ("loop", "fix"),
    [
        ({"folds": 2}, "in a new run more seed labels, or 4 loop.folds in place of 2, choose better"),
        ({"folds": 5}, "in a new run more seed labels choose better"),
        ({"rule": "paper"}, "in a new run more seed labels choose better"),
    ],
)
def test_more_folds_are_advised_where_there_are_few(loop, fix):
    rows = tuple(
        IterationStatus(iteration=number, learning_status=LearningStatus.STATUS_1, accuracy=accuracy, accuracy_low=0.7)
        for number, accuracy in enumerate((0.89, 0.8))
    )
    run = run_of(Phase.COMPLETED, "Completed", iterations=rows, best_iteration=1)

    kept, removed = (
        told(run.model_copy(update={"spec": SERRunSpec.model_validate({**SPEC, "loop": loop, "storage": {**SPEC["storage"], **retain}})}))
        for retain in ({}, {"retain": "best"})
    )

    assert removed.fix == f"ser report says whether it may be chance; {fix}"
    assert kept.fix == f"{removed.fix}; ser export hh -n lab FOLDER --loop 0 takes the seed model"


def test_a_policy_that_games_the_reward_model_is_named():
    policy = PolicyStatus(uri="s3://b/x", manifestSHA256="0", score=1, baseline_score=0, kl=9, steps=3, stopped="LengthExplosion")
    why = told(run_of(Phase.COMPLETED, "Completed", "policy: …", policy=policy, best_iteration=1))
    assert "LengthExplosion is a sign that the policy games the reward model" in why.cause


def test_a_run_that_no_operator_looks_at_says_so():
    run = run_of(Phase.PENDING, "x").model_copy(update={"status": SERRunStatus()})
    why = told(run)
    assert why.cause == "no operator has looked at the run yet"
    assert why.evidence.endswith("it has no events")
    assert "watches namespace lab" in why.fix
    assert told(run, on_cluster=False).fix == "start it: ser run hh.yaml"


def test_a_change_that_no_operator_looks_at_says_so():
    run = run_of(Phase.RUNNING, "Running")
    changed = run.model_copy(update={"metadata": run.metadata.model_copy(update={"generation": 3})})
    events = [{"reason": "Started", "message": "prepare", "lastTimestamp": BEGUN}]
    assert told(changed, events=events) == told(changed, events=events[::-1])
    assert told(changed, events=events).cause == "no operator has looked at the change of the spec (generation 3, seen 1) yet"
    assert told(changed, events=events).evidence.endswith("last event: Started: prepare")


@pytest.mark.parametrize("message", ["", "a node went away"])
def test_what_the_last_attempt_ended_with_is_told_with_no_colon_before_nothing(message):
    before = row(Outcome.INTERRUPTED, reason="Interrupted", message=message)
    evidence = told(run_of(Phase.RUNNING, "Running", stages=(before, row(Outcome.RUNNING, attempt=2)))).evidence
    assert evidence.endswith(f"attempt 1 ended with Interrupted{f': {message}' if message else ''}")


WORKS = run_of(Phase.RUNNING, "Running", stages=(row(Outcome.RUNNING, attempt=2),))


def stage_pod(state, attempt=2):
    labels = {"ser.dev/stage": "retrain", "ser.dev/iteration": "1", "ser.dev/attempt": str(attempt)}
    return {"metadata": {"labels": labels}, "status": {"containerStatuses": [{"name": "stage", "state": state}]}}


def over(minutes, code=0):
    return stage_pod({"terminated": {"exitCode": code, "finishedAt": f"2026-01-31T12:{25 - minutes}:00Z"}})


@pytest.mark.parametrize(
    ("pods", "cause"),
    [
        ((), "nothing is wrong so far: the stage's pod has not started yet"),
        ((stage_pod({}),), "nothing is wrong so far: the stage's pod has not started yet"),
        (
            (stage_pod({"running": {}}, attempt=1), stage_pod({"waiting": {}})),
            "nothing is wrong so far: the stage's pod has not started yet",
        ),
        ((stage_pod({"running": {}}),), "nothing is wrong: a stage is running"),
        ((over(0),), "nothing is wrong: a stage is running"),
        ((over(3), stage_pod({"running": {}})), "nothing is wrong: a stage is running"),
        ((over(3), stage_pod({})), "nothing is wrong: a stage is running"),
        ((over(3), over(4, code=21)), "the stage has ended, and no operator has taken note of it"),
        (None, "nothing is wrong: a stage is running"),
    ],
)
def test_a_stage_is_said_to_run_only_if_its_pods_do(pods, cause):
    assert explain(WORKS, (), NOW, "hh -n lab", on_cluster=True, pods=pods).cause == cause


@pytest.mark.parametrize(("begun", "fix"), [("2026-01-31T12:24:00Z", "watch it: ser status hh"), (BEGUN, "see its pod: kubectl describe")])
def test_a_pod_that_does_not_start_for_minutes_is_to_be_looked_at(begun, fix):
    live = row(Outcome.RUNNING).model_copy(update={"started_at": begun})
    run = run_of(Phase.RUNNING, "Running", stages=(live,))
    assert explain(run, (), NOW, "hh", on_cluster=True, pods=()).fix.startswith(fix)


def test_an_end_that_no_operator_sees_leads_to_the_operator():
    why = explain(WORKS, (), NOW, "hh -n lab", on_cluster=True, pods=[over(3, code=21)])
    assert why.evidence.endswith("its pod ended 3 min ago, with exit code 21")
    assert why.fix == (
        "check that an operator runs (kubectl get pods -A -l app.kubernetes.io/name=ser-operator) "
        "and watches namespace lab (watchNamespaces of its chart)"
    )


def test_a_failed_run_of_this_machine_goes_on_by_two_commands():
    why = told(run_of(Phase.FAILED, "DataNotFound", stages=(FAILED,)), on_cluster=False)
    assert why.fix.endswith("then ser retry hh.yaml and ser run hh.yaml")


JOB = {"metadata": {"name": "ser-hh-0-prepare-0123456789", "uid": "j"}, "spec": {}}


def scheduled(reason, message):
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {"metadata": {"name": "p", "creationTimestamp": BEGUN}, "status": {"phase": "Pending", "conditions": [condition]}}


def container(reason, message):
    state = {"waiting": {"reason": reason, "message": message}}
    return {"metadata": {"name": "p", "creationTimestamp": BEGUN}, "status": {"phase": "Pending", "containerStatuses": [{"state": state}]}}


def event(reason, message):
    return {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": BEGUN}


@pytest.mark.parametrize(
    ("job", "pods", "events", "cause", "fix"),
    [
        (
            JOB,
            [scheduled("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")],
            [],
            "no node can take",
            "resources.prepare",
        ),
        (JOB, [scheduled("SchedulingGated", "Scheduling is blocked")], [], "something holds the pod back", "schedulingGates"),
        (JOB, [container("ErrImagePull", "not found")], [], "cannot pull the stage image", "correct the stage image"),
        (
            JOB,
            [container("CreateContainerConfigError", 'secret "ser-s3" not found')],
            [],
            "a Secret is missing",
            "storage.credentialsSecret",
        ),
        (
            JOB,
            [container("ContainerCreating", "")],
            [event("FailedMount", 'secret "ser-s3" not found')],
            "a Secret is missing",
            "must exist",
        ),
        (
            JOB,
            [scheduled("Unschedulable", "1 node(s) didn't match Pod's node affinity/selector.")],
            [],
            "no node can take",
            "label a node",
        ),
        (JOB, [], [event("FailedCreate", "is forbidden: exceeded quota: gpu")], "a quota", "or less"),
        (JOB, [], [event("FailedCreate", "must specify limits.memory for: stage")], "a quota", "name in resources.prepare what is missing"),
        (JOB, [], [event("FailedCreate", 'serviceaccount "ser-stage" not found')], "a missing ServiceAccount", "tries again by itself"),
        (JOB, [], [event("FailedCreate", "failed calling webhook")], "a webhook", "tries again by itself"),
        ({**JOB, "spec": {"suspend": True}}, [], [], "the queue has not admitted", "lower resources.prepare"),
    ],
)
def test_what_the_cluster_makes_a_stage_wait_for_goes_through_the_planner(job, pods, events, cause, fix):
    """From the pod to the three lines, through the operator's reading, the planner and its conditions."""
    run = SERRun(metadata={"name": "hh", "namespace": "lab", "uid": "u"}, spec=SPEC)
    started = plan(run, Observed(), NOW)
    attempt = started.actions[0]
    live = ObservedAttempt(0, StageKind.PREPARE, 1, attempt.job, "running")
    wait = waiting.waiting(job, pods, events)
    after = plan(run.model_copy(update={"status": started.status}), Observed((live,), waiting=wait), NOW)
    why = told(run.model_copy(update={"status": after.status}))
    assert cause in why.cause
    assert wait.message in why.evidence
    assert fix in why.fix


def test_after_ctrl_c_the_fault_that_the_run_waited_for_is_still_told():
    full = row(Outcome.FAILED, exit_code=20, reason="StoreFull", message="No space left on device")
    answer = told(run_of(Phase.SUSPENDED, "Suspended", "interrupted", stages=(full,)), on_cluster=False)

    assert answer.cause == f"ser run was interrupted, by Ctrl-C or SIGTERM; before, {remedy_of('StoreFull', 20).cause}"
    assert "No space left on device" in answer.evidence
    assert answer.fix.endswith(": ser run hh.yaml")
    assert remedy_of("StoreFull", 20).fix in answer.fix or remedy_of("StoreFull", 20).here in answer.fix


def test_out_of_budget_a_run_of_this_machine_goes_on_by_ser_run():
    spent = run_of(Phase.BUDGET_EXCEEDED, "BudgetExceeded", "8.00 of 8 are spent")
    assert explain(spent, (), NOW, "hh.yaml", on_cluster=False).fix.endswith("goes on from its checkpoint: ser run hh.yaml")


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("reason", ["OutOfMemory", "Killed"])
def test_a_stage_without_batches_that_lacks_memory_is_told_of_no_batch(reason, here):
    run = run_of(Phase.FAILED, reason, "told", stage=StageKind.PREPARE)
    fix = explain(run, (), NOW, "hh.yaml" if here else "hh", on_cluster=not here).fix
    assert ("resources.prepare.memory" in fix, "tokensPerBatch" in fix) == (True, False)
