package io.idletune.android;

import java.util.ArrayList;
import java.util.List;

/**
 * A text in pages, each of which a notification shows whole: beside buttons, Android draws 9 lines of its text and keeps
 * 1,024 characters of it. The rest is not to be seen anywhere, so nobody can judge it. pages.py does the same.
 */
final class PromptPages {
    static final int PAGE_COLUMNS = 240; // 9 lines of a narrow screen, some of them not full
    private static final int LINE_COLUMNS = 30; // what a line's end may leave empty
    private static final int FIRST_WIDE = 0x1100; // from here on a character may take two columns

    private PromptPages() {}

    /** The pages, one at least; joined they are the text. Cut behind a space where there is one. */
    static List<String> of(String text) {
        List<String> pages = new ArrayList<>();
        String rest = text;
        while (!rest.isEmpty()) {
            int end = fitting(rest);
            int space = end < rest.length() ? rest.lastIndexOf(' ', end - 1) : -1;
            if (space >= end / 2) {
                end = space + 1;
            }
            pages.add(rest.substring(0, end));
            rest = rest.substring(end);
        }
        if (pages.isEmpty()) {
            pages.add("");
        }
        return pages;
    }

    /** How many chars from the beginning fit a page, whole characters, one at least. */
    private static int fitting(String text) {
        int columns = 0;
        int at = 0;
        while (at < text.length()) {
            int character = text.codePointAt(at);
            columns += character == '\n' ? LINE_COLUMNS : character >= FIRST_WIDE ? 2 : 1;
            if (columns > PAGE_COLUMNS && at > 0) {
                return at;
            }
            at += Character.charCount(character);
        }
        return at;
    }
}
