"""`python -m bootstrap` is the `bootstrap` command."""

import sys

from bootstrap.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
