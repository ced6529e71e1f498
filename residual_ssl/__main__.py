"""`python -m residual_ssl` is the command `residual-ssl`."""

import sys

from residual_ssl.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
