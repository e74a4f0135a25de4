"""The errors a user can meet. Anything else that escapes is a fault of ours (exit code 1)."""


class IdleTuneError(Exception):
    """Base of all; the text carries the number at fault and the next step."""


class UsageError(IdleTuneError):
    """Wrong use or input: an unknown user, an unsupported model, a setting out of range."""


class StorageError(UsageError):
    """State that cannot be used now: a full disk, a lock that is held. Then call again."""


class DamagedDataError(IdleTuneError):
    """Data that cannot be trusted: a truncated GGUF, malformed JSONL, a state file from the future."""
