"""Which cells there are, in the order in which they are run: what tells most comes first."""

from collections.abc import Sequence
from itertools import groupby, product

from idletune.settings import Settings

from .cells import Cell
from .gains import BASELINES, FIFTHS, SYNTHESIS, USUAL
from .streams import FEW, FRESH, STREAMS

OURS = Settings().policy
OTHERS = ("diverse", "all_data", "eoe", "dss", "idd")
RECIPES = ("targets=q,k,v,o", "targets=q,k,v,o,gate,up,down learning_rate=0.0005", "retrieve_tokens=400")
SEEDS, BINS = 5, 32
SIZES, PARAPHRASES = (16, BINS, 64, 128), (0, 1, 3, 6)


def cell(stream: str, policy: str, seed: int = 0, *, bins: int = BINS, paraphrases: int = 0, **more) -> Cell:
    """The product as it comes, or another policy with the usual training."""
    return Cell(stream, policy, bins, paraphrases, seed, **{"changed": "" if policy == OURS else USUAL, **more})


def headline(streams: Sequence[str], seeds: Sequence[int] = (0,)) -> list[Cell]:
    """The product as it comes; all policies with the usual training. Seeds of a policy follow each other: what does
    not hang on the adapter is measured once."""
    methods = ((OURS, ""), *((policy, USUAL) for policy in (OURS, *BASELINES)))
    return [
        cell(stream, policy, seed, measures_more=True, changed=changed)
        for stream, (policy, changed), seed in product(streams, methods, seeds)
    ]


def quick_cells() -> list[Cell]:
    """One user, the policies side by side."""
    return headline(FEW[:1])


def all_cells() -> list[Cell]:
    """The grid, the most telling part first: every data set, synthesis, users one by one, streams that no setting was
    chosen on, further seeds; then other policies, settings and sizes; further seeds of the rest last."""
    users, further = [stream for stream in STREAMS if stream not in FEW], range(1, SEEDS)
    both = (OURS, "random")
    synthesis = [cell(s, p, paraphrases=k) for k, p, s in product(PARAPHRASES[1:], both, FEW)]
    recipes = [cell(s, OURS, measures_more=True, changed=r) for r, s in product(RECIPES, FEW)]
    others = [cell(s, p, measures_more=True) for p, s in product(OTHERS, FEW)]
    others += [cell(s, "all_three", eoe_reading="histogram", measures_more=True) for s in FEW]
    others += [cell(s, "all_data", measures_more=True, changed="") for s in FEW]
    curves = [cell(s, p, fifths=n) for p, s, n in product(both, FEW, range(1, FIFTHS))]
    sizes = [cell(s, p, bins=bins) for bins, p, s in product(SIZES, both, FEW) if bins != BINS]
    first = headline(FEW) + [cell(s, OURS, paraphrases=SYNTHESIS) for s in FEW]
    first += headline(users) + headline(FRESH) + headline(FEW, further)
    rest = headline(users, further) + [cell(s, p, n) for s, p, n in product(FEW, OTHERS, further)]
    return list(dict.fromkeys(first + curves + synthesis + others + sizes + recipes + rest))


def shared(cells: list[Cell], share: int, of: int) -> list[Cell]:
    """One of so many parts, numbered from 1; seeds of a policy stay together."""
    together = [list(found) for _, found in groupby(cells, lambda cell: (cell.stream, cell.policy, cell.changed))]
    return [cell for found in together[share - 1 :: of] for cell in found]
