"""What the images are made of: pinned as constraints.txt has it, each file by its digest, under licences that we know of."""

import re
from importlib.metadata import PackageNotFoundError, metadata

import pytest
from chart.dockerfile import ROOT, instructions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.bill import bill
from release.contents import defects, is_free, licence
from release.locks import LOCKS, locked, requirements

PIN = re.compile(r"([a-z0-9.-]+)==([\w.]+)( ; [^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
OF_NO_CONSTRAINT = {"hatchling", "tomlkit", "trove-classifiers", "setuptools"}
"""What builds packages: pip chooses it in an environment of its own."""


def pins(name):
    return dict(PIN.match(line).groups()[:2] for line in (LOCKS / name).read_text().splitlines() if not line.startswith(" "))


ALL = {name: pins(name) for name in requirements()}


@pytest.mark.parametrize("name", ALL)
def test_every_line_is_a_pin_or_a_digest(name):
    """So there is no address of an index in it, and no option."""
    lines = (LOCKS / name).read_text().splitlines()
    assert [line for line in lines if not PIN.fullmatch(line) and not HASH.fullmatch(line)] == []
    assert not [
        line for line, following in zip(lines, [*lines[1:], ""], strict=True) if PIN.fullmatch(line) and not HASH.fullmatch(following)
    ]


@pytest.mark.parametrize("name", ALL)
def test_the_pins_are_those_of_the_constraints(name):
    text = (ROOT / "constraints.txt").read_text()
    known = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in text.splitlines() if "==" in line}
    assert {package: version for package, version in ALL[name].items() if known.get(package) != version}.keys() <= OF_NO_CONSTRAINT


@pytest.mark.parametrize("name", ALL)
def test_what_pyproject_asks_for_is_locked(name):
    asked = [Requirement(one) for one in requirements()[name]]
    assert [str(one) for one in asked if ALL[name].get(canonicalize_name(one.name), "") not in one.specifier] == []


@pytest.mark.parametrize("image", ["operator", "jobs"])
def test_an_image_installs_nothing_from_an_index_but_by_digest(image):
    installs = [
        text for word, text in instructions(ROOT / image / "Dockerfile") if word == "RUN" and " install " in text and "/pip" in text
    ]
    free = [text for text in installs if "--require-hashes" not in text and "--no-deps" not in text]
    assert installs
    assert free == []
    wheels = [text for word, text in instructions(ROOT / image / "Dockerfile") if "pip wheel" in text]
    assert all("--no-build-isolation" in text for text in wheels)


@pytest.mark.parametrize("name", ["operator.txt", "stages.txt"])
def test_every_package_of_an_image_is_under_a_licence_that_may_be_passed_on(name):
    unknown = []
    for package in ALL[name]:
        try:
            said = metadata(package)
        except PackageNotFoundError:  # of another machine
            continue
        if not is_free(package, said):
            unknown.append((package, licence(said)))
    assert unknown == []


def test_the_bill_names_every_package_with_its_licence():
    said = {
        "opt/ser/lib/a-1.dist-info/METADATA": b"Name: A_b\nVersion: 1\nLicense-Expression: MIT\n",
        "opt/ser/lib/c-2.dist-info/METADATA": b"Name: c\nVersion: 2\nLicense: Apache-2.0\n",
        "opt/ser/lib/d-3.dist-info/METADATA": b"Name: d\nVersion: 3\nClassifier: License :: OSI Approved :: BSD License\nClassifier: X\n",
        "opt/ser/lib/e-4.dist-info/METADATA": b"Name: e\nVersion: 4\n",
    }
    found = {one["purl"]: one.get("licenses") for one in bill("x", "1", "sha256:0", said)["components"]}
    assert found == {
        "pkg:pypi/a-b@1": [{"expression": "MIT"}],
        "pkg:pypi/c@2": [{"license": {"name": "Apache-2.0"}}],
        "pkg:pypi/d@3": [{"license": {"name": "BSD License"}}],
        "pkg:pypi/e@4": None,
    }


@pytest.mark.parametrize(
    ("path", "said", "told"),
    [
        ("opt/ser", "Name: A_b\nVersion: 1\nLicense-Expression: MIT", None),
        ("usr/lib/python3", "Name: of-the-base\nVersion: 1\nLicense-Expression: GPL-3.0-only", None),
        ("opt/ser", "Name: ser-operator\nVersion: 0.1.0", None),
        ("opt/ser", "Name: a.b\nVersion: 2\nLicense-Expression: MIT", "a-b 2 is not in its lock (1)"),
        ("opt/ser", "Name: stranger\nVersion: 1\nLicense-Expression: MIT", "stranger 1 is not in its lock (no version)"),
        ("opt/ser", "Name: a-b\nVersion: 1\nLicense: GPL-3.0", "a-b 1 has no licence that is known (GPL-3.0)"),
        ("opt/ser", "Name: a-b\nVersion: 1\nLicense: NVIDIA Proprietary Software", "a-b 1 has no licence that is known"),
        ("opt/ser", "Name: a-b\nVersion: 1", "a-b 1 has no licence that is known (none)"),
    ],
)
def test_an_image_with_another_package_or_licence_is_not_released(path, said, told):
    found = list(defects({f"{path}/lib/a-1.dist-info/METADATA": said.encode()}, "a-b==1 \\\n    --hash=sha256:0\n"))
    assert len(found) == (told is not None)
    assert not found or found[0].startswith(told)


def test_what_no_image_takes_is_left_out(tmp_path):
    resolver = tmp_path / "uv"
    lines = ["a==1 \\", f"    --hash=sha256:{'0' * 64}", "b==2 ; sys_platform == 'win32' \\", f"    --hash=sha256:{'1' * 64}"]
    lines += ["c==3 ; platform_machine == 'aarch64' \\", f"    --hash=sha256:{'2' * 64}"]
    resolver.write_text("#!/bin/sh\ncat <<'X'\n" + "\n".join(lines) + "\nX\n")
    resolver.chmod(0o755)
    assert locked(str(resolver), ["a"]).splitlines() == [*lines[:2], *lines[4:]]
