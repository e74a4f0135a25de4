package io.idletune;

import org.json.JSONObject;

/**
 * What a settings page shows of the runtime ({@link IdleTune#status}).
 *
 * <p>Threads: immutable; a picture of the moment it was asked for.
 */
public final class Status {
    private final int kept;
    private final int bins;
    private final int answered;
    private final String unobserved;
    private final int waiting;
    private final int adapter;
    private final boolean mayLearn;
    private final String reason;

    Status(
            int kept, int bins, int answered, String unobserved, int waiting, int adapter, boolean mayLearn,
            String reason) {
        this.kept = kept;
        this.bins = bins;
        this.answered = answered;
        this.unobserved = unobserved;
        this.waiting = waiting;
        this.adapter = adapter;
        this.mayLearn = mayLearn;
        this.reason = reason;
    }

    /** From the runtime's own account. */
    static Status of(JSONObject all) {
        JSONObject buffer = part(all, "buffer");
        JSONObject learning = part(all, "learning");
        return new Status(
                buffer.optInt("kept"), buffer.optInt("bins"), part(all, "answered").optInt("sets"),
                all.optString("unobserved"), part(all, "prompts").optInt("waiting"),
                part(all, "adapter").optInt("version"),
                learning.optBoolean("open"), learning.optString("reason"));
    }

    private static JSONObject part(JSONObject all, String name) {
        JSONObject part = all.optJSONObject(name);
        return part == null ? new JSONObject() : part;
    }

    /** Dialogue sets in the buffer. */
    public int kept() {
        return kept;
    }

    /** Dialogue sets the buffer holds at most. */
    public int bins() {
        return bins;
    }

    /** Those the user has answered. */
    public int answered() {
        return answered;
    }

    /** Why the last exchange of a chat could not be kept, a full storage say, in words for people; empty if it was. */
    public String unobserved() {
        return unobserved;
    }

    /** Questions that wait for the user. */
    public int waiting() {
        return waiting;
    }

    /** The adapter that answers; 0 is the base model alone. */
    public int adapter() {
        return adapter;
    }

    /** Whether a slice could learn now. */
    public boolean mayLearn() {
        return mayLearn;
    }

    /** Why, or why not, in words for people. */
    public String reason() {
        return reason;
    }

    @Override
    public String toString() {
        return kept + " of " + bins + " dialogue sets, " + answered + " answered, " + waiting + " to answer; "
                + (adapter == 0 ? "base model" : "adapter " + adapter) + "; " + reason;
    }
}
