"""Reading a SERRun from a YAML file, with errors that name file, line, field, value and remedy.

The SERRunTemplate that it names stands in the same file, as another document.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from ser_core.api.model import Model
from ser_core.api.problems import Problem, is_field, problems
from ser_core.api.run_template import KIND as TEMPLATE_KIND
from ser_core.api.run_template import SERRunTemplate, merged
from ser_core.api.serrun import API_VERSION, KIND, SERRun
from ser_core.api.values.forms import NEW
from ser_core.errors import SERError, SpecError, StoreAccessDenied
from ser_core.shown import shown_line
from ser_core.yaml_text import Loader, harm

MAX_BYTES = 1_000_000
_ANOTHER_FILE = "give the YAML file of a SERRun, which starts with apiVersion and kind; a file of pairs is named in it, as data.source.uri"
_FIELD = re.compile(r"(?:spec\.)?([A-Za-z]+(?:\.[A-Za-z_0-9]+)*)(?![\w./-]|, line )")
"""At the beginning of a message; what goes on as paths do, or names a line, is a file."""
_WHAT: Mapping[type, str] = {dict: "other fields", list: "a list", str: "text", int: "a number", float: "a number"}
FieldPath = tuple[str | int, ...]
Validated = TypeVar("Validated", bound=Model)


def read_serrun(path: Path) -> SERRun:
    """The SERRun in ``path`` over its template. Relative ``file://./…`` and ``file://../…`` URIs are resolved beside the file.

    Raises:
        SpecError: The file cannot be read or is no valid SERRun; the message lists every problem with its line.
    """
    roots = _documents(path)
    document, lines = _read(path, roots)
    document.pop("status", None)
    _resolve_files(document.get("spec"), path.resolve().parent)
    return check_document(document, _placed(path, lines), _templates(path, roots))


def check_document(document: Mapping[str, Any], place: Callable[[FieldPath], str], templates: Sequence[Mapping[str, Any]]) -> SERRun:
    """A SERRun as it stands in a file, checked, over its template.

    Args:
        document: The SERRun.
        place: Where a field was written.
        templates: The SERRunTemplates that stand beside it.

    Raises:
        SpecError: It is no valid SERRun, and the message lists every problem with its place; or there is no template of that name.
    """
    run = _validated(SERRun, document, place)
    if run.spec.template_ref is None:
        return run
    name = run.spec.template_ref.name
    shared = specs_of(templates).get(name)
    if shared is None:
        raise SpecError(
            f"{place(('spec', 'templateRef', 'name'))}: spec.templateRef.name: the file holds no SERRunTemplate {name!r}",
            reason="TemplateNotFound",
            hint="add it to the file as another document, after ---; those of a cluster are read only there",
        )
    return _validated(SERRun, {**document, "spec": merged(document["spec"], shared)}, place)


def read_templates(path: Path) -> list[dict[str, Any]]:
    """The SERRunTemplates in ``path`` as they are written.

    Raises:
        SpecError: The file cannot be read, or one of them is no valid SERRunTemplate.
    """
    return _templates(path, _documents(path))


def specs_of(templates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Their specs by name, as the API server holds them; of two with one name the first."""
    return {one["metadata"]["name"]: _without_nulls(one["spec"]) for one in reversed(templates)}


def _templates(path: Path, roots: Sequence[yaml.Node]) -> list[dict[str, Any]]:
    found = []
    for root in filter(_is_template, roots):
        document, lines = _written(root, path)
        _validated(SERRunTemplate, document, _placed(path, lines))
        found.append(document)
    return found


def _validated(model: type[Validated], document: Any, place: Callable[[FieldPath], str]) -> Validated:
    try:
        # As JSON, and strictly, because that is how the API server reads it: '3' and true are no numbers.
        text = json.dumps(_without_nulls(document), default=str)
        return model.model_validate_json(text, strict=True, by_alias=True, by_name=False, context=NEW)
    except ValidationError as error:
        told = "\n".join(f"{place(one.path)}: {one.field}: {one.text}" for one in problems(error, model))
        raise SpecError(told, reason="InvalidSERRun", hint="docs/serrun.md describes every field") from error


def _placed(path: Path, lines: dict[FieldPath, int]) -> Callable[[FieldPath], str]:
    return lambda field: f"{shown_line(str(path))}:{_line_of(field, lines)}"


def read_document(path: Path) -> dict[str, Any]:
    """The SERRun in ``path`` as it is written, not validated.

    Raises:
        SpecError: The file cannot be read, or holds no SERRun.
    """
    return _read(path, _documents(path))[0]


def resolved_document(path: Path) -> dict[str, Any]:
    """As `read_document`, with relative ``file://./…`` and ``file://../…`` URIs resolved beside the file.

    Raises:
        SpecError: The file cannot be read, or is no valid SERRun.
    """
    read_serrun(path)
    document = read_document(path)
    document.pop("status", None)
    _resolve_files(document["spec"], path.resolve().parent)
    return document


def _written(root: yaml.Node, path: Path) -> tuple[Any, dict[FieldPath, int]]:
    """What a document holds, and the line of each of its fields."""
    lines: dict[FieldPath, int] = {}
    _collect_lines(root, (), lines, path)
    return _construct(root, path), lines


def _read(path: Path, roots: Sequence[yaml.Node]) -> tuple[dict[str, Any], dict[FieldPath, int]]:
    """The SERRun among the documents of a file, and the line of each of its fields."""
    document, lines = _written(_only_run(path, roots), path)
    if not isinstance(document, dict) or document.keys().isdisjoint(("apiVersion", "kind")):
        what = _WHAT.get(type(document), "one value")
        raise SpecError(f"{path}:1: no SERRun, but {what}", reason="NotASERRun", hint=_ANOTHER_FILE)
    for name, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(name) != expected:
            where = f"{path}:{lines.get((name,), 1)}"
            raise SpecError(f"{where}: {name} is {document.get(name)!r}", reason="NotASERRun", hint=f"write {name}: {expected}")
    return document, lines


@contextmanager
def located(path: Path) -> Iterator[None]:
    """Put file and line before the message of an error that begins with a field of the SERRun in ``path``, or that denies its store."""
    try:
        yield
    except SERError as error:
        message = f"storage.uri: {error.message}" if isinstance(error, StoreAccessDenied) else error.message
        place = _place_of(message, path)
        if place is None:
            raise
        raise type(error)(f"{place}: {message}", reason=error.reason, hint=error.hint) from error


def _place_of(message: str, path: Path) -> str | None:
    lines: dict[FieldPath, int] = {}
    _collect_lines(_only_run(path, _documents(path)), (), lines, path)
    named = _FIELD.match(message)
    field = ("spec", *named[1].split(".")) if named else ()
    return f"{path}:{_line_of(field, lines)}" if field[:2] in lines and is_field(SERRun, field) else None


def _only_run(path: Path, roots: Sequence[yaml.Node]) -> yaml.Node:
    """The one document of ``path`` that is no template."""
    nodes = [node for node in roots if not _is_template(node)]
    if not nodes:
        found = "holds no SERRun" if roots else "is empty"
        raise SpecError(f"{path}:1: {found}", reason="NotASERRun", hint="start with apiVersion and kind, as the files in examples/ do")
    if len(nodes) != 1:
        raise SpecError(f"{path} holds {len(nodes)} documents", reason="NotASERRun", hint="one SERRun a file, with its SERRunTemplate")
    return nodes[0]


def _documents(path: Path) -> list[yaml.Node]:
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise SpecError(
                f"{path} has {len(content)} bytes: at most {MAX_BYTES}", hint="a SERRun is a page of text; is this the right file?"
            )
        text = content.decode("utf-8-sig")
        if (found := harm(text)) is not None:
            raise SpecError(f"{path} {found[0]}", hint=found[1])
        documents = list(yaml.compose_all(text, Loader=Loader))
    except OSError as error:
        raise SpecError(
            f"{path}: {(error.strerror or 'cannot be read').lower()}", reason="UnreadableFile", hint="give the path of a SERRun's YAML file"
        ) from error
    except UnicodeDecodeError as error:
        hint = "save it as UTF-8" if b"apiVersion" in content.replace(b"\0", b"") else _ANOTHER_FILE
        raise SpecError(f"{path} is no UTF-8 text (byte {error.start})", reason="UnreadableFile", hint=hint) from error
    except RecursionError as error:
        raise SpecError(f"{path}: nested too deep", reason="NotYAML", hint="a SERRun has at most six levels") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        if "apiVersion" not in text:
            raise SpecError(f"{where}: no SERRun, and no YAML: {problem}", reason="NotYAML", hint=_ANOTHER_FILE) from error
        raise SpecError(f"{where}: no YAML: {problem}", reason="NotYAML", hint="indent with spaces; quote values with : or #") from error
    return [node for node in documents if node is not None]


def _is_template(node: yaml.Node) -> bool:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return any((key.value, value.value) == ("kind", TEMPLATE_KIND) for key, value in pairs)


def _construct(root: yaml.Node, path: Path) -> Any:
    try:
        return Loader("").construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = f"{path}:{mark.line + 1}" if (mark := getattr(error, "problem_mark", None)) else str(path)
        problem = getattr(error, "problem", None) or str(error).split(";")[0]
        raise SpecError(f"{where}: a value cannot be read: {problem}", reason="NotYAML", hint="quote what is meant as text") from error


def _collect_lines(node: yaml.Node, path: FieldPath, lines: dict[FieldPath, int], file: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            line = key.start_mark.line + 1
            if inner in lines:
                field = Problem(inner, "").field
                raise SpecError(
                    f"{file}:{line}: {field} occurs twice (first in line {lines[inner]})", reason="DuplicateKey", hint="remove one of them"
                )
            lines[inner] = line
            _collect_lines(value, inner, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[*path, index] = value.start_mark.line + 1
            _collect_lines(value, (*path, index), lines, file)


def _without_nulls(value: Any) -> Any:
    """``value`` without fields that are null: like the API server, `ser` takes them as left out."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _resolve_files(value: Any, folder: Path) -> None:
    """Make relative file URIs absolute, in place."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        if isinstance(inner, str) and inner.startswith(("file://./", "file://../")):
            value[key] = f"file://{(folder / inner.removeprefix('file://')).resolve()}"
        else:
            _resolve_files(inner, folder)


def _line_of(path: FieldPath, lines: dict[FieldPath, int]) -> int:
    """Line of the field, or of the nearest one around it that stands in the file."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)
