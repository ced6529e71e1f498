"""`python -m residual_ssl.cli`, as launchers of several processes start it."""

import sys

from residual_ssl.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
