"""How a benchmark ends when it is run by itself, in statuses that ``make bench`` tells apart."""

import sys
from collections.abc import Callable

from structpred.errors import AbsentError, StructpredError

SKIPPED, REFUSED = 77, 2
"""Exit statuses: this machine lacks something (77, as with GNU Automake), and a mistake that somebody can mend."""


class MissingPeer(StructpredError):
    """A program that a benchmark measures beside ours is not installed."""


def standalone(main: Callable[[], None]) -> None:
    """Run a benchmark; where it cannot be run here, say so in one sentence and exit.

    Raises:
        SystemExit: with `SKIPPED` where a peer or data are missing, with `REFUSED` after another mistake in words.
    """
    try:
        main()
    except (MissingPeer, AbsentError) as error:
        print(f"skipped: {error}", file=sys.stderr)
        sys.exit(SKIPPED)
    except StructpredError as error:
        print(f"structpred: {error}", file=sys.stderr)
        sys.exit(REFUSED)
