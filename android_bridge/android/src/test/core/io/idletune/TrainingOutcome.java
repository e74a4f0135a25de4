package io.idletune;

/** What came of a slice. */
public final class TrainingOutcome {
    /** In a word. */
    public enum Kind { NOT_NOW, STOPPED, PROMOTED, REJECTED, REFRESHED }

    private final Kind kind;
    private final String reason;

    TrainingOutcome(Kind kind, String reason) {
        this.kind = kind;
        this.reason = reason;
    }

    public Kind kind() {
        return kind;
    }

    public String reason() {
        return reason;
    }

    @Override
    public String toString() {
        return kind + ": " + reason;
    }
}
