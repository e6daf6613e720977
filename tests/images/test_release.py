"""A release is made as files and published to a registry on loopback; what the workflow runs is what was tested."""

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml
from chart.dockerfile import ROOT

from controlplane.plane.build import cache_folder
from images import operator_image
from images.builder import Builder, CannotBuild, without_tag
from images.debian import machine
from images.registry import registry
from release import __main__ as command
from release import build, layers
from release.chart import helm
from release.files import BASES, CHECKSUMS, DIGESTS, archive_name, write_base, write_bill, write_checksums
from release.publish import publish
from release.shipped import OPERATOR, STAGES
from ser_core.version import VERSION

pytestmark = pytest.mark.timeout(1800)
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
ELSEWHERE = {
    "Emulator of the other platform": "of the runner",
    "Log in to the registry": "needs a registry's account",
    "Sign images, chart and checksums": "needs the workflow's identity",
    "Page of the release": "needs the forge",
}
"""Steps that no test runs, and why."""


def make(*words):
    """What `make` says on standard output."""
    return subprocess.run(["make", "--no-print-directory", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="module")
def release(can_build, tmp_path_factory):
    """A release as `make release STAGES=0` makes it, with the image of the node's tests, which is from the same Dockerfile."""
    kept, output = operator_image(cache_folder() / "images"), tmp_path_factory.mktemp("release")

    def take_kept(builder, image, platform, bases):
        dockerfile = builder.folder / "Dockerfile"
        dockerfile.write_text(f"FROM oci-archive:{kept}\n")
        builder.build(dockerfile, builder.folder, image.tagged)
        return build.Built("Debian trixie", image.name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "build", take_kept)
        patch.setattr(
            sys, "argv", ["release", "make", "--output", str(output), *shlex.split(f"--bases debian --stages 0 --platforms {machine()}")]
        )
        command.main()
    return output


def test_a_release_has_image_chart_bill_and_checksums(release):
    image, chart = f"{archive_name(OPERATOR, machine())}", f"ser-operator-{VERSION}.tgz"
    assert {path.name for path in release.iterdir()} == {image, chart, image.replace(".oci.tar", ".cdx.json"), BASES, CHECKSUMS}
    checked = subprocess.run(["sha256sum", "--check", CHECKSUMS], cwd=release, capture_output=True, text=True, check=True)
    assert checked.stdout.count(": OK") == 4


def test_the_bill_names_what_the_operator_is_made_of(release):
    (path,) = release.glob("*.cdx.json")
    found = {one["name"]: one["version"] for one in json.loads(path.read_text())["components"]}
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert {name: found[name] for name in ("kopf", "kubernetes", "pydantic")} == {
        name: pins[name] for name in ("kopf", "kubernetes", "pydantic")
    }
    assert found["ser-operator"] == VERSION
    assert {"libc6", "python3"} <= set(found)  # of the base
    assert not {"torch", "pip"} & set(found)


def test_what_is_published_is_what_was_made(release, tmp_path):
    """A node's runtime asks for the digest, so a copy that is compressed anew would be another image."""
    archive = release / archive_name(OPERATOR, machine())
    with registry(tmp_path, cache_folder() / "images") as address:
        make("publish", f"REGISTRY={address}/lab", f"RELEASE={release}", f"PYTHON={sys.executable}")
        image, chart = (release / DIGESTS).read_text().split()
        (release / DIGESTS).unlink()
        (platform,) = _manifest(address, "lab/ser-operator", image.partition("@")[2])["manifests"]
        assert platform["digest"] == layers.digest(archive)
        assert _manifest(address, "lab/ser-operator", VERSION)["manifests"] == [platform]
        helm("pull", f"oci://{chart}", "--plain-http", "--destination", str(tmp_path))
    (pulled,) = tmp_path.glob("*.tgz")  # named after the digest
    assert pulled.read_bytes() == (release / f"ser-operator-{VERSION}.tgz").read_bytes()


def _manifest(address, name, reference):
    accepted = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
    asked = urllib.request.Request(f"http://{address}/v2/{name}/manifests/{reference}", headers={"Accept": accepted})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)


def test_a_release_whose_bases_have_no_digest_is_not_published(tmp_path):
    archives = [tmp_path / archive_name(OPERATOR, platform) for platform in ("linux/amd64", "linux/arm64")]
    for archive in archives:
        archive.touch()
    write_base(archives[0], f"docker.io/library/python@sha256:{'0' * 64}")
    write_base(archives[1], "docker.io/library/python:3.12-slim")
    write_checksums(tmp_path)
    with pytest.raises(CannotBuild, match=rf"no digest of the base of {archives[1].name}: make release BASES=registry"):
        publish(tmp_path, "registry.example/ser")


def test_what_is_not_as_it_was_made_is_not_published(tmp_path):
    for name in ("changed", "gone", "as it was"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    (tmp_path / "changed").write_text("x")
    (tmp_path / "gone").unlink()
    (tmp_path / "new").touch()
    with pytest.raises(CannotBuild, match=f"changed, gone, new in {tmp_path} is not what SHA256SUMS says"):
        publish(tmp_path, "127.0.0.1:5000/ser")


def test_an_image_with_a_package_that_is_not_in_its_lock_is_no_release(release, tmp_path):
    (archive,) = release.glob("*.oci.tar")
    other = replace(OPERATOR, lock=tmp_path / "lock.txt")
    other.lock.write_text("".join(line for line in OPERATOR.lock.read_text().splitlines(keepends=True) if not line.startswith("kopf==")))
    with pytest.raises(CannotBuild, match=rf"^{archive.name} is not to be released: kopf [\d.]+ is not in its lock \(no version\)$"):
        write_bill(archive, other)


@pytest.mark.parametrize("image", [OPERATOR, STAGES], ids=lambda image: image.name)
def test_an_image_is_built_on_the_digest_that_its_base_has_in_the_registry(image, monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(build.shutil, "disk_usage", lambda folder: SimpleNamespace(free=99e9))
    monkeypatch.setattr(Builder, "pinned", lambda self, reference, platform: f"{without_tag(reference)}@sha256:{'0' * 64}")
    monkeypatch.setattr(Builder, "build", lambda self, dockerfile, root, name, arguments, options: given.update(arguments))
    built = build.build(Builder(tmp_path), image, "linux/amd64", "registry")
    assert given == {image.base: built.base}
    assert re.fullmatch(r"docker\.io/[a-z/]+@sha256:0{64}", built.base)


def test_the_digest_of_a_base_is_that_of_its_platform_in_the_registry(can_build, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    for name in ("maker", "taker", "registry"):
        (tmp_path / name).mkdir()
    maker, archive = Builder(tmp_path / "maker"), tmp_path / "tiny.tar"
    maker.build(tmp_path / "Dockerfile", tmp_path, "localhost/tiny:1")
    maker.save("localhost/tiny:1", archive)
    with registry(tmp_path / "registry", cache_folder() / "images") as address:
        maker.publish([archive], f"{address}/tiny:1", tls=False)
        found = Builder(tmp_path / "taker").pinned(f"{address}/tiny:1", machine(), tls=False)
    assert found == f"{address}/tiny@{layers.digest(archive)}"


def test_a_tag_of_another_version_makes_no_release(capsys, monkeypatch, tmp_path):
    words = [
        "release",
        "make",
        "--output",
        str(tmp_path),
        "--bases",
        "debian",
        "--stages",
        "0",
        "--platforms",
        "linux/amd64",
        "--tag",
        "v9",
    ]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=f"the tag is v9 and the version in ser_core/version.py {VERSION}"):
        command.main()


def test_too_little_disk_is_said_before_the_build(monkeypatch, tmp_path):
    monkeypatch.setattr(build.shutil, "disk_usage", lambda folder: SimpleNamespace(free=12e9))
    with pytest.raises(CannotBuild, match=r"ser-jobs takes 30 GB of disk while it is built, and .* has 12 GB"):
        build.build(Builder(tmp_path), STAGES, "linux/amd64", "debian")


STEPS = {step["name"]: step["run"] for step in WORKFLOW["jobs"]["release"]["steps"] if "run" in step}


def test_every_step_of_the_workflow_is_a_target_of_make_or_cannot_be_run_elsewhere():
    ours = {name: shlex.split(run) for name, run in STEPS.items() if name not in ELSEWHERE}
    assert set(STEPS) >= set(ELSEWHERE)
    assert {name: words[:3] for name, words in ours.items()} == {
        "Builder": ["sudo", "make", "image-packages"],
        "Release as files": ["sudo", "make", "release"],
        "Push images and chart": ["sudo", "make", "publish"],
    }


def test_nothing_is_released_that_has_not_passed_what_every_change_passes():
    jobs = WORKFLOW["jobs"]
    assert (jobs["check"]["uses"], jobs["release"]["needs"]) == ("./.github/workflows/check.yml", "check")


def test_what_the_workflow_uses_of_others_is_named_by_commit():
    """A tag can be moved to other code, which would sign with the workflow's identity."""
    used = [step["uses"] for step in WORKFLOW["jobs"]["release"]["steps"] if "uses" in step]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", one)] == []


@pytest.mark.parametrize("step", ["Release as files", "Push images and chart"])
def test_what_the_workflow_asks_of_make_is_understood(step):
    words = shlex.split(STEPS[step].replace("$GITHUB_REF_NAME", f"v{VERSION}").replace("$REGISTRY", "registry.example/ser"))
    printed = make("--dry-run", *words[2:])
    arguments = command.parser().parse_args(shlex.split(printed)[4:])
    assert shlex.split(printed)[1:4] == ["python3", "-m", "release"]
    if step == "Release as files":
        assert (arguments.bases, arguments.stages, arguments.platforms) == ("registry", 1, ["linux/amd64", "linux/arm64"])
    else:
        assert arguments.registry == "registry.example/ser"
