"""`make generated`: write what follows from the API types and the table of metrics; ``--check`` says what has drifted."""

import argparse
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ser_core.api.crd import bounds, crd, resource_schema, shown_default, template_crd, template_schema
from ser_core.api.crd_rules import Schema
from ser_core.metrics import GROUPS, Group

_COMMAND = "make generated"
_CRD_FOLDERS = ("crds", "charts/ser-operator/files")
_HEAD = """\
`null` means the same as leaving a field out. Below a table stand the rules across its fields, as the API server words them when it
refuses a SERRun. `kubectl explain serrun.spec` shows the same fields."""
_TEMPLATE_LINK = "How the two are merged: [Templates](operations.md#templates)."


_METRICS_HEAD = """\
The operator serves its metrics on port 8080 at `/metrics`, rank 0 of a running stage on port 9400 of its pod. Scrape the operator
with `honorLabels: true`: `namespace` is that of the run. Scrape stages without it, and drop `exported_namespace`, as the chart's
PodMonitor does: what runs in a pod called a stage could tell of the runs of another namespace. The operator also exports the
usual `process_` metrics of its own process.

Of a state only the present value has a series, which is 1. Nothing is exported for what a run does not have (yet), so a missing series
is not a zero. The series of a run vanish with it, or 7 days after its end, those of a stage with its pod; Prometheus keeps their
past. Of ended runs only 200 have series, those that failed first, then those that ended last; `ser_operator_runs` counts all.

No label is unbounded: `namespace` and `run` name runs that exist, `iteration` is at most `loop.maxIterations` (32), `reason` is a code of
at most as many attempts as the status records, `device` a GPU of the pod, and every other label one of a short list of words. Free text is
never a label. A run of ten loops has about 250 series."""


def crd_text(definition: Schema) -> str:
    """A CRD as its file in ``crds/``."""
    header = f"# Generated from ser_core/api by: {_COMMAND}\n"
    return header + yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=120)


def reference_text() -> str:
    """``docs/serrun.md``: every field of the spec with its meaning, type, bounds and default."""
    schema, template = (one["properties"]["spec"] for one in (resource_schema(), template_schema()))
    head = ["# SERRun reference", "", f"Generated from `ser_core/api` by `{_COMMAND}`. `ser run` also takes `file://` URIs.", "", _HEAD, ""]
    return "\n".join([*head, *_section("spec", schema), *_shared(template)]) + "\n"


def _shared(template: Schema) -> Iterator[str]:
    """What a SERRunTemplate has; the fields inside of these are those of a SERRun."""
    yield from ("## SERRunTemplate", "", _one_line(template["description"]), _TEMPLATE_LINK, "", "| field | type | |", "|---|---|---|")
    for name, field in template["properties"].items():
        yield f"| `{name}` | {_type(field)} | {_one_line(field['description'])} |"


def metrics_text() -> str:
    """``docs/metrics.md``: every metric with its type, labels and meaning."""
    head = ["# Metrics", "", f"Generated from `ser_core/metrics.py` by `{_COMMAND}`.", "", *_METRICS_HEAD.splitlines(), ""]
    return "\n".join([*head, *(line for group in GROUPS for line in _metrics(group))])


def _metrics(group: Group) -> Iterator[str]:
    yield from (f"## {group.title}", "", group.about, "", "| metric | type | labels | |", "|---|---|---|---|")
    for metric in group.metrics:
        yield f"| `{metric.name}` | {metric.type} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
    yield ""


def _section(path: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from (f"## `{path}`", "", _one_line(schema.get("description", "")), "", "| field | type | default | |", "|---|---|---|---|")
    inner = []
    for name, field in schema["properties"].items():
        required = name in schema.get("required", ())
        default = "required" if required else f"`{told}`" if (told := shown_default(field)) else ""
        yield f"| `{name}` | {_type(field)} | {default} | {_one_line(field.get('description', ''))} |"
        item = field.get("items", field)
        if "properties" in item:
            inner.append((f"{path}.{name}", item))
    yield ""
    rules = [f"- `{path}{rule.get('fieldPath', '')}` {rule['message']}." for rule in schema.get("x-kubernetes-validations", ())]
    yield from (*rules, "") if rules else ()
    for inner_path, item in inner:
        yield from _section(inner_path, item)


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "string or whole number"
    kind = f"list of {_type(field['items'])}" if "items" in field else str(field["type"])
    return ", ".join(part for part in (kind, bounds(field)) if part)


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the files, or compare them. 1: something has drifted."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff when a file differs")
    check = parser.parse_args().check
    drifted = False
    texts = {
        **{f"{folder}/serruns.ser.dev.yaml": crd_text(crd()) for folder in _CRD_FOLDERS},
        **{f"{folder}/serruntemplates.ser.dev.yaml": crd_text(template_crd()) for folder in _CRD_FOLDERS},
        "docs/serrun.md": reference_text(),
        "docs/metrics.md": metrics_text(),
    }
    for path, text in ((Path(name), text) for name, text in texts.items()):
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if check and old != text:
            drifted = True
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), str(path), "generated"))
        elif not check:
            path.write_text(text, encoding="utf-8")
    if drifted:
        print(f"error: generated files differ from the code\nhint: run {_COMMAND} and commit the result", file=sys.stderr)
    return int(drifted)


if __name__ == "__main__":
    sys.exit(main())
