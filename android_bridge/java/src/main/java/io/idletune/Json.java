package io.idletune;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.json.JSONArray;
import org.json.JSONObject;

/** Reads what the runtime tells; what is missing is null, zero or empty. */
final class Json {
    private Json() {}

    /** A text, or null: {@code optString} gives "null" for JSON's null. */
    static String text(JSONObject told, String name) {
        return told.isNull(name) ? null : told.optString(name);
    }

    /** A number, or null. */
    static Double number(JSONObject told, String name) {
        return told.isNull(name) ? null : (Double) told.optDouble(name);
    }

    /** What a list of objects holds, each read by {@code read}. */
    static <T> List<T> list(JSONObject told, String name, Function<JSONObject, T> read) {
        List<T> found = new ArrayList<>();
        JSONArray all = told.optJSONArray(name);
        for (int i = 0; all != null && i < all.length(); i++) {
            found.add(read.apply(all.optJSONObject(i)));
        }
        return Collections.unmodifiableList(found);
    }

    static List<Long> longs(JSONObject told, String name) {
        List<Long> found = new ArrayList<>();
        JSONArray all = told.optJSONArray(name);
        for (int i = 0; all != null && i < all.length(); i++) {
            found.add(all.optLong(i));
        }
        return Collections.unmodifiableList(found);
    }

    static List<String> texts(JSONObject told, String name) {
        List<String> found = new ArrayList<>();
        JSONArray all = told.optJSONArray(name);
        for (int i = 0; all != null && i < all.length(); i++) {
            found.add(all.optString(i));
        }
        return Collections.unmodifiableList(found);
    }

    /** An object of numbers, in the order in which they are told. */
    static Map<String, Integer> counts(JSONObject told, String name) {
        Map<String, Integer> found = new LinkedHashMap<>();
        JSONObject all = told.optJSONObject(name);
        JSONArray names = all == null ? null : all.names();
        for (int i = 0; names != null && i < names.length(); i++) {
            found.put(names.optString(i), all.optInt(names.optString(i)));
        }
        return Collections.unmodifiableMap(found);
    }
}
