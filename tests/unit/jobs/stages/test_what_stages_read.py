"""What every stage reads stands in its stage key: each is run, and every field, output and metric that it touches is written down.

A stage that reads something new fails here until `ser_core.store.stages.stage_reads` says what that does to its key, or `WITHOUT_EFFECT`
why it does nothing.
"""

from collections import defaultdict
from dataclasses import replace

import pytest
from plain_models import write_plain

from ser_core.api.model import Model
from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import InputRole, Processes, StageSpec
from ser_core.api.status import StageKind
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import load
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.stage_key import stage_key
from ser_core.store.stages.stage_reads import FIELDS, READS, Read
from ser_jobs.process.context import StageContext
from ser_jobs.stages import filter as filter_stage
from ser_jobs.stages import label, ppo, prepare, retrain, sft

_WHOLE = ("model_dump", "model_dump_json", "model_copy", "__iter__")
_POLICY = {
    "base": "hf://organisation/policy",
    "sft": {"epochs": 1, "answersPerStep": 8},
    "kl": {"target": 6.0},
    "steps": 2,
    "rolloutsPerStep": 8,
    "promptTokens": 40,
    "answerTokens": 6,
    "precision": "fp32",
}
_CONTROLS = (StageKind.CONTROL_FULL, StageKind.CONTROL_SEED_ONLY, StageKind.CONTROL_PSEUDO_LABEL_ONCE)
_SAYS_WHETHER = "says whether there are folds, which stands in the key with the number that is asked for, if it counts"

WITHOUT_EFFECT = {
    StageKind.PREPARE: {
        "storage": "how stores are reached; what is read there is compared by content",
        "hub": "how the hub is reached; what is read there is compared by commit",
        "rewardModel.maxLength": "only checked against the model, also where prepare is taken over",
        "rewardModel.templateText": "only checked with the tokenizer, also where prepare is taken over",
        "policy.templateText": "only checked with the tokenizer, also where prepare is taken over",
        "rewardModel.precision": "only checked with the kind of the base; what computes says so too",
        "rewardModel.adapter": "only checked for being possible; what trains it says so too",
        "policy.adapter": "only checked for being possible; what trains it says so too",
        "resources": "only compared with what later stages need, for a warning",
        "policy.promptTokens": "only checked against the model, also where prepare is taken over",
        "policy.answerTokens": "only checked against the model, also where prepare is taken over",
        "policy.generator": "only checked for being installed, also where prepare is taken over",
        "policy.advantage": "only says whether there must be a critic; ppo says so too",
        "loop.controls": "only says whether the pool must have labels; the control says so too",
    },
    StageKind.LABEL: {"loop.rule": "the input keptBefore says which pairs are left"},
    StageKind.RETRAIN: {"loop.thresholds.targetPrecision": _SAYS_WHETHER},
    **{one: {"loop.rule": _SAYS_WHETHER, "loop.thresholds.targetPrecision": _SAYS_WHETHER} for one in (*_CONTROLS, StageKind.SFT)},
}
"""Fields that a stage reads and that its output does not depend on."""


class Record:
    """What was read, by stage: fields of the spec, facts of the stage, outputs and metrics of its inputs."""

    def __init__(self, monkeypatch):
        self.fields, self.facts = defaultdict(set), defaultdict(set)
        self.outputs, self.metrics = defaultdict(set), defaultdict(set)
        self._stage, self._places, self._kept = None, {}, []
        record, fetch, has = self, StageContext._fetch, StageContext.has

        def read(self, name):
            record._read(self, name)
            return object.__getattribute__(self, name)

        def fetched(self, role, names):
            record.outputs[self.spec.stage] |= {(role, name) for name in names}
            return fetch(self, role, names)

        def asked(self, role, name):
            record.outputs[self.spec.stage] |= {(role, name)} if role in self.inputs else set()  # which roles there are stands in the key
            return has(self, role, name)

        monkeypatch.setattr(Model, "__getattribute__", read, raising=False)
        monkeypatch.setattr(StageContext, "_fetch", fetched)
        monkeypatch.setattr(StageContext, "has", asked)

    def run(self, body, context):
        """Run a stage and write down what it reads; returns its output."""
        self._places = {id(context.spec): ""} | dict(self._below("spec", context.spec.spec))
        for role, manifest in context.inputs.items():
            self._places |= {id(manifest.metrics): f"metrics/{role.value}"}
        self._kept.append(context)  # an id is given again once its object is gone
        self._stage = context.spec.stage
        try:
            return body(context)
        finally:
            self._stage = None

    def _below(self, path, model):
        yield id(model), path
        for name, field in type(model).model_fields.items():
            value = model.__dict__[name]
            if isinstance(value, Model):
                yield from self._below(f"{path}.{field.alias}", value)

    def _read(self, model, name):
        stage, place = self._stage, self._places.get(id(model))
        if stage is None or place is None:
            return
        fields = type(model).model_fields
        if place == "" and name in ("threads", "steps"):
            self.facts[stage].add(name)
        elif place.startswith("metrics/") and name in fields:
            self.metrics[stage].add((InputRole(place.removeprefix("metrics/")), name))
        elif place.startswith("spec") and name in _WHOLE:
            self.fields[stage].add(place.removeprefix("spec."))
        elif place.startswith("spec") and name in fields and not isinstance(model.__dict__[name], Model):
            self.fields[stage].add(f"{place}.{fields[name].alias}".removeprefix("spec."))


@pytest.fixture
def record(monkeypatch):
    return Record(monkeypatch)


def with_spec(context, **changes):
    """The same context with other fields in its spec."""
    content = context.spec.spec.model_dump(mode="json", by_alias=True)
    for path, value in changes.items():
        *parts, last = path.split("__")
        inner = content
        for part in parts:
            inner = inner[part]
        inner[last] = value
    spec = SERRunSpec.model_validate(content)
    return replace(context, spec=context.spec.model_copy(update={"spec": spec}))


def run_every_stage(workshop, record, bert, qwen, tmp_path, tiny_model, pairs_file):
    run = lambda body, kind, iteration=0, change=None, **settings: record.run(  # noqa: E731
        body, with_spec(workshop.context(kind, iteration, **settings), **(change or {}))
    )
    _run_cross_fitted(workshop, run)
    seed = run(retrain.body, StageKind.RETRAIN, change={"training__loss": "hinge"})
    for role in (InputRole.LABELER, InputRole.BEST):
        workshop.give_output(role, replace(seed, metrics=seed.metrics.model_copy()))  # each role has metrics of its own
    workshop.give_output(InputRole.LABELS, run(label.body, StageKind.LABEL, 1))
    for rule in ("paper", "reference", "calibrated"):
        kept = run(filter_stage.body, StageKind.FILTER, 1, rule=rule, change={"loop__thresholds__targetPrecision": 0.51})
        if kept.metrics.kept:
            workshop.give_output(InputRole.KEPT, kept)
            workshop.give_output(InputRole.KEPT_BEFORE, kept)
    run(label.body, StageKind.LABEL, 2, rule="reference")
    for rule in ("paper", "reference", "calibrated"):
        run(retrain.body, StageKind.RETRAIN, 2, rule=rule)
    for kind in (StageKind.CONTROL_FULL, StageKind.CONTROL_SEED_ONLY, StageKind.CONTROL_PSEUDO_LABEL_ONCE):
        context = workshop.context(kind, steps=2)
        given = {role: one for role, one in context.inputs.items() if role in (InputRole.PREPARED, InputRole.LABELS, InputRole.BEST)}
        record.run(retrain.body, replace(context, inputs=given))
    workshop.give(InputRole.PREPARED, workshop.tables, bert, qwen)
    for folds in (None, 2):
        run(sft.body, StageKind.SFT, folds=folds, policy=_POLICY)
    for role in (InputRole.BEST, InputRole.WITNESS):
        folder = tmp_path / role.value
        write_plain(load(bert, Precision("cpu"), max_length=64, seed=1), folder)
        workshop.give(role, model=folder)
    run(ppo.body, StageKind.PPO, policy=_POLICY)
    record.run(prepare.body, to_prepare(workshop, tmp_path, tiny_model, qwen, pairs_file))


def _run_cross_fitted(workshop, run):
    """Rule calibrated with its fold models, and a control of it."""
    folds = {"folds": 2}
    seed = run(retrain.body, StageKind.RETRAIN, **folds)
    for role in (InputRole.LABELER, InputRole.BEST):
        workshop.give_output(role, replace(seed, metrics=seed.metrics.model_copy()))
    workshop.give_output(InputRole.LABELS, run(label.body, StageKind.LABEL, 1, **folds))
    workshop.give_output(InputRole.KEPT, run(filter_stage.body, StageKind.FILTER, 1, **folds))
    search = {"search": {"epochs": [1]}, **folds}
    run(retrain.body, StageKind.RETRAIN, 1, retrain_from="previous", **search)
    run(retrain.body, StageKind.CONTROL_SEED_ONLY, steps=2, **search)
    for role in (InputRole.LABELER, InputRole.BEST, InputRole.LABELS, InputRole.KEPT):
        del workshop._inputs[role]


def to_prepare(workshop, tmp_path, tiny_model, qwen, pairs_file):
    spec = SERRunSpec.model_validate(
        {
            "rewardModel": {"base": f"file://{tiny_model}", "maxLength": 32},
            "data": {"source": {"uri": f"file://{pairs_file}", "seedFraction": 0.3, "heldoutFraction": 0.2}},
            "policy": {**_POLICY, "base": f"file://{qwen}", "prompts": {"uri": f"file://{pairs_file}"}},
            "storage": {"uri": f"file://{tmp_path}/store"},
        }
    )
    stage = StageSpec(
        run=workshop.context(StageKind.PREPARE).spec.run, stage=StageKind.PREPARE, iteration=0, attempt=1, spec=spec, threads=1
    )
    workdir = tmp_path / "preparing"
    workdir.mkdir()
    checkpoints = CheckpointStore(workshop.store, stage.run, 0, StageKind.PREPARE)
    return StageContext(stage, workshop.store, {}, workdir, workshop.events, lambda: False, checkpoints)


def covers(fields, path):
    """Whether a table covers a path, or, for a part that is left out as a whole, some field of it."""
    return any(path == one or path.startswith(f"{one}.") or one.startswith(f"{path}.") for one in fields)


def is_in(name, outputs):
    return any(name == one or (one.endswith("/") and name.startswith(one)) for one in outputs)


def test_the_stage_key_has_all_that_a_stage_reads(workshop, record, bert, qwen, tmp_path, tiny_model, pairs_file):
    run_every_stage(workshop, record, bert, qwen, tmp_path, tiny_model, pairs_file)
    missing = {}
    for kind in StageKind:
        assert record.fields[kind], f"{kind} was not run"
        known = (*FIELDS[kind], *WITHOUT_EFFECT.get(kind, ()))
        missing |= {f"{kind}: {path}": "field" for path in record.fields[kind] if not covers(known, path)}
        for role, name in record.outputs[kind]:
            if not is_in(name, READS[kind].get(role, Read(())).outputs):
                missing[f"{kind}: {name} of {role}"] = "output"
        missing |= {
            f"{kind}: {name} of {role}": "metric"
            for role, name in record.metrics[kind]
            if name not in READS[kind].get(role, Read(())).metrics
        }
        stage = workshop.context(kind, policy=_POLICY, steps=2).spec
        missing |= {f"{kind}: {name}": "fact" for name in record.facts[kind] if name not in stage_key(stage, {}, Processes()).facts}
    assert missing == {}
    record.fields[StageKind.PREPARE].add("hub")  # read where an input lies there; here all lie in files
    unread = {kind: [field for field in WITHOUT_EFFECT.get(kind, ()) if not covers(record.fields[kind], field)] for kind in StageKind}
    assert not any(unread.values()), f"nothing reads {unread}: take it out of WITHOUT_EFFECT"
    idle = {kind: [field for field in FIELDS[kind] if not covers(record.fields[kind], field)] for kind in StageKind}
    assert {kind: fields for kind, fields in idle.items() if fields} == {}, "a field without effect would have stages computed again"
