package io.idletune;

import java.util.Map;
import org.json.JSONException;
import org.json.JSONObject;

/** A method's parameters; one whose value is null is left out. */
final class Params {
    static final Params NONE = new Params();

    private final JSONObject json = new JSONObject();

    static Params of(String name, Object value) {
        return new Params().and(name, value);
    }

    Params and(String name, Object value) {
        try {
            json.put(name, value instanceof Map ? new JSONObject((Map<?, ?>) value) : value);
        } catch (JSONException e) { // a number that JSON has not
            throw new IllegalArgumentException(name + ": " + e.getMessage(), e);
        }
        return this;
    }

    JSONObject json() {
        return json;
    }
}
