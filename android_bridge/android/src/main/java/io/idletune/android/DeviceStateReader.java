package io.idletune.android;

import android.app.ActivityManager;
import android.content.Context;
import android.content.Intent;
import android.content.IntentFilter;
import android.os.BatteryManager;
import android.os.Build;
import android.os.PowerManager;
import io.idletune.DeviceState;
import java.io.File;

/**
 * Reads what decides whether the device may learn now: power, heat, rest and room. What Android does not tell stays
 * unknown, and unknown opens no window.
 *
 * <pre>{@code
 * DeviceStateReader reader = new DeviceStateReader(context);
 * idleTune.deviceState(reader.read());
 * }</pre>
 *
 * <p>Threads: every method may be called from any thread.
 */
public final class DeviceStateReader {
    private static final double MB = 1e6;
    private final Context context;

    /** Reads the device's state in the app's name; needs no permission. */
    public DeviceStateReader(Context context) {
        this.context = context.getApplicationContext();
    }

    /** The state at this moment. */
    public DeviceState read() {
        DeviceState.Builder state = DeviceState.builder();
        readBattery(state);
        readPower(state, context.getSystemService(PowerManager.class));
        ActivityManager.MemoryInfo memory = new ActivityManager.MemoryInfo();
        context.getSystemService(ActivityManager.class).getMemoryInfo(memory);
        File files = context.getNoBackupFilesDir();
        return state.freeMemoryMb(memory.availMem / MB).freeDiskMb(files.getUsableSpace() / MB).build();
    }

    /** The battery's sticky broadcast: plugged or not counts, not "charging" (a full or a limited battery is not). */
    private void readBattery(DeviceState.Builder state) {
        Intent battery = context.registerReceiver(null, new IntentFilter(Intent.ACTION_BATTERY_CHANGED));
        if (battery == null) {
            return;
        }
        int plugged = battery.getIntExtra(BatteryManager.EXTRA_PLUGGED, -1);
        int level = battery.getIntExtra(BatteryManager.EXTRA_LEVEL, -1);
        int scale = battery.getIntExtra(BatteryManager.EXTRA_SCALE, -1);
        int tenths = battery.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, Integer.MIN_VALUE);
        if (plugged >= 0) {
            state.plugged(plugged != 0);
        }
        if (level >= 0 && scale > 0) {
            state.percentage(100.0 * level / scale);
        }
        if (tenths != Integer.MIN_VALUE) {
            state.temperatureC(tenths / 10.0);
        }
    }

    private static void readPower(DeviceState.Builder state, PowerManager power) {
        state.idle(!power.isInteractive());
        if (Build.VERSION.SDK_INT >= 29) {
            state.thermalStatus(power.getCurrentThermalStatus());
        }
        if (Build.VERSION.SDK_INT >= 30) {
            float headroom = power.getThermalHeadroom(0);
            if (!Float.isNaN(headroom)) { // not supported, or asked again within a second
                state.thermalHeadroom(headroom);
            }
        }
    }
}
