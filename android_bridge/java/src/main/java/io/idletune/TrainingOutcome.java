package io.idletune;

/**
 * What came of a slice of learning ({@link IdleTune#tick}).
 *
 * <p>Threads: immutable.
 */
public final class TrainingOutcome {
    /** In a word. */
    public enum Kind {
        /** The device may not learn now, or there is nothing to learn; the reason says which. */
        NOT_NOW,
        /** The slice was stopped, with a checkpoint; the next one goes on there. */
        STOPPED,
        /** A new adapter was trained, passed its checks, and answers from now on. */
        PROMOTED,
        /** A new adapter passed, but its loss fell too far to be true: {@link IdleTune#promote} serves it after a look. */
        HELD_BACK,
        /** A new adapter was trained and did not pass; the one before goes on answering. */
        REJECTED,
        /** Only embeddings were computed anew. */
        REFRESHED
    }

    private final Kind kind;
    private final String code;
    private final String reason;
    private final double seconds;
    private final boolean more;

    TrainingOutcome(Kind kind, String code, String reason, double seconds, boolean more) {
        this.kind = kind;
        this.code = code;
        this.reason = reason;
        this.seconds = seconds;
        this.more = more;
    }

    /** In a word. */
    public Kind kind() {
        return kind;
    }

    /** The check that closed the window, or that would now: {@code "plugged"}, {@code "temperature"} ... */
    public String code() {
        return code;
    }

    /** Why, in words for people. */
    public String reason() {
        return reason;
    }

    /** How long it learned, in seconds. */
    public double seconds() {
        return seconds;
    }

    /** Whether work is left for another slice. */
    public boolean more() {
        return more;
    }

    @Override
    public String toString() {
        return kind + ": " + reason;
    }
}
