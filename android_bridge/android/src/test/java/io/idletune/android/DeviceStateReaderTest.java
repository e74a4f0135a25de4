package io.idletune.android;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertTrue;

import android.app.Application;
import android.os.PowerManager;
import io.idletune.DeviceState;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.annotation.Config;

@RunWith(RobolectricTestRunner.class)
@Config(sdk = 35, manifest = Config.NONE)
public class DeviceStateReaderTest {
    private final Application context = RuntimeEnvironment.getApplication();
    private final Phone phone = new Phone(context);
    private final DeviceStateReader reader = new DeviceStateReader(context);

    @Test
    public void aPhoneOnTheChargerAtNight() {
        phone.battery(true, 81, 26.5);
        phone.screen(false);
        DeviceState state = reader.read();
        assertEquals(Boolean.TRUE, state.plugged());
        assertEquals(81, state.percentage(), 0);
        assertEquals(26.5, state.temperatureC(), 0);
        assertEquals(0, state.thermalStatus().intValue());
        assertEquals(Boolean.TRUE, state.idle());
        assertEquals(3000, state.freeMemoryMb(), 0);
        assertTrue(state.freeDiskMb() > 0);
    }

    @Test
    public void aHotPhoneInAHand() {
        phone.battery(false, 15, 41);
        phone.screen(true);
        phone.thermal(PowerManager.THERMAL_STATUS_SEVERE);
        DeviceState state = reader.read();
        assertEquals(Boolean.FALSE, state.plugged());
        assertEquals(15, state.percentage(), 0);
        assertEquals(41, state.temperatureC(), 0);
        assertEquals(3, state.thermalStatus().intValue());
        assertEquals(Boolean.FALSE, state.idle());
    }

    @Test
    public void whatAndroidDoesNotTellIsUnknown() {
        DeviceState state = reader.read(); // no battery broadcast yet
        assertNull(state.plugged());
        assertNull(state.percentage());
        assertNull(state.temperatureC());
    }
}
