package io.idletune;

import java.util.List;
import org.json.JSONObject;

/**
 * Why it learns by itself at this moment, or does not ({@link IdleTune#learning}).
 *
 * <p>Threads: immutable; a picture of the moment it was asked for.
 */
public final class LearningState {
    /** Something that has to hold for learning by itself. */
    public static final class Condition {
        private final String code;
        private final Boolean met;
        private final String reason;

        private Condition(JSONObject told) {
            code = told.optString("code");
            met = told.isNull("met") ? null : (Boolean) told.optBoolean("met");
            reason = told.optString("reason");
        }

        /** Its stable name, as {@link TrainingOutcome#code}. */
        public String code() {
            return code;
        }

        /** Whether it holds; null where that cannot be told, which counts as no. */
        public Boolean met() {
            return met;
        }

        /** Why it does not hold, in words; empty where it does. */
        public String reason() {
            return reason;
        }

        @Override
        public String toString() {
            return code + (met == null ? ": unknown" : met ? ": met" : ": " + reason);
        }
    }

    private final boolean running;
    private final boolean unfinished;
    private final List<Condition> conditions;

    private LearningState(JSONObject told) {
        running = told.optBoolean("running");
        unfinished = told.optBoolean("unfinished");
        conditions = Json.list(told, "conditions", Condition::new);
    }

    static LearningState of(JSONObject told) {
        return new LearningState(told);
    }

    /** Whether it learns at this moment, in this process or in another one. */
    public boolean running() {
        return running;
    }

    /** Whether a run was begun that learning goes on with. */
    public boolean unfinished() {
        return unfinished;
    }

    /** All conditions, in the order in which they are looked at. */
    public List<Condition> conditions() {
        return conditions;
    }

    @Override
    public String toString() {
        return (running ? "learning; " : "") + conditions;
    }
}
