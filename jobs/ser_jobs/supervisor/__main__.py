"""``python -m ser_jobs.supervisor``: the first process of every stage's container. Jobs name it so."""

import sys

from ser_jobs.supervisor.supervisor import main

if __name__ == "__main__":
    sys.exit(main())
