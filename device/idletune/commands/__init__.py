"""The command line: talking to it, its answers as tables and pictures."""
