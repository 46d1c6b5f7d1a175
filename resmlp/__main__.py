"""`python -m resmlp`."""

from resmlp.cli.main import main

raise SystemExit(main())
