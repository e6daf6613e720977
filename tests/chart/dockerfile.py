"""Builds an image without a container engine: its COPY and RUN instructions, carried out below a folder that plays the root."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ABSOLUTE = re.compile(r"(?<![\w./])/(opt|build)(?=[/\s\"']|$)")
"""The folders that our Dockerfiles make; everything else is the base image's."""


def instructions(dockerfile):
    """Pairs of instruction and its text, continuation lines joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def last_stage(dockerfile):
    """Instructions of the image that is shipped."""
    found = list(instructions(dockerfile))
    return found[max(number for number, (word, _) in enumerate(found) if word == "FROM") + 1 :]


def build(dockerfile, root, before_run=lambda text: None):
    """Carry out a Dockerfile below ``root``.

    Args:
        dockerfile: Whose instructions are carried out.
        root: An empty folder. Stages share it: what one makes in /opt is in the next one's.
        before_run: Told of each RUN before it starts.

    Returns:
        The RUN instructions that need the base image, which were left out.
    """
    place, left_out, defaults = root, [], {}
    for word, text in instructions(dockerfile):
        if word == "WORKDIR":
            place = root / text.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
        elif word == "ARG":
            name, _, value = text.partition("=")
            defaults[name] = value
        elif word == "COPY" and "--from=" not in text:
            copy(*text.split(), place=place)
        elif word == "RUN" and "apt-get" in text:
            left_out.append(text)
        elif word == "RUN":
            before_run(text)
            run(_ABSOLUTE.sub(rf"{root}/\1", text), place, defaults)
    return left_out


def copy(*words, place):
    """COPY from the repository; only what .dockerignore leaves."""
    *sources, target = words
    for source in sources:
        assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines(), f"{source} is ignored"
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, place / target)


def run(command, place, arguments):
    """RUN in a shell that has the build arguments, as an engine does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    ended = subprocess.run(["/bin/sh", "-c", command], cwd=place, env=kept | arguments, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"


def entrypoint(dockerfile):
    """The words that the image starts with."""
    (text,) = [text for word, text in last_stage(dockerfile) if word == "ENTRYPOINT"]
    return json.loads(text)
