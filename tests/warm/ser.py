"""`ser.py SOCKET WORDS…` is `ser WORDS…`, but that its fork server is a child of `server.py`."""

import sys
from pathlib import Path

from ser_core.cli.access import local_executor
from ser_core.cli.app import main

if __name__ == "__main__":
    local_executor.SERVER = (sys.executable, "-S", "-P", str(Path(__file__).with_name("ask.py")), sys.argv.pop(1))
    main()
