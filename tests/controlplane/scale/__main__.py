import sys

from controlplane.scale.scale import main

if __name__ == "__main__":
    sys.exit(main())
