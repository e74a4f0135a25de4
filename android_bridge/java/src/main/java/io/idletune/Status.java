package io.idletune;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

import org.json.JSONArray;
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
    private final Map<String, Double> origins;
    private final int heldBack;
    private final String dropped;

    Status(
            int kept, int bins, int answered, String unobserved, int waiting, int adapter, boolean mayLearn,
            String reason, Map<String, Double> origins, int heldBack, String dropped) {
        this.kept = kept;
        this.bins = bins;
        this.answered = answered;
        this.unobserved = unobserved;
        this.waiting = waiting;
        this.adapter = adapter;
        this.mayLearn = mayLearn;
        this.reason = reason;
        this.origins = origins;
        this.heldBack = heldBack;
        this.dropped = dropped;
    }

    /** From the runtime's own account. */
    static Status of(JSONObject all) {
        JSONObject buffer = part(all, "buffer");
        JSONObject learning = part(all, "learning");
        return new Status(
                buffer.optInt("kept"), buffer.optInt("bins"), part(all, "answered").optInt("sets"),
                all.optString("unobserved"), part(all, "prompts").optInt("waiting"),
                part(all, "adapter").optInt("version"),
                learning.optBoolean("open"), learning.optString("reason"),
                origins(part(all, "adapter").optJSONArray("origins")), part(all, "held_back").optInt("version"),
                part(all, "dropped").optString("reason"));
    }

    private static Map<String, Double> origins(JSONArray told) {
        Map<String, Double> shares = new LinkedHashMap<>();
        for (int i = 0; told != null && i < told.length(); i++) {
            JSONObject each = told.optJSONObject(i);
            String asked = each.optString("asked");
            String answered = each.optString("answered");
            shares.put(asked.equals(answered) ? asked : asked + ", answered: " + answered, each.optDouble("share"));
        }
        return Collections.unmodifiableMap(shares);
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

    /**
     * From which doors came what the adapter that answers has learned, the most frequent first, each with its share
     * (0 to 1): where the exchange came from and, if it was another one, where the answer did.
     */
    public Map<String, Double> origins() {
        return origins;
    }

    /** The adapter that waits for {@link IdleTune#promote}, since its loss fell too far to be true; 0 if none does. */
    public int heldBack() {
        return heldBack;
    }

    /** Why the adapter before was dropped (its output was broken, say), in words for people; empty if none was. */
    public String dropped() {
        return dropped;
    }

    @Override
    public String toString() {
        return kept + " of " + bins + " dialogue sets, " + answered + " answered, " + waiting + " to answer; "
                + (adapter == 0 ? "base model" : "adapter " + adapter) + "; " + reason;
    }
}
