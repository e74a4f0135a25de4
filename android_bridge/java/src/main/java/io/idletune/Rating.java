package io.idletune;

/** What the user thinks of an answer ({@link IdleTune#feedback}). */
public enum Rating {
    /** It was good: it becomes an answer to learn from. */
    UP,
    /** It was not: an earlier {@link #UP} is taken back, and the user is asked for a better one. */
    DOWN,
    /** Never ask about this question. */
    NEVER_ASK
}
