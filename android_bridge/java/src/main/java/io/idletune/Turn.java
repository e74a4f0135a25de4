package io.idletune;

import java.util.List;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * A message of a conversation that the app holds itself ({@link IdleTune#complete}).
 *
 * <p>Threads: immutable.
 */
public final class Turn {
    private final String role;
    private final String content;

    private Turn(String role, String content) {
        this.role = role;
        this.content = content;
    }

    /** An instruction for the whole conversation. */
    public static Turn system(String content) {
        return new Turn("system", content);
    }

    /** What the user said. */
    public static Turn user(String content) {
        return new Turn("user", content);
    }

    /** What was answered. */
    public static Turn assistant(String content) {
        return new Turn("assistant", content);
    }

    static JSONArray json(List<Turn> turns) {
        JSONArray all = new JSONArray();
        for (Turn turn : turns) {
            try {
                all.put(new JSONObject().put("role", turn.role).put("content", turn.content));
            } catch (JSONException e) { // thrown for numbers that JSON has not
                throw new IllegalArgumentException(e);
            }
        }
        return all;
    }

    @Override
    public String toString() {
        return role + ": " + content;
    }
}
