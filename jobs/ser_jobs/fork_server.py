"""``python -m ser_jobs.fork_server``: `ser run` names it here; the program is `ser_jobs.process.fork_server`."""

import sys

from ser_jobs.process.fork_server import main

if __name__ == "__main__":
    sys.exit(main())
