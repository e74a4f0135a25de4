"""Files of conversations that other programs export, read as exchanges: a small file for each format.

- A format is recognized by content, never by a file's name.
- Files are read as streams: memory holds one conversation, not the file.
- What is malformed as a whole is DamagedDataError with the place; a single message of no use is skipped, with its
  reason.
- Nothing is unpacked to the disk: an entry of a zip archive is read where it lies.
"""

from .formats import FORMATS, ChatFile, open_chat_file, read_exchanges
from .messages import Skipped
from .source import Source

__all__ = ["FORMATS", "ChatFile", "Skipped", "Source", "open_chat_file", "read_exchanges"]
