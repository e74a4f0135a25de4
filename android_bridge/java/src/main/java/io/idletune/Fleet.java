package io.idletune;

import java.io.File;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * Learning together with other devices: joined by the user alone, on terms that are told first ({@link IdleTune#fleet}).
 * The rounds themselves come from the fleet's client, over the socket.
 *
 * <p>Threads: any.
 */
public final class Fleet {
    /** Which fleet was joined, and what it took. */
    public static final class State {
        private final String name;
        private final String told;
        private final boolean ready;
        private final int updates;
        private final String spent;

        private State(JSONObject told) {
            name = told.optString("fleet");
            this.told = told.optString("told");
            ready = told.optBoolean("ready");
            updates = told.optInt("updates");
            spent = told.optString("spent");
        }

        /** The fleet's name; empty where none was joined. */
        public String name() {
            return name;
        }

        /** What the user agreed to. */
        public String told() {
            return told;
        }

        /** Whether this device would take part in a round now. */
        public boolean ready() {
            return ready;
        }

        /** How many updates ever left it. */
        public int updates() {
            return updates;
        }

        /** What they cost of the user's privacy, in words. */
        public String spent() {
            return spent;
        }

        @Override
        public String toString() {
            return name.isEmpty() ? "in no fleet" : name + ", " + updates + " updates; " + spent;
        }
    }

    private final Rpc rpc;

    Fleet(Rpc rpc) {
        this.rpc = rpc;
    }

    /** Which fleet was joined, and what it took. */
    public State state() throws IdleTuneException {
        return new State(rpc.call("fleet", Params.NONE));
    }

    /**
     * What the user would agree to, in words; nothing is changed.
     *
     * @param terms the fleet's terms as JSON, as whoever runs it wrote them
     * @throws UsageException when they are no such terms
     */
    public String previewJoin(String terms) throws IdleTuneException {
        return rpc.call("join_fleet", Params.of("terms", parsed(terms)).and("dry_run", true)).optString("told");
    }

    /**
     * Joins, once the user has read what {@link #previewJoin} tells: from now on updates may leave this device. Only in
     * the runtime's own process.
     *
     * @throws UsageException when they are no such terms, or the fleet is for another model
     */
    public void join(String terms) throws IdleTuneException {
        rpc.call("join_fleet", Params.of("terms", parsed(terms)));
    }

    /**
     * Leaves at once; an update that is being made is dropped.
     *
     * @return false where no fleet was joined
     */
    public boolean leave() throws IdleTuneException {
        return rpc.call("leave_fleet", Params.NONE).optBoolean("left");
    }

    /**
     * Answers with the fleet's adapter, if it is signed and helps the user's own answers.
     *
     * <p>Threads: any; waits as {@link IdleTune#chat} does.
     *
     * @param adapter NAME.gguf, with its signed statement NAME.json beside it
     * @return the version that answers now
     */
    public int take(File adapter) throws IdleTuneException {
        return rpc.call("take_fleet", Params.of("path", adapter.getPath())).optInt("serving");
    }

    private static JSONObject parsed(String terms) throws UsageException {
        try {
            return new JSONObject(terms);
        } catch (JSONException e) {
            throw new UsageException("the terms are no JSON object: " + e.getMessage());
        }
    }
}
