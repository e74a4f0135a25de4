"""How far forgetting a dialogue set reaches among the replies that came of it (descent.py)."""

# All that descend; all but those merely written by an adapter that knew the set; no reply but the set's own.
REACHES = ("all", "shown", "none")
