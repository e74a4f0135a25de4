package io.idletune;

import org.json.JSONObject;

/**
 * A dialogue set that is kept to learn from ({@link Kept#find}).
 *
 * <p>Threads: immutable.
 */
public final class KeptSet {
    private final long id;
    private final String question;
    private final String reply;
    private final String response;
    private final double created;
    private final String domain;
    private final String origin;
    private final String answerOrigin;
    private final int learnedIn;

    private KeptSet(JSONObject told) {
        id = told.optLong("id");
        question = told.optString("question");
        reply = told.optString("reply");
        response = Json.text(told, "response");
        created = told.optDouble("created");
        domain = told.optString("domain");
        origin = told.optString("origin");
        answerOrigin = told.optString("answer_origin");
        learnedIn = told.optInt("learned_in");
    }

    static KeptSet of(JSONObject told) {
        return new KeptSet(told);
    }

    /** Names it in {@link Kept#forget} and {@link IdleTune#forget}. */
    public long id() {
        return id;
    }

    /** What the user asked. */
    public String question() {
        return question;
    }

    /** What the model answered. */
    public String reply() {
        return reply;
    }

    /** The user's answer, which is learned from; null where there is none yet. */
    public String response() {
        return response;
    }

    /** When it was asked, in seconds since 1970. */
    public double created() {
        return created;
    }

    /** The domain most of its words are of. */
    public String domain() {
        return domain;
    }

    /** Where the question came from: this app, a notification, an imported file ... */
    public String origin() {
        return origin;
    }

    /** Where the answer came from. */
    public String answerOrigin() {
        return answerOrigin;
    }

    /** The adapter that learned it; 0 is none. */
    public int learnedIn() {
        return learnedIn;
    }

    @Override
    public String toString() {
        return id + ": " + question;
    }
}
