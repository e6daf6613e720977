"""``python -m ser_jobs.supervisor``: PID 1 of every stage's container. Jobs start it under this name."""

import sys

from ser_jobs.supervisor.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
