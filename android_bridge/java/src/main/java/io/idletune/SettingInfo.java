package io.idletune;

import java.util.List;
import org.json.JSONObject;

/**
 * A setting with its help, for a page of settings ({@link IdleTune#describeSettings}).
 *
 * <p>Threads: immutable.
 */
public final class SettingInfo {
    private final String name;
    private final String type;
    private final Object value;
    private final Object usual;
    private final String help;
    private final List<String> choices;
    private final Double least;
    private final Double most;
    private final boolean atNextOpen;

    private SettingInfo(JSONObject told) {
        name = told.optString("name");
        type = told.optString("type");
        value = told.opt("value");
        usual = told.opt("default");
        help = told.optString("help");
        choices = Json.texts(told, "choices");
        least = Json.number(told, "least");
        most = Json.number(told, "most");
        atNextOpen = told.optBoolean("at_next_open");
    }

    static SettingInfo of(JSONObject told) {
        return new SettingInfo(told);
    }

    /** As {@link Settings.Builder#set} takes it. */
    public String name() {
        return name;
    }

    /** {@code "int"}, {@code "float"}, {@code "bool"} or {@code "str"}. */
    public String type() {
        return type;
    }

    /** What it is now: a Number, a Boolean or a String. */
    public Object value() {
        return value;
    }

    /** What it is where nothing was set. */
    public Object usual() {
        return usual;
    }

    /** What it does, in words. */
    public String help() {
        return help;
    }

    /** The values it may have; empty: any. */
    public List<String> choices() {
        return choices;
    }

    /** The least value; null where there is none. */
    public Double least() {
        return least;
    }

    /** The greatest value; null where there is none. */
    public Double most() {
        return most;
    }

    /** Whether a change waits for the next {@link IdleTune#open}. */
    public boolean atNextOpen() {
        return atNextOpen;
    }

    @Override
    public String toString() {
        return name + " = " + value;
    }
}
