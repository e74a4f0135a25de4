"""Which streams the experiments take, and what their names are in the file of examples.

No setting, weight or method was chosen on UNTOUCHED: they come after what the selection benchmark's STREAMS hold.
Five of them confirmed Gemma's learning rate (gentler.py).
"""

from selection.streams import FEW, FRESH, STREAMS

UNTOUCHED = (*FRESH, "persona_chat/+400", "diasafety_safe/+400", "dolly/+400", "medquad/+400")
KEPT = (*STREAMS, *FRESH)  # the selection benchmark's, with the answers that the product kept
TAPS = (*FEW, "ubuntu_irc/irc_01", *(name for name in UNTOUCHED if "+" in name), *UNTOUCHED[:2])
ONE_BY_ONE = (  # where adapters are measured one after the other: no long answers; the second of each pair is untouched
    *("ubuntu_irc/irc_04", "ubuntu_irc/irc_09", "dolly/", "dolly/+200"),
    *("persona_chat/", "persona_chat/+200", "diasafety_safe/", "diasafety_safe/+200"),
)
EXCHANGES = 96  # that a stream's user answers or taps on
LENGTH = 200  # exchanges of a stream, the last fifth held out
GEMMA = (*FEW, "ubuntu_irc/irc_01", *(name for name in FRESH if "+" in name), "ubuntu_irc/irc_09", "ubuntu_irc/irc_10")
# Two of each data set, a chosen-on one and one that nothing was chosen on, Gemma's learning rate (GEMMA) included.
PARAPHRASED = (
    *("persona_chat/", "persona_chat/+400", "ubuntu_irc/irc_04", "ubuntu_irc/irc_11"),
    *("diasafety_safe/", "diasafety_safe/+400", "dolly/", "dolly/+400", "medquad/", "medquad/+400"),
)


def data_set(stream: str) -> str:
    return stream.split("/")[0]
