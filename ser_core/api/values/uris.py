"""The three kinds of URI that a SERRun may hold, and what is wrong with the ones it may not: in Python, and in CEL for the API server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ser_core.api.guarded import AllowList, Guarded

_BUCKET = "[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@[\w./-]+)?", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", re.ASCII)
_HUB_PAGE = re.compile(
    r"https?://(?:huggingface\.co|hf\.co)/(datasets/)?([A-Za-z0-9][\w.-]*(?:/(?!tree/|blob/|resolve/)[A-Za-z0-9][\w.-]*)?)"
    r"(?:/(?:tree|blob|resolve)/([\w.-]+))?(?:[/?#].*)?",
    re.ASCII,
)
"""The address of a repository in a browser: of data or not, its name, and a revision."""
_MAX_LENGTH = 1200
_MAX_KEY_BYTES = 1024

_NO_BUCKET = "is no bucket name: 3 to 63 lower-case letters, digits, dots, hyphens and underscores"
_NO_PARTS = "has an empty or '..' part in its path: write s3://bucket/prefix with plain parts"
_NOT_PRINTABLE = "holds a control character: use printable characters only"
_NO_HUB_NAME = "is no hub name: expected hf://organisation/name, for data also @revision"


def _check_key(uri: str, key: str) -> None:
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        raise ValueError(f"{uri!r} {_NOT_PRINTABLE}")
    if key.startswith("/") or "//" in key or ".." in key.split("/"):
        raise ValueError(f"{uri!r} {_NO_PARTS}")
    if len(key.encode()) > _MAX_KEY_BYTES:
        raise ValueError(f"path of {uri[:60]!r}… is {len(key.encode())} bytes long: at most {_MAX_KEY_BYTES}")


def split_s3(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI, the key without a trailing slash.

    Raises:
        ValueError: It is no usable ``s3://`` URI; the message says what is expected.
    """
    if not uri.startswith("s3://"):
        raise ValueError(f"{uri!r} is no s3:// URI: expected s3://bucket/prefix")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not re.fullmatch(_BUCKET, bucket):
        raise ValueError(f"bucket {bucket!r} in {uri!r} {_NO_BUCKET}")
    _check_key(uri, key)
    return bucket, key.rstrip("/")


def split_hub(uri: str) -> tuple[str, str | None]:
    """Repository and revision (or None) of an ``hf://`` URI; a leading ``datasets/`` is dropped.

    Raises:
        ValueError: It is no usable ``hf://`` URI.
    """
    name = uri.removeprefix("hf://").removeprefix("datasets/")
    if not uri.startswith("hf://") or not _HUB_NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"{uri!r} {_NO_HUB_NAME}")
    repository, _, revision = name.partition("@")
    return repository, revision or None


def _expanded(path: str) -> str:
    try:
        return f"file://{Path(path).expanduser()}"
    except RuntimeError:  # no such user
        return "file:///absolute/path"


def _check_file(uri: str) -> None:
    path = uri.removeprefix("file://")
    if not path or "\x00" in path:
        raise ValueError(f"{uri!r} names no file: write file:///absolute/path or file://./path/beside/this/file")
    if path.startswith("~"):
        raise ValueError(f"{uri!r} begins with ~, which is not expanded: write {_expanded(path)}")
    if not path.startswith(("/", "./", "../")):
        raise ValueError(f"{uri!r} has a host part {path.split('/')[0]!r}: write file:///{path} or file://./{path}")


def _with_scheme(path: str, schemes: tuple[str, ...]) -> Iterator[str]:
    """What somebody may have meant who wrote only a path, or the name of a repository."""
    if "hf" in schemes and _REPOSITORY.fullmatch(path):
        yield f"hf://{path}"
    yield _expanded(path) if path.startswith("~") else f"file://{path if path.startswith(('/', './', '../')) else f'./{path}'}"


def _of_hub_page(address: str) -> str:
    """What names the repository whose page was copied from a browser; empty where it is no such page."""
    page = _HUB_PAGE.fullmatch(address)
    if page is None:
        return ""
    of_data, name, revision = page.groups()
    if revision in (None, "main"):
        return f": write 'hf://{name}'"
    return f": write 'hf://{name}@{revision}'" if of_data else f": write 'hf://{name}', with revision: {revision}"


def _check(uri: str, schemes: tuple[str, ...]) -> str:
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if scheme not in schemes:
        expected = f"expected one of {', '.join(f'{name}://' for name in schemes)}"
        if scheme:
            page = _of_hub_page(uri) if "hf" in schemes else ""
            raise ValueError(f"{uri!r} has scheme {scheme!r}{page or f': {expected}'}")
        raise ValueError(f"{uri!r} has no scheme: {expected}, such as {' or '.join(map(repr, _with_scheme(uri, schemes)))}")
    if scheme == "s3":
        split_s3(uri)
    elif scheme == "hf":
        split_hub(uri)
    else:
        _check_file(uri)
    return uri


def check_data_uri(uri: str) -> str:
    """Return ``uri`` if data may be read from it, else raise ValueError."""
    return _check(uri, ("s3", "hf", "file"))


def check_storage_uri(uri: str) -> str:
    """Return ``uri`` if a run may be stored there, else raise ValueError."""
    return _check(uri, ("s3", "file"))


def _cel(*forms: str) -> dict[str, Any]:
    """The same checks in CEL, for a URI of one of the ``forms``; ``file://`` is for `ser run` alone."""
    known = [f"{form.partition('://')[0]}://" for form in forms]
    any_of = " || ".join(f"self.startsWith('{scheme}')" for scheme in (*known, "file://"))
    schemes = {
        "!self.startsWith('file://')": f"file:// is for ser run alone: use {' or '.join(known)}",
        any_of: f"has another scheme or none: expected {' or '.join(forms)}",
    }
    s3 = {
        f"self.matches(r'^s3://{_BUCKET}(/|$)')": f"its bucket {_NO_BUCKET}",
        r"!self.substring(5).contains('//') && !self.matches(r'/\.\.(/|$)')": _NO_PARTS,
        r"!self.matches(r'[\x00-\x1f\x7f]')": _NOT_PRINTABLE,
        f"size(bytes(self.substring(self.indexOf('/', 5) + 1))) <= {_MAX_KEY_BYTES}": f"its path is longer than {_MAX_KEY_BYTES} bytes",
    }
    hf = {rf"!self.contains('..') && self.matches(r'^hf://(datasets/)?{_HUB_NAME.pattern}$')": _NO_HUB_NAME}
    checks = schemes | _where("s3://", s3) | (_where("hf://", hf) if "hf://" in known else {})
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in checks.items()]}


def _where(scheme: str, checks: dict[str, str]) -> dict[str, str]:
    return {f"!self.startsWith('{scheme}') || ({rule})": message for rule, message in checks.items()}


_INPUT = Field(max_length=_MAX_LENGTH, json_schema_extra=_cel("s3://bucket/prefix", "hf://organisation/name"))
_OUTPUT = Field(max_length=_MAX_LENGTH, json_schema_extra=_cel("s3://bucket/prefix"))

DataUri = Annotated[str, _INPUT, AfterValidator(check_data_uri), Guarded(AllowList.READ)]
ModelUri = Annotated[str, _INPUT, AfterValidator(check_data_uri), Guarded(AllowList.READ)]
StorageUri = Annotated[str, _OUTPUT, AfterValidator(check_storage_uri), Guarded(AllowList.WRITE)]
