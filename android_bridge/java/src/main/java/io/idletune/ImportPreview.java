package io.idletune;

import java.util.List;
import org.json.JSONObject;

/**
 * What a file of conversations holds, before anything of it is kept ({@link Imports#preview}).
 *
 * <p>Threads: immutable.
 */
public final class ImportPreview {
    private final String format;
    private final int exchanges;
    private final int toRead;
    private final Double first;
    private final Double last;
    private final List<String> examples;
    private final List<String> skipped;
    private final List<String> people;

    private ImportPreview(JSONObject told) {
        format = told.optString("format");
        exchanges = told.optInt("exchanges");
        toRead = told.optInt("to_read");
        first = Json.number(told, "first");
        last = Json.number(told, "last");
        examples = Json.list(told, "examples", each -> each.optString("question") + "\n" + each.optString("response"));
        skipped = Json.list(told, "skipped", each -> each.optInt("count") + ": " + each.optString("reason"));
        people = Json.texts(told, "people");
    }

    static ImportPreview of(JSONObject told) {
        return new ImportPreview(told);
    }

    /** What it is, in words: "a ChatGPT export" ... */
    public String format() {
        return format;
    }

    /** How many exchanges of it are new here. */
    public int exchanges() {
        return exchanges;
    }

    /** How many of these the model would read. */
    public int toRead() {
        return toRead;
    }

    /** When the first was, in seconds since 1970; null where the file does not say. */
    public Double first() {
        return first;
    }

    /** When the last was. */
    public Double last() {
        return last;
    }

    /** The first three, each a question and its response on the next line. */
    public List<String> examples() {
        return examples;
    }

    /** What is left out: how many, and why, in words. */
    public List<String> skipped() {
        return skipped;
    }

    /** Where the file has people and none was named as the user: the names that it may be. */
    public List<String> people() {
        return people;
    }

    @Override
    public String toString() {
        return format + ", " + exchanges + " new exchanges";
    }
}
