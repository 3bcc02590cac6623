"""`python -m ccnet_core` is the command `ccnet`."""

import sys

from ccnet_core.cli import main

sys.exit(main())
