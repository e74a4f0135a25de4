package io.idletune;

import java.util.List;
import java.util.Locale;
import org.json.JSONObject;

/**
 * What went with a forgotten dialogue set, or would go: see {@link IdleTune#forget} and {@link IdleTune#previewForget}.
 *
 * <p>Threads: immutable.
 */
public final class Forgotten {
    /** How far forgetting reaches among the replies that came of a set. */
    public enum Descendants {
        /** All replies written from it. */
        ALL,
        /** Those it was shown for, not those that an adapter which knew it wrote. */
        SHOWN,
        /** No reply but its own. */
        NONE;

        String word() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    private final List<Long> sets;
    private final List<Long> replies;
    private final List<Long> adapters;
    private final List<String> copies;

    private Forgotten(List<Long> sets, List<Long> replies, List<Long> adapters, List<String> copies) {
        this.sets = sets;
        this.replies = replies;
        this.adapters = adapters;
        this.copies = copies;
    }

    static Forgotten of(JSONObject told) {
        return new Forgotten(
                Json.longs(told, "sets"), Json.longs(told, "replies"), Json.longs(told, "dropped"),
                Json.list(told, "copies", each -> each.optString("path")));
    }

    /** The dialogue sets that went, the named one included. */
    public List<Long> sets() {
        return sets;
    }

    /** Dialogue sets with the user's own answer, of which the model's reply went; the answer stays. */
    public List<Long> replies() {
        return replies;
    }

    /** Adapter versions that went, the newest first. */
    public List<Long> adapters() {
        return adapters;
    }

    /** Paths of files that were written before, by an export say, and may still hold it. */
    public List<String> copies() {
        return copies;
    }

    @Override
    public String toString() {
        return "dialogue sets " + sets + ", replies of " + replies + ", adapters " + adapters + "; copies " + copies;
    }
}
