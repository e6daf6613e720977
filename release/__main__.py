"""Makes a release, and publishes it."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from images.builder import CannotBuild
from images.debian import machine
from release.build import build, builder, look
from release.chart import package
from release.files import archive_name, write_base, write_bill, write_checksums
from release.installed import write_installed
from release.publish import publish
from release.shipped import OPERATOR, STAGES
from ser_core.version import VERSION


def main() -> None:
    """Do what the command line says."""
    arguments = parser().parse_args()
    try:
        arguments.do(arguments)
    except CannotBuild as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: a program ended with {error.returncode}; what it said stands above")


def check_images(arguments: argparse.Namespace) -> None:
    """Build both images for this machine, see that they start, and throw them away."""
    for image in (OPERATOR, STAGES):
        with builder(arguments.output) as one:
            print(build(one, image, machine(), arguments.bases).told, look(one, image), sep="; ", flush=True)


def make(arguments: argparse.Namespace) -> None:
    """Build everything that a release has, as files."""
    if arguments.tag and arguments.tag != f"v{VERSION}":
        sys.exit(f"error: the tag is {arguments.tag} and the version in ser_core/version.py {VERSION}; tag v{VERSION}, or change it there")
    shutil.rmtree(arguments.output, ignore_errors=True)
    wanted = [(OPERATOR, platform) for platform in arguments.platforms]
    wanted += [(STAGES, "linux/amd64")] if arguments.stages else []
    for image, platform in wanted:
        with builder(arguments.output) as one:
            built = build(one, image, platform, arguments.bases)
            print(built.told, look(one, image), sep="; ", flush=True)
            archive = arguments.output / archive_name(image, platform)
            one.save(image.tagged, archive)
        write_bill(archive, image)
        write_base(archive, built.base)
    package(arguments.output)
    write_checksums(arguments.output)
    for path in sorted(arguments.output.iterdir()):
        print(f"{path.stat().st_size / 1e6:10.1f} MB  {path}")


def bills(arguments: argparse.Namespace) -> None:
    """Write the bills of materials of the packages that the locks install, as they are here; refuse what may not be released."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    for image in (OPERATOR, STAGES):
        print(write_installed(arguments.output, image))


def push(arguments: argparse.Namespace) -> None:
    """Push images and chart of a finished release to a registry."""
    print(*publish(arguments.output, arguments.registry), sep="\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    program = argparse.ArgumentParser(prog="release", description=__doc__)
    commands = program.add_subparsers(required=True)
    for do, name in ((check_images, "images"), (make, "make"), (bills, "bills"), (push, "publish")):
        command = commands.add_parser(name, help=do.__doc__)
        command.set_defaults(do=do)
        command.add_argument("--output", type=Path, required=True, help="folder of the release")
        if do in (check_images, make):
            command.add_argument(
                "--bases", choices=["registry", "debian"], required=True, help="base images: the Dockerfiles', or Debian's packages"
            )
    made, pushed = commands.choices["make"], commands.choices["publish"]
    made.add_argument("--platforms", nargs="+", required=True, help="of the operator's image")
    made.add_argument("--stages", type=int, choices=[0, 1], required=True, help="whether the stages' image is part of it")
    made.add_argument("--tag", help="of the commit; must be that of the version")
    pushed.add_argument("--registry", required=True, help="host and folder")
    return program


if __name__ == "__main__":
    main()
