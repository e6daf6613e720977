"""`storage.retain: best`: which reward models go, what stays, and what is said of those that are gone."""

import sys

import pytest

from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import Evaluation, RetrainMetrics, RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.errors import SpecError
from ser_core.loop.deciding.stages import StageKey
from ser_core.store.runs.followers import refer_back
from ser_core.store.runs.leader import leader_key
from ser_core.store.runs.retaining import needed, remove_unneeded, unneeded_files
from ser_core.store.stages.commit import commit, fetch_outputs, find_manifest, upload_outputs
from ser_core.store.stages.manifest import Manifest, OutputFile

BASE = {
    "model/base/model.safetensors": OutputFile(
        key="default/hh/uid/iter-0000/prepare/attempt-1-a/model/model.safetensors", size=1, sha256=""
    )
}
POLICY = {"base": "hf://organisation/policy"}


def evaluation(accuracy, loss=0.5):
    return Evaluation(
        pairs=100, accuracy=accuracy, accuracy_low=0, accuracy_high=1, log_loss=loss, calibration_error=0, length_only_accuracy=0.5
    )


@pytest.fixture
def run(store, identity, tmp_path):
    """Commits a stage of a run, as if it were trained, and looks what is not needed any more."""

    class Run:
        def commit(self, stage, iteration, accuracy=0.5, outputs=None):
            files = {}
            for name in ("model/adapter_model.safetensors", "dev_scores.parquet"):
                files[name] = tmp_path / f"{stage}-{iteration}-{name.replace('/', '-')}"
                files[name].write_text(f"{stage} {iteration} {name}")
            metrics = {"steps": 1, "seed_pairs": 1, "self_labeled_pairs": 0, "truncated": 0, "temperature": 1}
            manifest = Manifest(
                run=identity,
                stage=stage,
                iteration=iteration,
                attempt=1,
                writer="w",
                inputs={},
                outputs=upload_outputs(store, identity, iteration, stage, 1, files) | (outputs or {}),
                metrics=RetrainMetrics(dev=evaluation(accuracy), heldout=evaluation(0.5), **metrics),
                code_version="0",
                seed=0,
                threads=1,
                started_at="",
                finished_at="",
            )
            return commit(store, manifest).manifest

        def look(self, stage=StageKind.RETRAIN, policy=None, retain="best", taken=None):
            spec = {
                "rewardModel": {"base": "hf://organisation/model"},
                "data": {"source": {"uri": "hf://organisation/data"}},
                "storage": {"uri": "s3://bucket/prefix", "retain": retain},
                "policy": policy,
            }
            stage_spec = StageSpec(run=identity, stage=stage, iteration=0, attempt=1, threads=1, spec=SERRunSpec.model_validate(spec))
            return remove_unneeded(taken or store, stage_spec)

        def loops(self, *accuracies):
            return [self.commit(StageKind.RETRAIN, number, accuracy) for number, accuracy in enumerate(accuracies)]

        def left(self, *keys):
            """Which models still have their weights."""
            there = {entry.key for entry in store.list("")}
            found = [find_manifest(store, identity, key.iteration, key.stage)[0] for key in keys]
            return [key for key, one in zip(keys, found, strict=True) if one.outputs["model/adapter_model.safetensors"].key in there]

    return Run()


def loops(*numbers):
    return [StageKey(number, StageKind.RETRAIN) for number in numbers]


def test_the_best_stays_and_the_newest_which_may_label_the_next_loop(run):
    run.loops(0.6, 0.8, 0.7, 0.75)
    assert run.look().models == tuple(loops(0, 2))
    assert run.left(*loops(0, 1, 2, 3)) == loops(1, 3)


def test_manifests_and_tables_of_what_is_removed_stay(run, store, identity, tmp_path):
    first = run.loops(0.6, 0.8, 0.7)[0]
    run.look()
    assert fetch_outputs(store, first, ["dev_scores.parquet"], tmp_path / "got")
    with pytest.raises(SpecError, match=r"hh has removed the seed model, since its storage\.retain is best") as raised:
        fetch_outputs(store, first, ["model/adapter_model.safetensors"], tmp_path / "got")
    assert raised.value.reason == "ModelRemoved"


def test_the_seed_model_stays_as_the_witness_until_ppo_is_done_and_then_the_best_alone(run):
    run.loops(0.6, 0.8, 0.7)
    run.look(policy=POLICY)
    assert run.left(*loops(0, 1, 2)) == loops(0, 1, 2)
    run.commit(StageKind.PPO, 0)
    run.look(StageKind.PPO, policy=POLICY)
    assert run.left(*loops(0, 1, 2)) == loops(1)


def test_the_model_of_a_control_goes(run):
    run.loops(0.6, 0.8)
    run.commit(StageKind.CONTROL_FULL, 0)
    run.look(StageKind.CONTROL_FULL)
    assert run.left(StageKey(0, StageKind.CONTROL_FULL), *loops(1)) == loops(1)


def test_what_a_kept_adapter_lies_on_stays(run):
    first = run.loops(0.6)[0]
    second = run.commit(
        StageKind.RETRAIN, 1, 0.7, {"model/base/adapter_model.safetensors": first.outputs["model/adapter_model.safetensors"]}
    )
    models = dict(zip(loops(0, 1), (first, second), strict=True))
    assert needed(models, wants_policy=False, aligned=False) == set(loops(1))
    assert unneeded_files(models, set(loops(1)), first.run) == {}


def test_fold_models_go_with_their_reward_model(run, identity):
    made = run.loops(0.6, 0.8, 0.7)
    prefix = made[0].outputs["dev_scores.parquet"].key.removesuffix("dev_scores.parquet")
    fold = OutputFile(key=f"{prefix}folds/0/model.safetensors", size=1, sha256="")
    models = dict(zip(loops(0, 1, 2), made, strict=True))
    models |= {key: one.model_copy(update={"outputs": {**one.outputs, "folds/0/model.safetensors": fold}}) for key, one in models.items()}
    assert fold.key not in unneeded_files(models, set(loops(0, 1, 2)), identity)
    assert unneeded_files({loops(0)[0]: models[loops(0)[0]]}, (), identity)[fold.key] == loops(0)[0]


@pytest.mark.parametrize(("gains", "stays"), [((-0.01, 0.02), 2), ((0.02, -0.01), 2), ((0.02, -0.03), 1), ((-0.03, -0.03), 0)])
def test_of_cross_fitted_models_the_latest_stays_that_is_not_worse_by_more_than_chance(run, gains, stays):
    made = run.loops(0.6, 0.8, 0.7)
    compared = [{"loss_gain": gain, "loss_gain_error": 0.02} for gain in (None, *gains)]
    models = {
        key: one.model_copy(update={"metrics": one.metrics.model_copy(update=figures)})
        for key, one, figures in zip(loops(0, 1, 2), made, compared, strict=True)
    }
    assert needed(models, wants_policy=False, aligned=True) == set(loops(stays))


@pytest.mark.parametrize(("collapsed", "stays"), [((), 2), ((2,), 1), ((1, 2), 0), ((0, 1), 2)])
def test_a_model_that_holds_never_goes_for_one_that_does_not(run, collapsed, stays):
    models = {
        key: one.model_copy(update={"metrics": one.metrics.model_copy(update={"collapsed": key.iteration in collapsed})})
        for key, one in zip(loops(0, 1, 2), run.loops(0.6, 0.7, 0.8), strict=True)
    }
    assert needed(models, wants_policy=False, aligned=True) == set(loops(stays))


def test_files_of_another_run_are_never_removed(run):
    run.loops(0.6)
    theirs = run.commit(StageKind.RETRAIN, 1, 0.5, BASE)
    models = {StageKey(1, StageKind.RETRAIN): theirs}
    assert BASE["model/base/model.safetensors"].key not in unneeded_files(models, set(), theirs.run)


def test_a_run_that_another_one_took_stages_over_from_keeps_all(run, store, identity):
    made = run.loops(0.6, 0.8, 0.7)
    follower = RunIdentity(namespace="default", name="hh", uid="of-the-same-name")
    store.create(leader_key(follower), b"{}")
    assert refer_back(store, follower, made[0].outputs) == ""
    assert run.look().kept_for == ("hh",)
    assert run.left(*loops(0, 1, 2)) == loops(0, 1, 2)
    assert refer_back(store, follower, made[0].outputs) == "", "nothing is said to be removed"


def test_what_a_look_that_was_killed_has_named_is_not_said_to_be_removed_where_it_is_kept(run, store, monkeypatch):
    made = run.loops(0.6, 0.8, 0.7)
    follower = RunIdentity(namespace="default", name="second", uid="second")
    store.create(leader_key(follower), b"{}")
    assert refer_back(store, follower, made[0].outputs) == ""
    with monkeypatch.context() as killed:
        killed.setattr("ser_core.store.runs.retaining.followers_of", lambda *_: sys.exit())
        with pytest.raises(SystemExit):
            run.look()
    assert refer_back(store, follower, made[0].outputs) != ""
    assert run.look().kept_for == ("second",)
    assert refer_back(store, follower, made[0].outputs) == ""


def test_a_follower_that_comes_later_is_told_what_is_gone(run, store):
    made = run.loops(0.6, 0.8, 0.7)
    run.look()
    follower = RunIdentity(namespace="default", name="later", uid="later")
    store.create(leader_key(follower), b"{}")
    assert refer_back(store, follower, made[0].outputs) == "hh has removed the seed model, since its storage.retain is best"
    assert refer_back(store, follower, made[1].outputs) == ""


def test_a_removal_that_was_killed_is_finished_by_the_next_look(run, store):
    class Stopped(Exception):
        pass

    class Dying:
        def __getattr__(self, name):
            return getattr(store, name)

        def delete(self, key):
            raise Stopped

    run.loops(0.6, 0.8, 0.7)
    with pytest.raises(Stopped):
        run.look(taken=Dying())
    assert run.left(*loops(0)) == loops(0)
    assert run.look().models == tuple(loops(0))
    assert run.left(*loops(0)) == []


def test_all_are_kept_unless_asked_otherwise(run):
    run.loops(0.6, 0.8, 0.7)
    run.look(retain="all")
    assert run.left(*loops(0, 1, 2)) == loops(0, 1, 2)
