package io.idletune;

/** What the user thinks of an answer ({@link IdleTune#feedback}). */
public enum Rating {
    /** It was good: it becomes the answer, is kept and shown, and trains at the weight choice_weight, 0 as it comes. */
    UP,
    /** It was not: an earlier {@link #UP} is taken back, and the user is asked for a better one. */
    DOWN,
    /** Never ask about this question. */
    NEVER_ASK
}
