"""``python -m structpred``."""

from structpred.cli import main

raise SystemExit(main())
