"""The three kinds of URI that a SERRun may hold, and what is wrong with the ones it may not."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@[\w./-]+)?$")
_MAX_KEY_BYTES = 1024


def _check_key(uri: str, key: str) -> None:
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        raise ValueError(f"{uri!r} holds a control character: use printable characters only")
    if key.startswith("/") or "//" in key or ".." in key.split("/"):
        raise ValueError(f"{uri!r} has an empty or '..' part in its path: write s3://bucket/prefix with plain parts")
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
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"bucket {bucket!r} in {uri!r} is no bucket name: 3 to 63 lower-case letters, digits, dots and hyphens")
    _check_key(uri, key)
    return bucket, key.rstrip("/")


def split_hub(uri: str) -> tuple[str, str | None]:
    """Repository and revision (or None) of an ``hf://`` URI; a leading ``datasets/`` is dropped.

    Raises:
        ValueError: It is no usable ``hf://`` URI.
    """
    name = uri.removeprefix("hf://").removeprefix("datasets/")
    if not uri.startswith("hf://") or not _HUB_NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"{uri!r} is no hub name: expected hf://organisation/name, for data also @revision")
    repository, _, revision = name.partition("@")
    return repository, revision or None


def _check_file(uri: str) -> None:
    path = uri.removeprefix("file://")
    if not path or "\x00" in path:
        raise ValueError(f"{uri!r} names no file: write file:///absolute/path or file://./path/beside/this/file")
    if not path.startswith(("/", "./", "../")):
        raise ValueError(f"{uri!r} has a host part {path.split('/')[0]!r}: write file:///{path} or file://./{path}")


def _check(uri: str, schemes: tuple[str, ...]) -> str:
    scheme = uri.partition("://")[0] if "://" in uri else ""
    if scheme not in schemes:
        expected = ", ".join(f"{name}://" for name in schemes)
        raise ValueError(f"{uri!r} has {'scheme ' + repr(scheme) if scheme else 'no scheme'}: expected one of {expected}")
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


DataUri = Annotated[str, Field(min_length=1, max_length=1200), AfterValidator(check_data_uri)]
ModelUri = Annotated[str, Field(min_length=1, max_length=1200), AfterValidator(check_data_uri)]
StorageUri = Annotated[str, Field(min_length=1, max_length=1200), AfterValidator(check_storage_uri)]
