"""idletune: the command line.

Exit codes: 0 done, 2 wrong use or input, 1 a fault of ours.
"""

import errno
import io
import os
import sys

from ..core_dumps import disable_core_dumps
from ..errors import IdleTuneError
from .parser import make_parser
from .say import say

OUTPUT_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    disable_core_dumps()
    _open_missing_streams()
    _forgive_characters()
    try:
        arguments = make_parser().parse_args(argv)
        arguments.run(arguments)
        sys.stdout.flush()
    except IdleTuneError as error:
        say(f"idletune: {error}", sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stdout = None  # nobody reads on; not an error of anyone's
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_LOST:
            raise
        sys.stdout = None
        say(f"idletune: cannot write the output ({error.strerror}); what was done is done", sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("\nidletune: stopped; what was answered and learned is kept", sys.stderr)
        return 130
    return 0


def _open_missing_streams() -> None:
    """Open /dev/null for a standard stream that the caller has closed.

    Otherwise the next file that is opened would get descriptor 0, 1 or 2, which libraries print to.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def _forgive_characters() -> None:
    """Replace characters that cannot be printed, and bytes that cannot be decoded, instead of raising."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "replace":
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
