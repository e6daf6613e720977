"""Every field by which a SERRun reaches something of its cluster is judged by a list, or it is said here why it need not be."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from ser_core.api.guarded import AllowList, Asked, asked, guards
from ser_core.api.serrun import SERRunSpec

HARMLESS = {
    "*.revision": "a version of what the URI beside it names",
    "data.*.path": "a part of what the URI beside it names",
    "policy.prompts.path": "a part of what the URI beside it names",
    "*.subset": "a part of what the URI beside it names",
    "*.split": "a part of what the URI beside it names",
    "*.columns*": "columns of a table",
    "*.splitBy": "a column of a table",
    "*.adapter.*": "parts of a model",
    "*.templateText": "words around what a model reads; no template language",
    "podTemplate.*": "judged item by item (tests/unit/ser_operator/facts/serruns/test_pod_template_asks.py)",
    "resources.*.podTemplate.*": "judged item by item (tests/unit/ser_operator/facts/serruns/test_pod_template_asks.py)",
    "resources.*.cpu": "an amount; quotas of the namespace bound it",
    "resources.*.memory": "an amount; quotas of the namespace bound it",
    "resources.*.gpuMemory": "an amount, by which a stage plans",
    "resources.*.tolerations.value": "of a taint whose key is judged",
    "retries.pause": "a time",
    "activeDeadline": "a time",
    "ttlAfterFinished": "a time",
    "storage.region": "goes to the endpoint beside it",
    "storage.caBundle": "a file of the stage's own container, read as certificates",
    "storage.caBundleFrom.configMap": "a ConfigMap of the run's own namespace, read as certificates",
    "storage.caBundleFrom.key": "a key of what is named beside it",
    "from.run": "looked for in the run's own namespace and storage alone",
    "templateRef.name": "what it holds is judged as the run's own",
    "operatorClass": "says which operator takes the run, and gives it nothing",
}
"""Texts of a spec that no list judges, and why."""
SPEC = SERRunSpec.model_validate(
    {
        "rewardModel": {"base": "hf://org/model"},
        "data": {"source": {"uri": "hf://org/data"}},
        "policy": {"base": "hf://org/policy", "prompts": {"uri": "s3://bucket/prompts"}},
        "resources": {
            "ppo": {"nodeSelector": {"pool": "a"}, "tolerations": [{"key": "gpu"}, {"operator": "Exists"}], "priorityClassName": "low"}
        },
        "storage": {"uri": "s3://bucket/runs", "credentialsSecret": "ser-s3"},
        "hub": {"endpoint": "https://hub.example"},
        "queueName": "team",
    }
)


def kinds(annotation):
    """The classes that a field may hold, also in lists and maps. A word out of a closed set is none."""
    if get_origin(annotation) is Annotated:
        return kinds(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return []
    inner = [kind for one in get_args(annotation) for kind in kinds(one)]
    return inner or [annotation]


def free_texts(model, path=""):
    """Paths of the texts of a model that no list judges."""
    for name, alias, guard in guards(model):
        place = f"{path}.{alias}".removeprefix(".")
        for kind in kinds(model.model_fields[name].annotation) if guard is None else ():
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from free_texts(kind, place)
            elif kind is str:
                yield place


@pytest.mark.parametrize("path", sorted(set(free_texts(SERRunSpec))))
def test_a_text_that_no_list_judges_is_known_to_be_harmless(path):
    assert any(fnmatchcase(path, harmless) for harmless in HARMLESS), (
        f"mark the type of {path} with Guarded (ser_core/api/guarded.py), or say in HARMLESS why its author may write there what he likes"
    )


class Judge(BaseModel):
    """A part of the spec that somebody adds."""

    url: str | None = None


class Tomorrow(SERRunSpec):
    judges: tuple[Judge, ...] = ()


def test_a_new_field_that_nobody_thought_of_is_found():
    assert set(free_texts(Tomorrow)) - set(free_texts(SERRunSpec)) == {"judges.url"}


@pytest.mark.parametrize(
    "expected",
    [
        Asked("rewardModel.base", "hf://org/model", AllowList.READ),
        Asked("data.source.uri", "hf://org/data", AllowList.READ),
        Asked("policy.base", "hf://org/policy", AllowList.READ),
        Asked("policy.prompts.uri", "s3://bucket/prompts", AllowList.READ),
        Asked("storage.uri", "s3://bucket/runs", AllowList.WRITE),
        Asked("storage.credentialsSecret", "ser-s3", AllowList.SECRETS),
        Asked("hub.endpoint", "https://hub.example", AllowList.ENDPOINTS),
        Asked("queueName", "team", AllowList.QUEUES),
        Asked("resources.ppo.nodeSelector", "pool=a", AllowList.NODE_SELECTORS),
        Asked("resources.ppo.tolerations[0].key", "gpu", AllowList.TOLERATIONS),
        Asked("resources.ppo.tolerations[1].key", "*", AllowList.TOLERATIONS),
        Asked("resources.ppo.priorityClassName", "low", AllowList.PRIORITY_CLASSES),
    ],
    ids=lambda one: one.field,
)
def test_what_is_asked_for_is_told_with_its_field_and_its_list(expected):
    assert expected in list(asked(SPEC))
