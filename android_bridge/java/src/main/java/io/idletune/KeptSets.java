package io.idletune;

import java.util.List;
import java.util.Map;
import org.json.JSONObject;

/**
 * What a search among the kept dialogue sets found ({@link Kept#find}).
 *
 * <p>Threads: immutable.
 */
public final class KeptSets {
    private final int found;
    private final List<Long> ids;
    private final List<KeptSet> sets;
    private final Map<String, Integer> domains;
    private final int total;
    private final int answered;
    private final int learned;

    private KeptSets(JSONObject told) {
        JSONObject given = told.optJSONObject("counts");
        JSONObject counts = given == null ? new JSONObject() : given;
        found = told.optInt("found");
        ids = Json.longs(told, "ids");
        sets = Json.list(told, "sets", KeptSet::of);
        total = counts.optInt("total");
        answered = counts.optInt("answered");
        learned = counts.optInt("learned");
        domains = Json.counts(counts, "domains");
    }

    static KeptSets of(JSONObject told) {
        return new KeptSets(told);
    }

    /** How many were found. */
    public int found() {
        return found;
    }

    /** The ids of all that were found, the newest first. */
    public List<Long> ids() {
        return ids;
    }

    /** Those that were asked for, the newest first. */
    public List<KeptSet> sets() {
        return sets;
    }

    /** How many are kept in all. */
    public int total() {
        return total;
    }

    /** How many of all have the user's answer. */
    public int answered() {
        return answered;
    }

    /** How many of all were learned. */
    public int learned() {
        return learned;
    }

    /** How many of all are of each domain. */
    public Map<String, Integer> domains() {
        return domains;
    }

    @Override
    public String toString() {
        return found + " found of " + total;
    }
}
