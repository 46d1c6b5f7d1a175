"""`python -m resmlp`."""

from resmlp.cli import main

raise SystemExit(main())
