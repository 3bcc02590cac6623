"""`python -m ccnet_train` and `accelerate launch -m ccnet_train`."""

import sys

from ccnet_train.cli import main

sys.exit(main())
