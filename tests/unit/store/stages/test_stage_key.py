"""The stage key changes with what a stage reads, and with nothing else."""

from typing import Any

import pytest

from ser_core.api.run_template import merged
from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import InputRole, LabelMetrics, Processes, RetrainMetrics, RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.store.stages import stage_reads
from ser_core.store.stages.manifest import Manifest, OutputFile
from ser_core.store.stages.stage_key import differences, leaves, stage_key
from ser_core.store.stages.stage_reads import READS

ALONE = Processes()
RUN = RunIdentity(namespace="lab", name="hh", uid="uid-1")
STAGES = [(kind, 0) for kind in StageKind if kind not in (StageKind.LABEL, StageKind.FILTER)]
STAGES += [(StageKind.LABEL, 2), (StageKind.FILTER, 2), (StageKind.RETRAIN, 2)]
CONTROLS = {StageKind.CONTROL_FULL, StageKind.CONTROL_SEED_ONLY, StageKind.CONTROL_PSEUDO_LABEL_ONCE}
SEED, LOOP = (StageKind.RETRAIN, 0), (StageKind.RETRAIN, 2)
TRAINED = {SEED, LOOP, *((kind, 0) for kind in CONTROLS)}
PREPARE, LABEL, FILTER = (StageKind.PREPARE, 0), (StageKind.LABEL, 2), (StageKind.FILTER, 2)
SFT, PPO = (StageKind.SFT, 0), (StageKind.PPO, 0)

FULL: dict[str, Any] = {
    "rewardModel": {
        "base": "hf://organisation/model",
        "revision": "main",
        "adapter": {"rank": 8},
        "template": "chat",
        "templateText": "{prompt}\n{answer}",
    },
    "data": {"source": {"uri": "hf://organisation/data", "columns": {"prompt": "question"}}},
    "policy": {
        "base": "hf://organisation/policy",
        "revision": "main",
        "prompts": {"uri": "hf://organisation/prompts", "columns": {"prompt": "question"}},
        "template": "chat",
        "templateText": "{prompt}\n{answer}",
        "sft": {"epochs": 2},
        "adapter": {"rank": 8},
        "kl": {"target": 6.0},
        "answersPerPrompt": 4,
    },
    "training": {"search": {"epochs": [2]}},
    "loop": {"rule": "paper", "retrainFrom": "base", "controls": ["full"]},
    "resources": {"retrain": {"cpu": "4"}},
    "storage": {"uri": "s3://bucket/prefix", "endpoint": "https://s3.example", "credentialsSecret": "s3", "caBundleFrom": {"secret": "ca"}},
    "hub": {"endpoint": "https://hub.example", "credentialsSecret": "hub"},
    "queueName": "team",
    "activeDeadline": "36h",
    "ttlAfterFinished": "1h",
    "budget": {"gpuHours": 5.0},
    "from": {"run": "hh-0"},
    "templateRef": {"name": "team"},
}
DEPENDENTS: dict[str, set[tuple[StageKind, int]]] = {
    "rewardModel.base": {PREPARE},
    "rewardModel.revision": {PREPARE},
    "rewardModel.maxLength": {*TRAINED, LABEL, PPO},
    "rewardModel.precision": {*TRAINED, LABEL, PPO},
    "rewardModel.adapter": TRAINED,
    "rewardModel.template": {PREPARE, *TRAINED},
    "rewardModel.templateText": TRAINED,
    "data": {PREPARE},
    "training": TRAINED,
    "training.pairsPerStep": {*TRAINED, FILTER},
    "training.tokensPerBatch": {*TRAINED, LABEL, SFT, PPO},
    "training.seed": {*TRAINED, SFT, PPO},
    "loop.rule": {LOOP, FILTER},
    "loop.thresholds": {FILTER},
    "loop.retrainFrom": {LOOP},
    "policy": {PPO},
    "policy.base": {PREPARE},
    "policy.revision": {PREPARE},
    "policy.prompts": {PREPARE},
    "policy.sft": {SFT},
    "policy.adapter": {SFT, PPO},
    "policy.precision": {SFT, PPO},
    "policy.template": {PREPARE, SFT, PPO},
    "policy.templateText": {SFT, PPO},
    "policy.promptTokens": {SFT, PPO},
    "policy.answerTokens": {SFT, PPO},
}
"""The stages whose output may depend on a field; the longest path counts, and every other field changes no stage's output."""


def every_field(schema, definitions, path=""):
    """Paths of all fields of the spec that hold a value."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    options = [one for one in schema.get("anyOf", ()) if "$ref" in one]
    if options:
        schema = definitions[options[0]["$ref"].rpartition("/")[2]]
    if "properties" not in schema or path.endswith(("podTemplate", "caBundleFrom")):  # of which no stage reads any part
        yield path
        return
    for name, inner in schema["properties"].items():
        yield from every_field(inner, definitions, f"{path}.{name}".removeprefix("."))


SCHEMA = SERRunSpec.model_json_schema(by_alias=True)
FIELDS = [path for path in every_field(SCHEMA, SCHEMA["$defs"]) if not path.startswith("data.") or path.startswith("data.source.")]
FIELDS += ["data.devFraction", "data.maxDroppedFraction"]
OTHERS = (7, 9, 99, 0.2, 0.7, 0.52, True, "auto", "fp32", "bf16", "hinge", "best", "none", "previous", "reference", "vllm", "rloo", 64)
OTHERS += (
    "hf://organisation/other",
    "s3://bucket/other",
    "{prompt} {answer}",
    "https://other.example",
    "other",
    "2",
    "2Gi",
    "2h",
    ["seedOnly"],
)
OTHERS += ("virtual", {"configMap": "other"}, {"schedulerName": "other"}, {"pool": "a100"}, [{"key": "gpu"}], ["q_proj"], [1])


def changed(path):
    """The full spec with another value of one field."""
    for value in OTHERS:
        content = SERRunSpec.model_validate(FULL).model_dump(mode="json", by_alias=True)
        *parts, last = path.split(".")
        inner = content
        for part in parts:
            inner = inner[part]
        if inner[last] == value or (isinstance(value, bool) != isinstance(inner[last], bool)):
            continue
        inner[last] = value
        try:
            return SERRunSpec.model_validate(content)
        except ValueError:
            continue
    raise AssertionError(f"no other value is known for {path}")


def keys(spec, processes=ALONE):
    return {
        (kind, iteration): stage_key(
            StageSpec(run=RUN, stage=kind, iteration=iteration, attempt=1, spec=spec, threads=2), inputs_of(kind), processes, {"data": "x"}
        ).sha256
        for kind, iteration in STAGES
    }


def manifest(outputs, metrics=None):
    parts = {name: OutputFile(key=f"lab/hh/uid-1/{name}", size=1, sha256=digest) for name, digest in outputs.items()}
    return Manifest(
        run=RUN,
        stage=StageKind.PREPARE,
        iteration=0,
        attempt=1,
        writer="w",
        inputs={},
        outputs=parts,
        metrics=metrics or LabelMetrics(labeled=1, truncated=0),
        code_version="0",
        seed=0,
        threads=1,
        started_at="",
        finished_at="",
    )


ALL_OUTPUTS = dict.fromkeys(
    (
        *("seed.parquet", "dev.parquet", "heldout.parquet", "pool.parquet", "pool_labels.parquet", "prompts.parquet"),
        *("model/model.safetensors", "policy/model.safetensors", "labels.parquet", "decisions.parquet", "calibration.parquet"),
        *("dev_scores.parquet", "heldout_scores.parquet", "provenance.json", "evaluation.json", "training.parquet"),
    ),
    "a",
)


def inputs_of(kind, outputs=ALL_OUTPUTS):
    return {role: manifest(outputs) for role in READS[kind]}


@pytest.mark.parametrize("path", sorted(set(FIELDS)))
def test_a_field_changes_the_keys_of_the_stages_that_depend_on_it_and_no_other(path):
    before, after = keys(SERRunSpec.model_validate(FULL)), keys(changed(path))
    rows = [row for row in DEPENDENTS if path == row or path.startswith(f"{row}.")]
    expected = DEPENDENTS[max(rows, key=len)] if rows else set()
    assert {stage for stage in before if before[stage] != after[stage]} == expected


def test_folds_count_as_they_are_asked_for_and_runs_of_version_0_1_0_keep_their_keys():
    def loop(**fields):
        return keys(SERRunSpec.model_validate({**FULL, "loop": {"rule": "calibrated", **fields}}))

    earlier = loop(thresholds={"targetPrecision": 0.9})
    changed = {stage for stage, key in loop().items() if key != earlier[stage]}
    assert changed == {SEED, LOOP, FILTER, SFT, *((kind, 0) for kind in CONTROLS)}
    assert loop() == loop(folds=4) != loop(folds=2)
    assert loop(folds=2)[LABEL] == loop()[LABEL], "its fold models are among its inputs"
    assert loop(folds=2)[SFT] == loop()[SFT], "it learns the dev part however many there are"
    one = StageSpec(
        run=RUN,
        stage=StageKind.FILTER,
        iteration=1,
        attempt=1,
        spec=SERRunSpec.model_validate({**FULL, "loop": {"thresholds": {"targetPrecision": 0.9}}}),
        threads=1,
    )
    assert stage_key(one, {}, ALONE).spec == {}, "as it stands in a manifest of version 0.1.0"


def test_only_rule_calibrated_cross_fits_the_seed_model():
    rules = {rule: keys(SERRunSpec.model_validate({**FULL, "loop": {"rule": rule}})) for rule in ("calibrated", "paper", "reference")}
    assert rules["paper"][SEED] == rules["reference"][SEED] != rules["calibrated"][SEED]
    assert rules["paper"][LABEL] == rules["calibrated"][LABEL]


@pytest.mark.parametrize(
    ("processes", "dependents"),
    [(Processes(count=2), {*TRAINED, SFT, PPO}), (Processes(on_gpus=True), {*TRAINED, SFT, PPO, LABEL})],
    ids=["two processes", "a GPU"],
)
def test_what_computes_a_stage_counts_where_results_depend_on_it(processes, dependents):
    before, after = (keys(SERRunSpec.model_validate(FULL), one) for one in (ALONE, processes))
    assert {stage for stage in before if before[stage] != after[stage]} == dependents


def test_the_content_of_an_input_counts_and_not_where_it_lies():
    read = {kind: inputs_of(kind) for kind in StageKind}
    elsewhere = {
        role: one.model_copy(
            update={"run": RUN.model_copy(update={"uid": "uid-2"}), "writer": "other", "attempt": 3, "started_at": "later"}
        )
        for role, one in read[StageKind.FILTER].items()
    }
    stage = StageSpec(run=RUN, stage=StageKind.FILTER, iteration=1, attempt=1, spec=SERRunSpec.model_validate(FULL), threads=2)
    other_run = stage.model_copy(update={"run": RUN.model_copy(update={"uid": "uid-2", "name": "other"}), "attempt": 7, "threads": 4})
    assert stage_key(stage, read[StageKind.FILTER], ALONE) == stage_key(other_run, elsewhere, ALONE)


@pytest.mark.parametrize("kind", [kind for kind in StageKind if READS[kind]])
def test_an_output_changes_the_key_of_the_stages_that_read_it(kind):
    spec = SERRunSpec.model_validate(FULL)
    stage = StageSpec(run=RUN, stage=kind, iteration=1, attempt=1, spec=spec, threads=1)
    before = stage_key(stage, inputs_of(kind), ALONE)
    read = {name for one in READS[kind].values() for name in one.outputs}
    for name in ALL_OUTPUTS:
        after = stage_key(stage, inputs_of(kind, {**ALL_OUTPUTS, name: "b"}), ALONE)
        is_read = any(name == one or (one.endswith("/") and name.startswith(one)) for one in read)
        assert (after.sha256 != before.sha256) == is_read, name


def test_the_temperature_of_the_labelling_model_changes_what_filter_decides():
    stage = StageSpec(run=RUN, stage=StageKind.FILTER, iteration=1, attempt=1, spec=SERRunSpec.model_validate(FULL), threads=1)
    metrics = RetrainMetrics.model_construct(temperature=1.0)
    one, other = ({InputRole.LABELER: manifest({}, metrics.model_copy(update={"temperature": value}))} for value in (1.0, 1.5))
    assert stage_key(stage, one, ALONE).sha256 != stage_key(stage, other, ALONE).sha256


@pytest.mark.parametrize(("kind", "depends"), [(StageKind.PREPARE, False), (StageKind.FILTER, False), (StageKind.LABEL, True)])
def test_threads_count_where_results_depend_on_them(kind, depends):
    stage = StageSpec(run=RUN, stage=kind, iteration=1, attempt=1, spec=SERRunSpec.model_validate(FULL), threads=1)
    other = stage.model_copy(update={"threads": 2})
    assert (stage_key(stage, {}, ALONE).sha256 != stage_key(other, {}, ALONE).sha256) == depends


def test_a_run_with_a_template_and_the_same_run_written_out_have_equal_keys():
    shared = {
        "resources": {"retrain": {"cpu": "8"}},
        "storage": {"endpoint": "https://s3.example"},
        "hub": {"endpoint": "https://hub.example"},
    }
    own = {**FULL, "resources": {}, "hub": {}, "storage": {"uri": "s3://bucket/prefix"}}
    written_out = {**own, "resources": shared["resources"], "hub": shared["hub"], "storage": {**shared["storage"], **own["storage"]}}
    written_out.pop("templateRef")

    assert keys(SERRunSpec.model_validate(merged(own, shared))) == keys(SERRunSpec.model_validate(written_out))


def test_a_later_version_of_an_algorithm_has_another_key(monkeypatch):
    stage = StageSpec(run=RUN, stage=StageKind.LABEL, iteration=1, attempt=1, spec=SERRunSpec.model_validate(FULL), threads=1)
    before = stage_key(stage, {}, ALONE)
    monkeypatch.setitem(stage_reads.ALGORITHM, StageKind.LABEL, before.algorithm + 1)
    after = stage_key(stage, {}, ALONE)
    assert differences(after, before) == f"the stage's algorithm has version {after.algorithm}, there {before.algorithm}"


def test_a_field_at_its_default_is_as_one_left_out():
    """So a field of a later version, left at its default, changes no key."""
    assert leaves(SERRunSpec.model_validate({**FULL, "training": {**FULL["training"], "epochs": 2}})) == leaves(
        SERRunSpec.model_validate(FULL)
    )


def test_what_differs_is_told_in_words():
    spec = SERRunSpec.model_validate(FULL)
    stage = StageSpec(run=RUN, stage=StageKind.RETRAIN, iteration=1, attempt=1, spec=spec, threads=1)
    training = spec.training.model_copy(update={"epochs": 3, "seed": 1, "loss": "hinge", "margin": 2.0})
    own = stage.model_copy(update={"spec": spec.model_copy(update={"training": training})})
    prepared = {InputRole.PREPARED: manifest(ALL_OUTPUTS)}
    assert differences(stage_key(own, {}, ALONE), stage_key(stage, {}, ALONE)) == (
        'training.epochs is 3, there left out, training.loss is "hinge", there left out, training.margin is 2.0, there left out and 1 more'
    )
    assert differences(stage_key(stage, prepared, ALONE), stage_key(stage, {}, ALONE)) == "prepared has another content"
    assert differences(stage_key(stage, prepared, ALONE), stage_key(stage, prepared, ALONE)) == ""
