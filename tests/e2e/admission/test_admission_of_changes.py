"""A started run keeps its spec, on a real API server: each field changed, added and removed, one by one."""

import pytest
from e2e.admission.serruns import GOOD, collection, merged, nested
from unit.api.test_crd import SPEC_NODES

from controlplane.cluster import ApiError
from ser_core.api.spec.data import COLUMN_PAIRS

IMMUTABLE = {
    "rewardModel.base": ("hf://a/b", "hf://a/c"),
    "rewardModel.revision": ("v1", "v2"),
    "rewardModel.maxLength": (512, 256),
    "rewardModel.adapter.rank": (8, 4),
    "rewardModel.adapter.alpha": (8, 4),
    "rewardModel.precision": ("fp32", "bf16"),
    "rewardModel.template": ("chat", "reference"),
    "rewardModel.templateText": ("{prompt}: {answer}", "{prompt} {answer}"),
    "data.source.uri": ("s3://bucket/a", "s3://bucket/b"),
    "data.source.path": ("a", "b"),
    "data.source.subset": ("a", "b"),
    "data.source.split": ("a", "b"),
    **{
        f"data.source.columns.{key}": ("a", "b")
        for key in (
            "prompt",
            "system",
            "chosen",
            "rejected",
            "response_1",
            "response_2",
            "better",
            "score_1",
            "score_2",
            "weight",
            "margin",
            "id",
        )
    },
    "data.source.seedFraction": (0.2, 0.3),
    "data.source.heldoutFraction": (0.2, 0.3),
    "data.source.splitBy": ("firstTurn", "id"),
    "data.devFraction": (0.5, 0.4),
    "data.maxDroppedFraction": (0.5, 0.4),
    "data.splitSeed": (1, 2),
    "training.epochs": (3, 4),
    "training.learningRate": (0.5, 0.4),
    "training.pairsPerStep": (8, 4),
    "training.loss": ("hinge", "bradley-terry"),
    "training.margin": (2, 3),
    "training.centering": (0, 1),
    "training.seed": (1, 2),
    "training.search.learningRates": ([0.5], [0.4]),
    "training.search.epochs": ([3], [4]),
    "loop.rule": ("paper", "reference"),
    "loop.thresholds.high": (0.6, 0.7),
    "loop.thresholds.low": (0.4, 0.3),
    "loop.thresholds.delta": (0.4, 0.5),
    "loop.thresholds.minSamples": (5, 6),
    "loop.thresholds.targetPrecision": (0.8, 0.7),
    "loop.folds": (4, 2),
    "loop.retrainFrom": ("base", "previous"),
    "loop.stopping.minGain": (0.1, 0.2),
    "loop.stopping.patience": (2, 3),
    "loop.stopping.rollback": ("none", "best"),
    "loop.controls": (["full"], ["seedOnly"]),
    "policy.base": ("hf://a/b", "hf://a/c"),
    "policy.revision": ("v1", "v2"),
    "policy.prompts.uri": ("s3://bucket/a", "s3://bucket/b"),
    **{f"policy.prompts.{key}": ("a", "b") for key in ("path", "subset", "split", "columns.prompt", "columns.system")},
    "policy.sft.epochs": (2, 3),
    "policy.sft.learningRate": (0.5, 0.4),
    "policy.sft.answersPerStep": (8, 4),
    "policy.adapter.rank": (8, 4),
    "policy.adapter.alpha": (8, 4),
    "policy.precision": ("fp32", "bf16"),
    "policy.template": ("chat", "reference"),
    "policy.templateText": ("{prompt}: {answer}", "{prompt} {answer}"),
    "policy.steps": (10, 20),
    "policy.rolloutsPerStep": (8, 16),
    "policy.advantage": ("rloo", "gae"),
    "policy.answersPerPrompt": (4, 2),
    "policy.promptTokens": (8, 16),
    "policy.answerTokens": (8, 16),
    "policy.temperature": (1, 0.5),
    "policy.learningRate": (0.5, 0.4),
    "policy.criticLearningRate": (0.5, 0.4),
    "policy.kl.coefficient": (0.1, 0.2),
    "policy.kl.target": (1, 2),
    "policy.epochs": (1, 2),
    "policy.minibatches": (2, 3),
    "policy.generator": ("vllm", "transformers"),
    "policy.missingEndPenalty": (0, 2),
    "storage.uri": ("s3://bucket/runs", "s3://bucket/other"),
    "storage.endpoint": ("http://a:1", "http://b:1"),
    "storage.region": ("a", "b"),
    "storage.caBundle": ("/a", "/b"),
    "storage.caBundleFrom": ({"secret": "a", "key": "k"}, {"secret": "b", "key": "k"}),
    "storage.addressing": ("virtual", "path"),
    "storage.credentialsSecret": ("a", "b"),
    "storage.retain": ("best", "all"),
    "hub.endpoint": ("http://a:1", "http://b:1"),
    "hub.credentialsSecret": ("a", "b"),
    "from.run": ("earlier", "other"),
    "templateRef.name": ("team", "other"),
    "operatorClass": ("a", "b"),
}
REQUIRED = ("rewardModel.base", "data.source.uri", "storage.uri")
IN_A_PART = {"policy.base": "hf://a/b", "policy.prompts.uri": "s3://bucket/a", "policy.prompts.columns.prompt": "a"}
"""Required in a section that may be left out: the other fields of the section cannot be added to a run without it."""
MUTABLE = {
    "suspend": (True, False),
    "budget": ({"gpuHours": 1}, {"gpuHours": 0.5}),
    "activeDeadline": ("1h", "30m"),
    "ttlAfterFinished": ("1h", "30m"),
    "retries.limit": (2, 4),
    "retries.pause": ("20s", "5m"),
    "podTemplate": (
        {"env": [{"name": "NCCL_DEBUG", "value": "INFO"}]},
        {"annotations": {"sidecar.istio.io/inject": "false"}, "affinity": {}},
    ),
    "resources.retrain": ({"gpus": 2, "nodeSelector": {"a": "b"}}, {"cpu": "4", "tolerations": [{"operator": "Exists"}]}),
}
ONE_WAY = {"loop.maxIterations", "training.tokensPerBatch", "reopen"}
WHILE_SUSPENDED = {"queueName"}
BEGUN = "spec.loop.maxIterations: Invalid value: cannot be raised once the policy stage has begun: use another metadata.name"
ALIGNED = {"uri": "s3://bucket/m", "manifestSHA256": "0" * 64, "score": 1, "baselineScore": 0, "kl": 2, "steps": 30}
LOWERED = "spec.loop.maxIterations: Invalid value: may only be raised: suspend the run to stop it early, or use another metadata.name"


def refused(part):
    return f'SERRun.ser.dev "hh" is invalid: spec.{part}: Invalid value: cannot change once the run exists: use another metadata.name'


def part_of(path):
    """The field whose rule speaks."""
    return ".".join(path.split(".")[: 2 if path.startswith(("loop.", "training.")) else 1])


@pytest.fixture(scope="module")
def make(control_plane, crd):
    """Create a SERRun in a namespace of its own; returns a function that patches it, by default without keeping that."""
    api = control_plane.api()

    def create(*fields):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "admission-"}}
        namespace = api.create("/api/v1/namespaces", body)["metadata"]["name"]
        document = GOOD
        for field in fields:
            document = merged(document, {"spec": field})
        url = f"{collection(namespace)}/{api.create(collection(namespace), document)['metadata']['name']}"
        return lambda body, part="", query="?dryRun=All": api.patch(f"{url}{part}{query}", body)

    return create


@pytest.fixture(scope="module")
def full(make):
    """Every field is set, and none to its default."""
    return make({"queueName": "a"}, *(nested(path, first) for path, (first, _) in {**IMMUTABLE, **MUTABLE}.items()))


@pytest.fixture(scope="module")
def bare(make):
    return make()


def test_every_field_is_in_one_of_the_tables():
    fields = {path.removeprefix("spec.") for path, node in SPEC_NODES.items() if "properties" not in node and "[]" not in path}
    wholes = (
        "resources.",
        "budget.",
        "podTemplate.",
        "data.seed.",
        "data.unlabeled.",
        "data.heldout.",
        "data.splitBy",
        "storage.caBundleFrom.",
    )
    there = {path for path in fields if not path.startswith(wholes)}
    assert there - ONE_WAY - WHILE_SUSPENDED == {*IMMUTABLE, *MUTABLE} - {
        "resources.retrain",
        "budget",
        "podTemplate",
        "storage.caBundleFrom",
    }


@pytest.mark.parametrize("path", IMMUTABLE)
def test_an_immutable_field_cannot_be_changed(full, path):
    with pytest.raises(ApiError) as error:
        full({"spec": nested(path, IMMUTABLE[path][1])})
    assert error.value.message == refused(part_of(path))


ALONE = {f"data.source.columns.{key}": ("data.source.columns", "go together: name both") for pair in COLUMN_PAIRS for key in pair}
"""Fields that need another one: without it the server has a second reason, of which part and text are told here."""
RLOO = ("policy.answersPerPrompt", "leaves advantage rloo no answer to compare with")


def refusal(path, error, alone):
    """The first reason of the message, after a check of the second one that a field has ``alone``."""
    if path not in alone:
        return error.value.message
    part, text = alone[path]
    first, _, second = error.value.message.replace("invalid: [", "invalid: ").partition(f", spec.{part}: ")
    assert text in second
    return first


def needed_by(path):
    """What must be there beside a field of a section that may be left out."""
    found = {}
    for needed, value in IN_A_PART.items():
        if path.startswith(f"{needed.rpartition('.')[0]}."):
            found = merged(found, nested(needed, value))
    return found


@pytest.mark.parametrize("path", [path for path in IMMUTABLE if path not in REQUIRED])
def test_an_immutable_field_cannot_be_added(bare, path):
    with pytest.raises(ApiError) as error:
        bare({"spec": merged(needed_by(path), nested(path, IMMUTABLE[path][0]))})
    assert refusal(path, error, {**ALONE, "policy.advantage": RLOO}) == refused(part_of(path))


@pytest.mark.parametrize(
    "path",
    [path for path in IMMUTABLE if path not in (*REQUIRED, *IN_A_PART, "from.run", "templateRef.name")]
    + ["policy", "policy.prompts", "policy.prompts.columns", "from", "templateRef"],
)
def test_an_immutable_field_cannot_be_removed(full, path):
    with pytest.raises(ApiError) as error:
        full({"spec": nested(path, None)})
    assert refusal(path, error, {**ALONE, "policy.answersPerPrompt": RLOO}) == refused(part_of(path))


@pytest.mark.parametrize("path", MUTABLE)
def test_a_mutable_field_may_be_added_changed_and_removed(full, bare, path):
    first, second = MUTABLE[path]
    bare({"spec": nested(path, first)})
    full({"spec": nested(path, second)})
    full({"spec": nested(path, None)})


def test_the_queue_may_change_while_suspend_is_true(full, bare):
    bare({"spec": {"queueName": "b", "suspend": True}})
    full({"spec": {"queueName": "b"}})
    full({"spec": {"queueName": None}})
    for change in ({"queueName": "b"}, {"queueName": "b", "suspend": False}):
        with pytest.raises(ApiError) as error:
            bare({"spec": change})
        assert "spec.queueName: Invalid value: cannot change while the run is at work: set suspend to true too" in error.value.message


def test_three_files_cannot_take_the_place_of_a_source(bare):
    files = {name: {"uri": f"s3://bucket/{name}"} for name in ("seed", "unlabeled", "heldout")}
    with pytest.raises(ApiError) as error:
        bare({"spec": {"data": {**files, "source": None}}})
    assert error.value.message == refused("data")


@pytest.mark.parametrize("same", [{"loop": None}, {"hub": None}, {"policy": None}, {"training": {"epochs": 2}}, {"data": {"seed": None}}])
def test_writing_a_default_out_or_leaving_it_out_is_no_change(bare, same):
    bare({"spec": same})


@pytest.mark.parametrize("phase", ["Pending", "Running", "Suspended", "BudgetExceeded", "Completed", "Failed"])
def test_iterations_may_be_raised_and_never_lowered(make, phase):
    patch = make()
    patch({"spec": {"loop": {"maxIterations": 5}}})
    patch({"status": {"phase": phase}}, part="/status", query="")
    patch({"spec": {"loop": {"maxIterations": 5}}})
    with pytest.raises(ApiError) as error:
        patch({"spec": {"loop": {"maxIterations": 3}}})
    assert error.value.message == f'SERRun.ser.dev "hh" is invalid: {LOWERED}'


@pytest.mark.parametrize(
    ("field", "wrong", "right", "told"),
    [
        ("training.tokensPerBatch", 257, 255, "may only be lowered once the run exists: use another metadata.name"),
        ("training.tokensPerBatch", None, 64, "may only be lowered once the run exists: use another metadata.name"),
        ("reopen", 1, 3, "may only be raised: each rise reopens a failed run"),
        ("reopen", None, 3, "may only be raised: each rise reopens a failed run"),
    ],
)
def test_some_fields_change_in_one_direction(make, field, wrong, right, told):
    patch = make(nested("training.tokensPerBatch", 256), {"reopen": 2})
    with pytest.raises(ApiError) as error:
        patch({"spec": nested(field, wrong)})
    assert error.value.message == f'SERRun.ser.dev "hh" is invalid: spec.{field}: Invalid value: {told}'
    patch({"spec": nested(field, right)})


@pytest.mark.parametrize("status", [{"stage": "sft"}, {"stage": "ppo"}, {"stage": "control-full", "policy": ALIGNED}])
def test_iterations_may_not_be_raised_once_the_policy_stage_has_begun(make, status):
    patch = make()
    patch({"status": status}, part="/status", query="")
    with pytest.raises(ApiError) as error:
        patch({"spec": {"loop": {"maxIterations": 5}}})
    assert error.value.message == f'SERRun.ser.dev "hh" is invalid: {BEGUN}'
