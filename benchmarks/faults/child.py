"""`python -m benchmarks.faults.child INJECTION COMMAND...`: a `bootstrap` command with one fault inside its process."""

import sys

from benchmarks.faults import injections
from bootstrap.cli.main import main

if __name__ == "__main__":
    getattr(injections, sys.argv[1])()
    sys.exit(main(sys.argv[2:]))
