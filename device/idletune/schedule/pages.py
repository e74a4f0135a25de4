"""A text in pages, each of which a notification shows whole.

Beside buttons, Android draws 9 lines of a notification's text (13 without), and keeps 1,024 characters of it
(Notification.BigTextStyle and safeCharSequence in AOSP). The rest is not to be seen anywhere, so nobody can judge it.
PromptPages.java does the same.
"""

PAGE_COLUMNS = 240  # 9 lines of a narrow screen, some of them not full
LINE_COLUMNS = 30  # what a line's end may leave empty
FIRST_WIDE = 0x1100  # from here on (Hangul, CJK, emoji) a character may take two columns


def pages(text: str) -> list[str]:
    """The pages, one at least; joined they are the text. Cut behind a space where there is one."""
    found = []
    while text:
        end = _fitting(text)
        if end < len(text):
            end = text.rfind(" ", end // 2, end) + 1 or end
        found.append(text[:end])
        text = text[end:]
    return found or [""]


def _fitting(text: str) -> int:
    """How many characters from the beginning fit a page; one at least."""
    columns = 0
    for number, character in enumerate(text):
        columns += LINE_COLUMNS if character == "\n" else 2 if ord(character) >= FIRST_WIDE else 1
        if columns > PAGE_COLUMNS:
            return max(number, 1)
    return len(text)
