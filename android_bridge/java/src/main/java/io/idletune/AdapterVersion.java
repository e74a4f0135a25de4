package io.idletune;

import org.json.JSONObject;

/**
 * Something the model has learned ({@link IdleTune#adapters}).
 *
 * <p>Threads: immutable.
 */
public final class AdapterVersion {
    private final int version;
    private final String state;
    private final String reason;

    private AdapterVersion(JSONObject told) {
        version = told.optInt("version");
        state = told.optString("state");
        reason = told.optString("reason");
    }

    static AdapterVersion of(JSONObject told) {
        return new AdapterVersion(told);
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
