package io.idletune.android;

import android.app.ActivityManager;
import android.app.Application;
import android.content.Context;
import android.content.Intent;
import android.os.BatteryManager;
import android.os.PowerManager;
import org.robolectric.Shadows;
import org.robolectric.shadows.ShadowPowerManager;

/** The phone's sensors, as Android would show them. */
final class Phone {
    private final Application context;

    Phone(Application context) {
        this.context = context;
        ActivityManager.MemoryInfo memory = new ActivityManager.MemoryInfo();
        memory.availMem = 3_000_000_000L;
        Shadows.shadowOf((ActivityManager) context.getSystemService(Context.ACTIVITY_SERVICE)).setMemoryInfo(memory);
        thermal(PowerManager.THERMAL_STATUS_NONE);
    }

    /** On the charger or not; the charge in percent, the heat in degrees C. */
    @SuppressWarnings("deprecation") // only the system sends a sticky broadcast, and here this is it
    void battery(boolean plugged, int percentage, double degrees) {
        context.sendStickyBroadcast(new Intent(Intent.ACTION_BATTERY_CHANGED)
                .putExtra(BatteryManager.EXTRA_PLUGGED, plugged ? BatteryManager.BATTERY_PLUGGED_AC : 0)
                .putExtra(BatteryManager.EXTRA_LEVEL, percentage)
                .putExtra(BatteryManager.EXTRA_SCALE, 100)
                .putExtra(BatteryManager.EXTRA_TEMPERATURE, (int) Math.round(10 * degrees)));
    }

    void screen(boolean on) {
        power().turnScreenOn(on);
    }

    void thermal(int status) {
        power().setCurrentThermalStatus(status);
    }

    private ShadowPowerManager power() {
        return Shadows.shadowOf((PowerManager) context.getSystemService(Context.POWER_SERVICE));
    }
}
