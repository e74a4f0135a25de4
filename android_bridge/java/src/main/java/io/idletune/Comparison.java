package io.idletune;

import org.json.JSONObject;

/**
 * Two answers to one message: without what was learned, and with it ({@link IdleTune#compare}).
 *
 * <p>Threads: immutable.
 */
public final class Comparison {
    private final String base;
    private final String learned;
    private final int adapter;
    private final int shown;

    private Comparison(String base, String learned, int adapter, int shown) {
        this.base = base;
        this.learned = learned;
        this.adapter = adapter;
        this.shown = shown;
    }

    static Comparison of(JSONObject told) {
        return new Comparison(
                told.optString("base"), told.optString("learned"), told.optInt("adapter"), told.optInt("shown"));
    }

    /** What the base model alone answers. */
    public String base() {
        return base;
    }

    /** What it answers with the adapter and the user's nearest answers. */
    public String learned() {
        return learned;
    }

    /** The adapter that took part; 0 is none. */
    public int adapter() {
        return adapter;
    }

    /** How many of the user's answers it was shown. */
    public int shown() {
        return shown;
    }

    @Override
    public String toString() {
        return "without learning: " + base + "; with it: " + learned;
    }
}
