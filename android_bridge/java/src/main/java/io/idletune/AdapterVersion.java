package io.idletune;

/**
 * Something the model has learned ({@link IdleTune#adapters}).
 *
 * <p>Threads: immutable.
 */
public final class AdapterVersion {
    private final int version;
    private final String state;
    private final String reason;

    AdapterVersion(int version, String state, String reason) {
        this.version = version;
        this.state = state;
        this.reason = reason;
    }

    /** Its number, from 1. */
    public int version() {
        return version;
    }

    /** {@code "promoted"}, {@code "rejected"}, {@code "retired"} ... */
    public String state() {
        return state;
    }

    /** Why, in words for people. */
    public String reason() {
        return reason;
    }

    @Override
    public String toString() {
        return "adapter " + version + " (" + state + ")";
    }
}
