"""A simulated phone that lives a month in seconds, with the real scheduler."""
