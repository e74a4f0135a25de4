package io.idletune;

import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;

/**
 * How {@link IdleTune#open} is to work. Everything has a default.
 *
 * <pre>{@code
 * Settings settings = Settings.builder()
 *         .dailyQuestions(3).quietHours(22, 8)
 *         .memoryMb(350)
 *         .set("temperature", 0.2)             // any setting of the runtime, by its name
 *         .build();
 * IdleTune idleTune = IdleTune.open(bundle, home, settings);
 * }</pre>
 *
 * <p>Threads: immutable; a builder belongs to one thread.
 */
public final class Settings {
    final String pythonLibrary;
    final String pythonHome;
    final String pythonPath;
    final String backend;
    private final byte[] key;
    private final Map<String, Object> values;

    private Settings(Builder given) {
        pythonLibrary = given.pythonLibrary;
        pythonHome = given.pythonHome;
        pythonPath = given.pythonPath;
        backend = given.backend;
        key = given.key == null ? null : given.key.clone();
        values = new TreeMap<>(given.values);
    }

    /** The defaults, to be changed. */
    public static Builder builder() {
        return new Builder();
    }

    /** The defaults. */
    public static Settings defaults() {
        return builder().build();
    }

    /** The key, or null; the caller's own copy. */
    byte[] key() {
        return key == null ? null : key.clone();
    }

    Map<String, Object> values() {
        return values;
    }

    /** Names the settings, not the key. */
    @Override
    public String toString() {
        return values + (key == null ? "" : " with a key");
    }

    /** Takes what differs from the defaults; each method returns the builder. */
    public static final class Builder {
        private final Map<String, Object> values = new TreeMap<>();
        private String pythonLibrary;
        private String pythonHome;
        private String pythonPath;
        private String backend;
        private byte[] key;

        private Builder() {}

        /**
         * libpython's path or name ({@code "libpython3.11.so"}). Left out, the Python that is in the process already is
         * taken. It counts at the first {@link IdleTune#open} of the process: Python stays.
         */
        public Builder pythonLibrary(String library) {
            pythonLibrary = library;
            return this;
        }

        /** PYTHONHOME and PYTHONPATH (':' between folders) for the start of Python; null leaves one as it is. */
        public Builder python(String home, String path) {
            pythonHome = home;
            pythonPath = path;
            return this;
        }

        /** What answers: {@code "llama.cpp"} (the default) or {@code "onnx"}. */
        public Builder backend(String name) {
            backend = name;
            return this;
        }

        /** 32 bytes that encrypt everything that is kept; copied, so clear your own. */
        public Builder key(byte[] bytes) {
            if (bytes.length != 32) {
                throw new IllegalArgumentException("a key has 32 bytes, not " + bytes.length);
            }
            key = Arrays.copyOf(bytes, bytes.length);
            return this;
        }

        /** Questions to the user a day, at most. */
        public Builder dailyQuestions(int most) {
            return set("daily_limit", most);
        }

        /** Hours (0 to 23) between which the user is asked nothing; the same hour twice is never quiet. */
        public Builder quietHours(int from, int until) {
            return set("quiet_from", from).set("quiet_until", until);
        }

        /** Hours (0 to 23) between which it may learn; the same hour twice is any time. */
        public Builder learningHours(int from, int until) {
            return set("window_from", from).set("window_until", until);
        }

        /** Memory the trainer may take, in MB. */
        public Builder memoryMb(int most) {
            return set("memory_mb", most);
        }

        /** Any setting of the runtime by its name, as {@code idletune chat --set NAME=VALUE} takes it. */
        public Builder set(String name, long value) {
            values.put(name, value);
            return this;
        }

        /** See {@link #set(String, long)}. */
        public Builder set(String name, double value) {
            values.put(name, value);
            return this;
        }

        /** See {@link #set(String, long)}. */
        public Builder set(String name, boolean value) {
            values.put(name, value);
            return this;
        }

        /** See {@link #set(String, long)}. */
        public Builder set(String name, String value) {
            values.put(name, value);
            return this;
        }

        /** The settings as they were given so far; wrong ones are told by {@link IdleTune#open}. */
        public Settings build() {
            return new Settings(this);
        }
    }
}
