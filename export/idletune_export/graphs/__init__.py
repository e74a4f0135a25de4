"""Makes the training graphs: one pair, forward and backward, for each kind of sublayer."""
