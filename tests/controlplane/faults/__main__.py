import sys

from controlplane.faults.faults import main

if __name__ == "__main__":
    sys.exit(main())
