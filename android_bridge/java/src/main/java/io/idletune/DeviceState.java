package io.idletune;

import java.util.Map;
import java.util.TreeMap;

/**
 * What is known of the device at one moment. What is left out is unknown, and unknown never lets it learn.
 *
 * <pre>{@code
 * DeviceState state = DeviceState.builder()
 *         .plugged(true).percentage(80).temperatureC(27)
 *         .freeMemoryMb(2_000).freeDiskMb(10_000)
 *         .build();
 * idleTune.deviceState(state);
 * TrainingOutcome outcome = idleTune.tick(480);
 * }</pre>
 *
 * <p>Threads: immutable; a builder belongs to one thread.
 */
public final class DeviceState {
    private final Map<String, Object> fields;

    private DeviceState(Map<String, Object> fields) {
        this.fields = fields;
    }

    /** A state of which nothing is known yet. */
    public static Builder builder() {
        return new Builder();
    }

    Map<String, Object> fields() {
        return fields;
    }

    /** Whether a charger is connected; null is unknown. */
    public Boolean plugged() {
        return (Boolean) fields.get("plugged");
    }

    /** The battery's charge, 0 to 100; null is unknown. */
    public Double percentage() {
        return (Double) fields.get("percentage");
    }

    /** The battery's temperature in degrees C; null is unknown. */
    public Double temperatureC() {
        return (Double) fields.get("temperature_c");
    }

    /** Android's thermal status, 0 (none) to 6 (shutdown); null is unknown. */
    public Integer thermalStatus() {
        return (Integer) fields.get("thermal_status");
    }

    /** Android's thermal headroom; 1 is severe throttling; null is unknown. */
    public Double thermalHeadroom() {
        return (Double) fields.get("thermal_headroom");
    }

    /** Whether nobody uses the device; null is unknown. */
    public Boolean idle() {
        return (Boolean) fields.get("idle");
    }

    /** Memory that is free, in MB; null is unknown. */
    public Double freeMemoryMb() {
        return (Double) fields.get("free_memory_mb");
    }

    /** Storage that is free, in MB; null is unknown. */
    public Double freeDiskMb() {
        return (Double) fields.get("free_disk_mb");
    }

    /** Whether the user is not to be asked anything now; null is unknown. */
    public Boolean doNotAsk() {
        return (Boolean) fields.get("do_not_ask");
    }

    @Override
    public String toString() {
        return fields.toString();
    }

    /** Takes what is known; each method returns the builder. */
    public static final class Builder {
        private final Map<String, Object> fields = new TreeMap<>();

        private Builder() {}

        /** Whether a charger is connected. */
        public Builder plugged(boolean value) {
            return with("plugged", value);
        }

        /** The battery's charge, 0 to 100. */
        public Builder percentage(double value) {
            return with("percentage", value);
        }

        /** The battery's temperature in degrees C. */
        public Builder temperatureC(double value) {
            return with("temperature_c", value);
        }

        /** Android's thermal status, 0 (none) to 6 (shutdown). */
        public Builder thermalStatus(int value) {
            return with("thermal_status", value);
        }

        /** Android's thermal headroom; 1 is severe throttling. */
        public Builder thermalHeadroom(double value) {
            return with("thermal_headroom", value);
        }

        /** Whether nobody uses the device. */
        public Builder idle(boolean value) {
            return with("idle", value);
        }

        /** Memory that is free, in MB. */
        public Builder freeMemoryMb(double value) {
            return with("free_memory_mb", value);
        }

        /** Storage that is free, in MB. */
        public Builder freeDiskMb(double value) {
            return with("free_disk_mb", value);
        }

        /** Whether the user is not to be asked anything now; it stands until the next report. */
        public Builder doNotAsk(boolean value) {
            return with("do_not_ask", value);
        }

        /** The state as it was given so far. */
        public DeviceState build() {
            return new DeviceState(new TreeMap<>(fields));
        }

        /** A number that is none is left out: JSON has no NaN, and it says as little as no number. */
        private Builder with(String name, Object value) {
            if (!(value instanceof Double) || !(((Double) value).isNaN() || ((Double) value).isInfinite())) {
                fields.put(name, value);
            }
            return this;
        }
    }
}
