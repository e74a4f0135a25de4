package io.idletune;

import org.json.JSONObject;

/**
 * What a night of learning takes on this device, tried in a few real steps ({@link IdleTune#check}).
 *
 * <p>Threads: immutable.
 */
public final class ModelCheck {
    private final String refusal;
    private final int answers;
    private final double minutes;
    private final int slices;
    private final Double peakMb;
    private final Double freeMb;

    private ModelCheck(JSONObject report) {
        JSONObject told = report.optJSONObject("night");
        JSONObject night = told == null ? new JSONObject() : told;
        refusal = report.optString("refusal");
        answers = night.optInt("answers");
        minutes = night.optDouble("minutes", 0);
        slices = night.optInt("slices");
        peakMb = Json.number(night, "peak_mb");
        freeMb = Json.number(report, "free_mb");
    }

    static ModelCheck of(JSONObject report) {
        return new ModelCheck(report);
    }

    /** Why it cannot learn here, in words; empty where it can. */
    public String refusal() {
        return refusal;
    }

    /** How many answers the night is reckoned for. */
    public int answers() {
        return answers;
    }

    /** How long it learns. */
    public double minutes() {
        return minutes;
    }

    /** In how many slices. */
    public int slices() {
        return slices;
    }

    /** The most memory it took in the steps that were tried; null where that cannot be told. */
    public Double peakMb() {
        return peakMb;
    }

    /** The memory that is free now; null where that cannot be told. */
    public Double freeMb() {
        return freeMb;
    }

    @Override
    public String toString() {
        return refusal.isEmpty() ? answers + " answers in " + minutes + " minutes" : refusal;
    }
}
