"""``python -m lakelineage``: the command line."""

import sys

from lakelineage.cli import main

if __name__ == "__main__":
    sys.exit(main())
