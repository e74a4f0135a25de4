"""Where the state lives when nobody names a place."""

import os
import sys
from pathlib import Path

from ..small_files import user_path


def default_home() -> Path:
    """IDLETUNE_HOME, or `idletune` in the user's data folder."""
    if os.environ.get("IDLETUNE_HOME"):
        return user_path(os.environ["IDLETUNE_HOME"])
    if sys.platform == "darwin":
        return user_path("~/Library/Application Support/idletune")
    return user_path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "idletune"
