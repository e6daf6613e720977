"""An image's files are those that a node would see."""

import io
import json
import tarfile

import pytest

from release import bill, layers


def tar(files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture
def image(tmp_path):
    """Writes an OCI archive of these layers."""

    def write(*contents):
        blobs = {f"sha256:{number}": tar(content) for number, content in enumerate(contents)}
        manifest = {"layers": [{"digest": digest} for digest in blobs]}
        blobs |= {"sha256:m": json.dumps(manifest).encode()}
        path = tmp_path / "image.tar"
        with tarfile.open(path, "w") as archive:
            index = json.dumps({"manifests": [{"digest": "sha256:m"}]}).encode()
            for name, content in {"index.json": index, **{f"blobs/{one.replace(':', '/')}": text for one, text in blobs.items()}}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return path

    return write


@pytest.mark.parametrize(
    ("lower", "upper", "left"),
    [
        ({"etc/a": b"1"}, {"etc/a": b"2"}, {"etc/a": b"2"}),
        ({"./etc/a": b"1"}, {"etc/b": b"2"}, {"etc/a": b"1", "etc/b": b"2"}),
        ({"etc/a": b"1", "etc/ab": b"1"}, {"etc/.wh.a": b""}, {"etc/ab": b"1"}),
        ({"etc/x/a": b"1", "etc/xy": b"1"}, {"etc/.wh.x": b""}, {"etc/xy": b"1"}),
        ({"etc/x/a": b"1"}, {"etc/x/b": b"2", "etc/x/.wh..wh..opq": b""}, {"etc/x/b": b"2"}),
    ],
    ids=["replaced", "added", "a file removed", "a folder removed", "a folder emptied and filled anew"],
)
def test_a_layer_lies_over_those_before_it(image, lower, upper, left):
    assert layers.files(image(lower, upper), lambda path: True) == left


def test_only_what_is_asked_for_is_read(image):
    assert layers.files(image({"etc/a": b"1", "etc/b": b"2"}), lambda path: path == "etc/b") == {"etc/b": b"2"}


def test_an_archive_says_its_digest(image):
    assert layers.digest(image({})) == "sha256:m"


STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12
Description: one
 with: a colon

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
KOPF = b"Metadata-Version: 2.4\nName: Kopf_Like\nVersion: 1.2+local\nLicense-Expression: MIT\n\nName: of the description\n"


def test_a_bill_names_the_packages_of_system_and_python():
    files = {
        "var/lib/dpkg/status": STATUS,
        "usr/lib/os-release": b'ID=debian\nVERSION_ID="13"\n',
        "opt/ser/lib/python3.13/site-packages/kopf_like-1.2.dist-info/METADATA": KOPF,
    }
    assert all(map(bill.wanted, files))
    made = bill.bill("ser-operator", "0.1.0", "sha256:m", files)
    assert {one["purl"]: one.get("licenses") for one in made["components"]} == {
        "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13": None,
        "pkg:pypi/kopf-like@1.2%2Blocal": [{"expression": "MIT"}],
    }
    assert made == bill.bill("ser-operator", "0.1.0", "sha256:m", dict(reversed(files.items()))), "equal images have equal bills"


def test_other_files_are_not_read_for_a_bill():
    assert not any(map(bill.wanted, ["opt/ser/lib/kopf/METADATA", "etc/passwd", "opt/x.dist-info/RECORD", "home/var/lib/dpkg/status"]))
