"""The SERRun files of a sweep: what stands in each, checked, and from which run it takes stages over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ser_core.api.serrun import SERRun
from ser_core.cli.access.begun_run import with_spec
from ser_core.cli.access.serrun_file import check_document
from ser_core.cli.access.sweeps.runs import SweepRuns
from ser_core.cli.access.writing import writing
from ser_core.errors import SpecError
from ser_core.sweep.settings import told
from ser_core.sweep.variants import Variant, leaders

Document = Mapping[str, Any]


def file_of(target: Path, variant: Variant) -> Path:
    """Where the file of a run stands."""
    return target / f"{variant.name}.yaml"


def documents_of(wanted: Sequence[Variant], document: Document, templates: Sequence[Document], where: SweepRuns) -> list[dict[str, Any]]:
    """What stands in the file of each run, checked, and from which run it takes stages over: of one that has begun, as it began.

    Raises:
        SpecError: A setting makes no valid SERRun, or a run has begun with another spec; nothing is written yet.
        StoreError, ClusterError: It cannot be seen whether a run has begun.
    """
    documents = [{**document, "metadata": {**document["metadata"], "name": one.name}, "spec": dict(one.spec)} for one in wanted]
    runs = [_checked(whole, one, templates) for whole, one in zip(documents, wanted, strict=True)]
    for whole, run, leader in zip(documents, runs, leaders([run.spec for run in runs]), strict=True):
        begun = where.begun(run)
        if begun is not None:
            _refuse_another_spec(begun, run)
        if begun is None and leader is not None:
            whole["spec"]["from"] = {"run": wanted[leader].name}
        elif begun is not None and begun.spec.from_ is not None:
            whole["spec"]["from"] = {"run": begun.spec.from_.run}
    return documents


def _refuse_another_spec(begun: SERRun, wanted: SERRun) -> None:
    """From which run it takes stages over is the sweep's to choose, and with other arms it would choose another one."""
    own = wanted.spec.from_ or begun.spec.from_
    try:
        with_spec(begun, wanted.model_copy(update={"spec": wanted.spec.model_copy(update={"from_": own})}))
    except SpecError as error:
        raise SpecError(f"{wanted.metadata.name} has begun: {error.message}", reason=error.reason, hint=error.hint) from error


def _checked(document: Document, variant: Variant, templates: Sequence[Document]) -> SERRun:
    return check_document(document, lambda _: f"with {told(variant.settings)}", templates)


def write_files(wanted: Sequence[Variant], documents: Sequence[Document], templates: Sequence[Document], target: Path) -> None:
    """A file for each run, with the templates; each is a SERRun that `ser status`, `ser report` and the like take."""
    with writing(target, "--folder"):
        target.mkdir(parents=True, exist_ok=True)
        for variant, whole in zip(wanted, documents, strict=True):
            text = yaml.safe_dump_all([whole, *templates], sort_keys=False, allow_unicode=True)
            file_of(target, variant).write_text(text, encoding="utf-8")
