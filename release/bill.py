"""The software bill of materials of an image: the packages of its system and of Python, in CycloneDX 1.6.

Source: https://cyclonedx.org/docs/1.6/json/. What a package brings inside itself,
as a library linked into a wheel, has no name of its own there.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from email.parser import HeaderParser
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

_DPKG, _SYSTEM = "var/lib/dpkg/status", "usr/lib/os-release"


def wanted(path: str) -> bool:
    """Whether a file of an image says what is in it."""
    return path in {_DPKG, _SYSTEM} or PurePosixPath(path).match("*.dist-info/METADATA")


def bill(name: str, version: str, digest: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The bill of one image.

    Args:
        name: Of the image.
        version: Of the release.
        digest: Of the image's manifest, which gives the bill its number.
        files: Those that `wanted` wants, by path.
    """
    components = {one["purl"]: one for one in (*_system(files), *_python(files))}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": version, "bom-ref": digest}},
        "components": [components[purl] for purl in sorted(components)],
    }


def _system(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Debian's packages, or Ubuntu's."""
    system = dict(line.split("=", 1) for line in files.get(_SYSTEM, b"").decode().splitlines() if "=" in line)
    distribution = system.get("ID", "debian").strip('"')
    for fields in _headers(files.get(_DPKG, b"").decode().split("\n\n")):
        if fields.get("Status") == "install ok installed":
            package, version = fields["Package"], fields["Version"]
            place = f"?arch={fields['Architecture']}&distro={distribution}-{system.get('VERSION_ID', '').strip(chr(34))}"
            yield _component(package, version, f"pkg:deb/{distribution}/{quote(package)}@{quote(version, safe='')}{place}")


def _python(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    for content in (content.decode() for path, content in sorted(files.items()) if path.endswith("METADATA")):
        fields = HeaderParser().parsestr(content)
        name = fields["Name"].lower().replace("_", "-")
        component = _component(name, fields["Version"], f"pkg:pypi/{quote(name)}@{quote(fields['Version'], safe='')}")
        if licences := _licences(fields):
            component["licenses"] = licences
        yield component


def _licences(fields: Message) -> list[dict[str, Any]]:
    """What a package says of its licence: an expression, or in its own words."""
    if expression := fields.get("License-Expression"):
        return [{"expression": expression}]
    named = [one.rpartition(" :: ")[2] for one in fields.get_all("Classifier") or () if one.startswith("License :: ")]
    own = (fields.get("License") or "").splitlines()[:1]
    return [{"license": {"name": name}} for name in named or own if name]


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _headers(texts: Iterable[str]) -> Iterator[dict[str, str]]:
    yield from (dict(HeaderParser().parsestr(text).items()) for text in texts if text.strip())
