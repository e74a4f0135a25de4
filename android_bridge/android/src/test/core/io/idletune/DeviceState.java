package io.idletune;

import java.util.Map;
import java.util.TreeMap;

/** What is known of the device; null is unknown. */
public final class DeviceState {
    private final Map<String, Object> fields;

    private DeviceState(Map<String, Object> fields) {
        this.fields = fields;
    }

    public static Builder builder() {
        return new Builder();
    }

    Map<String, Object> fields() {
        return fields;
    }

    public Boolean plugged() {
        return (Boolean) fields.get("plugged");
    }

    public Double percentage() {
        return (Double) fields.get("percentage");
    }

    public Double temperatureC() {
        return (Double) fields.get("temperature_c");
    }

    public Integer thermalStatus() {
        return (Integer) fields.get("thermal_status");
    }

    public Double thermalHeadroom() {
        return (Double) fields.get("thermal_headroom");
    }

    public Boolean idle() {
        return (Boolean) fields.get("idle");
    }

    public Double freeMemoryMb() {
        return (Double) fields.get("free_memory_mb");
    }

    public Double freeDiskMb() {
        return (Double) fields.get("free_disk_mb");
    }

    /** What is left out is unknown. */
    public static final class Builder {
        private final Map<String, Object> fields = new TreeMap<>();

        public Builder plugged(boolean value) {
            fields.put("plugged", value);
            return this;
        }

        public Builder percentage(double value) {
            fields.put("percentage", value);
            return this;
        }

        public Builder temperatureC(double value) {
            fields.put("temperature_c", value);
            return this;
        }

        public Builder thermalStatus(int value) {
            fields.put("thermal_status", value);
            return this;
        }

        public Builder thermalHeadroom(double value) {
            fields.put("thermal_headroom", value);
            return this;
        }

        public Builder idle(boolean value) {
            fields.put("idle", value);
            return this;
        }

        public Builder freeMemoryMb(double value) {
            fields.put("free_memory_mb", value);
            return this;
        }

        public Builder freeDiskMb(double value) {
            fields.put("free_disk_mb", value);
            return this;
        }

        public DeviceState build() {
            return new DeviceState(new TreeMap<>(fields));
        }
    }
}
