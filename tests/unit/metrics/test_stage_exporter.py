"""What a running stage exports."""

import io
import sys
import urllib.request
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families

from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.data.tables import TrainingStep
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.metrics import METRICS, POLICY, STAGES, TRAINING
from ser_jobs.telemetry.metrics_exporter import Measurements, exposition
from ser_jobs.telemetry.progress_server import progress_server
from ser_jobs.telemetry.reporter import EventLog

STARTED = datetime(2026, 1, 31, 12, tzinfo=UTC)
WITH_A_GPU_ALONE = {"ser_stage_gpu_memory_bytes"}


@pytest.fixture
def spec():
    values = {
        "rewardModel": {"base": "hf://org/model"},
        "data": {"source": {"uri": "hf://org/data"}},
        "storage": {"uri": "s3://bucket/runs"},
    }
    run = RunIdentity(namespace="team", name="hh", uid="1")
    return StageSpec(run=run, stage=StageKind.RETRAIN, iteration=2, attempt=3, spec=SERRunSpec.model_validate(values), threads=1)


def values_of(page):
    return {sample.name: (sample.value, sample.labels) for family in text_string_to_metric_families(page) for sample in family.samples}


def test_a_training_tells_its_newest_step_and_its_sums(spec):
    measured = Measurements()
    measured.trained(TrainingStep(1, 0.7, 1e-5, 2.0, 8, 100))
    measured.trained(TrainingStep(2, 0.6, 2e-5, 3.0, 8, 120))
    measured.store_retried()

    values = values_of(exposition(spec, STARTED, {"step": 16, "total": 64, "unit": "pairs"}, measured.values()).decode())

    stage = {"namespace": "team", "run": "hh", "iteration": "2", "stage": "retrain"}
    assert values["ser_train_loss"] == (0.6, stage)
    assert values["ser_train_tokens_total"] == (220, stage)
    assert values["ser_train_steps_total"] == (2, stage)
    assert values["ser_stage_work_done"] == (16, {**stage, "unit": "pairs"})
    assert values["ser_stage_start_timestamp_seconds"][0] == STARTED.timestamp()
    assert values["ser_stage_memory_bytes"][0] > 1e6
    assert {metric.name for group in (STAGES, TRAINING) for metric in group.metrics} - values.keys() == WITH_A_GPU_ALONE
    assert all(set(labels) == set(METRICS[name].labels) for name, (_, labels) in values.items())


def test_a_fine_tuning_tells_its_loss():
    measured = Measurements()
    measured.fine_tuned(2.0)
    measured.fine_tuned(1.5)

    assert (measured.values()["ser_train_loss"], measured.values()["ser_train_steps_total"]) == (1.5, 2)


def ppo_step(**values):
    return StepMetrics(**{**dict.fromkeys(StepMetrics.__dataclass_fields__, 0.5), **values})


def test_an_alignment_tells_its_newest_step_and_its_sums(spec):
    measured = Measurements()
    measured.aligned(ppo_step(step=1, kl=1.0, witness_score=None))
    assert "ser_policy_witness_score" not in measured.values()
    measured.aligned(ppo_step(step=2, kl=2.0))

    values = values_of(exposition(spec, STARTED, None, measured.values()).decode())

    assert values["ser_policy_kl_nats"][0] == 2
    assert values["ser_policy_steps_total"][0] == 2
    assert values["ser_policy_generate_seconds_total"][0] == 1
    assert {metric.name for metric in POLICY.metrics} <= values.keys()


def test_a_stage_that_does_not_train_has_no_losses(spec):
    values = values_of(exposition(spec, STARTED, None, Measurements().values()).decode())

    assert not any(name.startswith("ser_train_") for name in values)
    assert values["ser_stage_store_retries_total"][0] == 0


def test_each_gpu_in_use_tells_its_memory(spec, monkeypatch):
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 3,
        memory_allocated=lambda device: 10 + device,
        memory_reserved=lambda device: 20 + device,
        max_memory_allocated=lambda device: 30 + device if device < 2 else 0,
        get_device_properties=lambda device: SimpleNamespace(total_memory=40 + device),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))  # no machine of the tests has a GPU

    page = exposition(spec, STARTED, None, {}).decode()

    found = [sample for family in text_string_to_metric_families(page) for sample in family.samples if "gpu" in sample.name]
    assert {(one.labels["device"], one.labels["use"]): one.value for one in found} == {
        **{("0", "allocated"): 10, ("0", "reserved"): 20, ("0", "peak"): 30, ("0", "total"): 40},
        **{("1", "allocated"): 11, ("1", "reserved"): 21, ("1", "peak"): 31, ("1", "total"): 41},
    }


def test_the_page_stands_beside_the_progress(spec, tmp_path):
    port = free_port()
    log, measured = EventLog(tmp_path / "log.jsonl", io.StringIO()), Measurements()
    environment = {"POD_IP": "127.0.0.1", "SER_PROGRESS_PORT": str(port)}
    with progress_server(environment, log.latest, lambda: exposition(spec, STARTED, log.latest(), measured.values())):
        log.progress(3, 10, "pairs")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert values_of(answer.read().decode())["ser_stage_work_done"][0] == 3
