"""What the user says, as text: Termux:API's speech recognition, which is Android's.

Only where the user switched it on (setting speech): the recognition is another program's, and on many phones it sends
what is said to a server. The words are asked for once and kept nowhere here; whoever is told them decides.
"""

import shutil

from ..errors import UsageError
from ..plain_text import one_line
from .programs import output_of

PROGRAM = "termux-speech-to-text"
SECONDS = 60.0  # to speak in; the program ends by itself when nothing more is said
NOTICE = "Android's speech recognition listens; on some phones it sends what you say to a server"
OFF = "speech is off, as some phones send it to a server to be recognized; switch it on with --set speech=true"


def hear(seconds: float = SECONDS) -> str:
    """What was said, in one line. UsageError where Termux:API is missing, where it fails, and where it heard nothing.

    The program prints each guess on a line of its own and gives the last one; it ends with 0 whatever happened.
    """
    if not shutil.which(PROGRAM):
        raise UsageError(f"no {PROGRAM} here; in Termux: pkg install termux-api, and the Termux:API app")
    output = output_of([PROGRAM], seconds=seconds)
    if output is None:
        raise UsageError(f"{PROGRAM} did not end within {seconds:.0f} s; try again, or type it")
    if not (said := one_line(output)):
        raise UsageError(
            "nothing was heard; allow Termux:API the microphone in Android's settings, or install a speech recognition"
        )
    return said
