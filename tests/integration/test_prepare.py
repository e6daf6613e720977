import json

import pytest

from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.data.tables import LabeledPair, PolicyPrompt, PoolPair, read_table
from ser_core.errors import DataError, SpecError
from ser_core.store.objects.connect import connect
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_jobs.process.context import StageContext
from ser_jobs.stages.prepare import body


class Events:
    def __init__(self):
        self.names = []

    def progress(self, step, total, unit):
        assert 0 <= step <= total

    def event(self, name, **fields):
        self.names.append(name)


@pytest.fixture
def prepare(tmp_path, tiny_model, pairs_file):
    def run(**changes):
        spec = SERRunSpec.model_validate(
            {
                "rewardModel": {"base": f"file://{tiny_model}", "maxLength": 32},
                "data": {"source": {"uri": f"file://{pairs_file}"}},
                "storage": {"uri": f"file://{tmp_path}/store"},
                **changes,
            }
        )
        identity = RunIdentity(namespace="default", name="tiny", uid="1")
        stage = StageSpec(run=identity, stage=StageKind.PREPARE, iteration=0, attempt=1, spec=spec, threads=1)
        workdir = tmp_path / "work"
        workdir.mkdir()
        store = connect(spec.storage)
        events = Events()
        checkpoints = CheckpointStore(store, identity, 0, StageKind.PREPARE)
        return body(StageContext(stage, store, {}, workdir, events, lambda: False, checkpoints)), events.names

    return run


def test_prepare_hands_on_the_split_the_model_and_where_they_came_from(prepare, tiny_model):
    output, events = prepare()
    assert events == ["store-probed", "model-checked", "data-split"]
    model = {name.removeprefix("model/") for name in output.files if name.startswith("model/")}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= model
    assert output.files["model/model.safetensors"].read_bytes() == (tiny_model / "model.safetensors").read_bytes()
    metrics = output.metrics
    assert (metrics.seed, metrics.dev, metrics.heldout, metrics.pool) == (27, 9, 24, 180)
    assert len(read_table(output.files["seed.parquet"], LabeledPair)) == 27
    assert len(read_table(output.files["pool.parquet"], PoolPair)) == 180
    provenance = json.loads(output.files["provenance.json"].read_text())
    assert provenance["baseModel"]["modelType"] == "bert"
    assert provenance["data"]["source"]["rows"] == 240


def test_a_policy_and_its_prompts_are_copied_too(prepare, qwen, tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    prompts = {"uri": f"file://{tmp_path}/prompts.jsonl"}
    output, events = prepare(policy={"base": f"file://{qwen}", "prompts": prompts, "promptTokens": 32, "answerTokens": 16})
    assert events == ["store-probed", "model-checked", "policy-checked", "data-split", "prompts-read"]
    assert output.files["policy/model.safetensors"].read_bytes() == (qwen / "model.safetensors").read_bytes()
    assert [row.prompt for row in read_table(output.files["prompts.parquet"], PolicyPrompt)] == ["one", "two"]
    provenance = json.loads(output.files["provenance.json"].read_text())
    assert (provenance["policy"]["modelType"], provenance["prompts"]["rows"]) == ("qwen2", 2)
    assert "= 48: the reward model reads at most 32 tokens" in output.metrics.warnings[-1]


def test_a_control_that_cannot_be_trained_on_the_data_is_refused_at_once(prepare, pairs_file, tmp_path):
    rows = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    parts = {"seed": rows[:80], "heldout": rows[160:]}
    parts["unlabeled"] = [{"prompt": row["prompt"], "answer_1": row["chosen"], "answer_2": row["rejected"]} for row in rows[80:160]]
    for name, part in parts.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    with pytest.raises(SpecError) as raised:
        prepare(data={name: {"uri": f"file://{tmp_path}/{name}.jsonl"} for name in parts}, loop={"controls": ["full"]})
    assert raised.value.reason == "NoHiddenLabels"


def test_a_later_stage_that_no_gpu_of_its_own_holds_is_warned_of(prepare):
    small = {"gpus": 1, "gpuMemory": "128Ki"}
    resources = {"label": {"gpus": 1}, "retrain": small}
    output, events = prepare(resources=resources, training={"tokensPerBatch": 65_536})
    (told,) = output.metrics.misfits
    assert told.startswith("stage retrain: ")
    assert "it fits with" in told or "no number of GPUs" in told
    assert events[2] == "does-not-fit"


def test_a_policy_whose_rows_are_longer_than_its_positions_is_refused(prepare, qwen):
    with pytest.raises(SpecError, match=r"policy\.promptTokens \+ policy\.answerTokens = 640 is more than"):
        prepare(policy={"base": f"file://{qwen}"})


def test_a_missing_policy_is_named(prepare, tmp_path):
    with pytest.raises(SpecError, match=r"policy\.base: .* does not exist"):
        prepare(policy={"base": f"file://{tmp_path}/nothing"})


def test_a_wrong_model_is_refused_before_the_data_are_read(prepare, tiny_model, tmp_path):
    with pytest.raises(SpecError, match="maxLength 128 is more than the 64 tokens"):
        prepare(
            rewardModel={"base": f"file://{tiny_model}", "maxLength": 128}, data={"source": {"uri": f"file://{tmp_path}/nothing.jsonl"}}
        )


def test_wrong_data_are_refused(prepare, tmp_path):
    with pytest.raises(DataError) as caught:
        prepare(data={"source": {"uri": f"file://{tmp_path}/nothing.jsonl"}})
    assert caught.value.reason == "DataNotFound"
