package io.idletune.android;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;

import android.content.Context;
import java.io.File;
import java.security.KeyStoreException;
import java.security.UnrecoverableKeyException;
import java.util.Arrays;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.annotation.Config;

@RunWith(RobolectricTestRunner.class)
@Config(sdk = 35, manifest = Config.NONE)
public class KeystoreKeyTest {
    private final Context context = RuntimeEnvironment.getApplication();
    private final File file = new File(context.getNoBackupFilesDir(), "idletune.key");
    private KeystoreKey keystore;

    @Before
    public void keystore() {
        FakeKeystore.install();
        keystore = new KeystoreKey(context);
    }

    @Test
    public void theKeyStaysTheSameAndIsNotInTheFile() throws Exception {
        byte[] key = keystore.get();
        assertEquals(KeystoreKey.BYTES, key.length);
        assertArrayEquals(key, new KeystoreKey(context).get());
        assertEquals(12 + KeystoreKey.BYTES + 16, file.length());
        assertFalse(Arrays.equals(key, Arrays.copyOfRange(Files.read(file), 12, 12 + KeystoreKey.BYTES)));
    }

    @Test
    public void anotherPhonesFileGivesNoNewKey() throws Exception {
        keystore.get();
        byte[] before = Files.read(file);
        FakeKeystore.KEYS.clear();
        assertThrows(UnrecoverableKeyException.class, keystore::get);
        keystore.encrypt(new byte[1]); // makes another wrapping key
        assertThrows(UnrecoverableKeyException.class, keystore::get);
        assertArrayEquals(before, Files.read(file));
    }

    @Test
    public void aFaultOfTheKeystoreIsNotTakenForALostKey() throws Exception {
        FakeKeystore.failing = true; // before there is a key, and after
        assertThrows(KeyStoreException.class, keystore::get);
        FakeKeystore.failing = false;
        byte[] key = keystore.get();
        FakeKeystore.failing = true;
        assertThrows(KeyStoreException.class, keystore::get);
        FakeKeystore.failing = false;
        assertArrayEquals(key, keystore.get());
    }

    @Test
    public void damageIsNoticed() throws Exception {
        keystore.get();
        byte[] damaged = Files.read(file);
        damaged[20] ^= 1;
        Files.replace(file, damaged);
        assertThrows(UnrecoverableKeyException.class, keystore::get);
        Files.replace(file, new byte[5]);
        assertThrows(UnrecoverableKeyException.class, keystore::get);
    }

    @Test
    public void afterForgettingThereIsAnotherKey() throws Exception {
        byte[] key = keystore.get();
        keystore.forget();
        assertFalse(file.exists());
        assertFalse(Arrays.equals(key, keystore.get()));
    }
}
