"""`python -m ccnet_data` is the command `ccnet-data`."""

from .cli import main

raise SystemExit(main())
