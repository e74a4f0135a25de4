"""When to learn: the device's state, windows, slices, Termux."""
