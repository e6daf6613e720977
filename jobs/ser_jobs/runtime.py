"""``python -m ser_jobs.runtime``: one attempt of a stage. Jobs and images name it here; the program is `ser_jobs.process.runtime`."""

import sys

from ser_jobs.process.runtime import main

if __name__ == "__main__":
    sys.exit(main())
