"""Runs in a built image: ``python -c … MODULES -- PROGRAM``. Its user, its packages and its program are those that pods get."""

import importlib
import os
import subprocess
import sys
import time

WRONG_SPEC = 10
"""What our programs exit with where they are told nothing."""

words = sys.argv[1:]
modules, program = words[: words.index("--")], words[words.index("--") + 1 :]
if (os.getuid(), os.getgid()) != (65532, 65532):
    sys.exit(f"runs as {os.getuid()}:{os.getgid()}, not as 65532:65532")
started = time.monotonic()
for name in modules:
    importlib.import_module(name)
print(f"imports {', '.join(modules)} in {time.monotonic() - started:.0f} s, Python {sys.version.split()[0]}")
ended = subprocess.run(program, capture_output=True, text=True, check=False)
if ended.returncode != WRONG_SPEC:
    sys.exit(f"{' '.join(program)} without settings exits with {ended.returncode}, not {WRONG_SPEC}:\n{ended.stdout}{ended.stderr}")
print(f"starts: {' '.join(program)}")
