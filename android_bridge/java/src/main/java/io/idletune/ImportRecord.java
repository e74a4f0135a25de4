package io.idletune;

import org.json.JSONObject;

/**
 * A file that was imported ({@link Imports#all}).
 *
 * <p>Threads: immutable.
 */
public final class ImportRecord {
    private final long id;
    private final String name;
    private final int taken;
    private final int kept;

    private ImportRecord(JSONObject told) {
        id = told.optLong("id");
        name = told.optString("name");
        taken = told.optInt("taken");
        kept = told.optInt("kept");
    }

    static ImportRecord of(JSONObject told) {
        return new ImportRecord(told);
    }

    /** Names it in {@link Imports#forget}; 0 where nothing was new. */
    public long id() {
        return id;
    }

    /** The file's name. */
    public String name() {
        return name;
    }

    /** Exchanges that were read. */
    public int taken() {
        return taken;
    }

    /** Of them, those that are kept now. */
    public int kept() {
        return kept;
    }

    @Override
    public String toString() {
        return name + ", " + kept + " of " + taken + " kept";
    }
}
