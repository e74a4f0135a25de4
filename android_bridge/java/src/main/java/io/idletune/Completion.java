package io.idletune;

import org.json.JSONObject;

/**
 * An answer with its id, by which the user can say what it was worth ({@link IdleTune#feedback}).
 *
 * <p>Threads: immutable.
 */
public final class Completion {
    private final String id;
    private final String text;
    private final String thoughts;

    private Completion(String id, String text, String thoughts) {
        this.id = id;
        this.text = text;
        this.thoughts = thoughts;
    }

    static Completion of(JSONObject told) {
        return new Completion(told.optString("completion"), told.optString("text"), told.optString("thoughts"));
    }

    /** Names this answer; nobody can guess it. */
    public String id() {
        return id;
    }

    /** The whole answer. */
    public String text() {
        return text;
    }

    /** What the model wrote for itself before it; empty where it did not. It is no part of the answer. */
    public String thoughts() {
        return thoughts;
    }

    @Override
    public String toString() {
        return text;
    }
}
