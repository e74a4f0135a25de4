package io.idletune.android;

import android.content.Context;
import android.security.keystore.KeyGenParameterSpec;
import android.security.keystore.KeyProperties;
import java.io.File;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.KeyStoreException;
import java.security.ProviderException;
import java.security.SecureRandom;
import java.security.UnrecoverableKeyException;
import java.util.Arrays;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.KeyGenerator;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;

/**
 * The key of the encrypted state: 32 random bytes in a file, wrapped by an AES key that never leaves the Android
 * Keystore. The file is kept out of backups, as the Keystore's key is not in them either.
 *
 * <pre>{@code
 * KeystoreKey keystore = new KeystoreKey(context);
 * byte[] key = keystore.get();         // the same 32 bytes each time
 * try {
 *     openTheRuntimeWith(key);
 * } finally {
 *     Arrays.fill(key, (byte) 0);
 * }
 * }</pre>
 *
 * <p>Threads: every method may be called from any thread; the Keystore can take tens of milliseconds, so not the main one.
 */
public final class KeystoreKey {
    /** Bytes of the state's key (AES-256). */
    public static final int BYTES = 32;

    private static final String PROVIDER = "AndroidKeyStore";
    private static final String ALIAS = "io.idletune.wrapping";
    private static final String TRANSFORMATION = "AES/GCM/NoPadding";
    private static final int IV_BYTES = 12;
    private static final int TAG_BITS = 128;
    private static final Object LOCK = new Object();

    private final File file;

    /** Keeps the wrapped key in the app's own folder that backups leave out. */
    public KeystoreKey(Context context) {
        file = new File(context.getNoBackupFilesDir(), "idletune.key");
    }

    /**
     * The key, made at the first call.
     *
     * @return 32 bytes, the caller's own copy
     * @throws UnrecoverableKeyException when the wrapping key is gone (the app's data was copied from another phone,
     *     or the Keystore was reset). The state cannot be read any more: erase its home, then {@link #forget()}.
     * @throws GeneralSecurityException when the Keystore fails, which may pass: nothing is lost, try again later
     * @throws IOException when the file cannot be read or written
     */
    public byte[] get() throws GeneralSecurityException, IOException {
        synchronized (LOCK) {
            if (file.exists()) {
                return decrypt(Files.read(file));
            }
            byte[] key = new byte[BYTES];
            new SecureRandom().nextBytes(key);
            Files.replace(file, encrypt(key));
            return key;
        }
    }

    /**
     * Deletes the key: what was encrypted with it is lost for good.
     *
     * @throws GeneralSecurityException when the Keystore fails
     * @throws IOException when the file cannot be deleted
     */
    public void forget() throws GeneralSecurityException, IOException {
        synchronized (LOCK) {
            keystore().deleteEntry(ALIAS);
            if (file.exists() && !file.delete()) {
                throw new IOException("cannot delete " + file);
            }
        }
    }

    /** Bytes encrypted by the Keystore's key (AES-GCM): the initialization vector, then the text and its tag. */
    byte[] encrypt(byte[] plain) throws GeneralSecurityException, IOException {
        Cipher cipher = Cipher.getInstance(TRANSFORMATION);
        cipher.init(Cipher.ENCRYPT_MODE, wrappingKey(true)); // the Keystore chooses the vector
        byte[] iv = cipher.getIV();
        byte[] text = cipher.doFinal(plain);
        byte[] encrypted = Arrays.copyOf(iv, IV_BYTES + text.length);
        System.arraycopy(text, 0, encrypted, IV_BYTES, text.length);
        return encrypted;
    }

    /** What {@link #encrypt} was given. UnrecoverableKeyException when this phone's key cannot open it. */
    byte[] decrypt(byte[] encrypted) throws GeneralSecurityException, IOException {
        if (encrypted.length < IV_BYTES + TAG_BITS / 8) {
            throw lost("it is cut off");
        }
        Cipher cipher = Cipher.getInstance(TRANSFORMATION);
        cipher.init(Cipher.DECRYPT_MODE, wrappingKey(false), new GCMParameterSpec(TAG_BITS, encrypted, 0, IV_BYTES));
        try {
            return cipher.doFinal(encrypted, IV_BYTES, encrypted.length - IV_BYTES);
        } catch (AEADBadTagException e) {
            throw lost("this phone's Keystore did not write it, or it was changed");
        }
    }

    private SecretKey wrappingKey(boolean make) throws GeneralSecurityException, IOException {
        synchronized (LOCK) {
            SecretKey key = foundKey();
            if (key != null) {
                return key;
            }
            if (!make) {
                throw lost("the Keystore has no key " + ALIAS);
            }
            return newKey();
        }
    }

    /** Null when there is none: any exception of the Keystore's is a fault that may pass. */
    private static SecretKey foundKey() throws GeneralSecurityException, IOException {
        try {
            return (SecretKey) keystore().getKey(ALIAS, null);
        } catch (UnrecoverableKeyException | ProviderException e) {
            throw failing(e);
        }
    }

    private static SecretKey newKey() throws GeneralSecurityException {
        try {
            KeyGenerator generator = KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, PROVIDER);
            int purposes = KeyProperties.PURPOSE_ENCRYPT | KeyProperties.PURPOSE_DECRYPT;
            // No user authentication: learning happens at night, with nobody there.
            generator.init(new KeyGenParameterSpec.Builder(ALIAS, purposes)
                    .setKeySize(8 * BYTES)
                    .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
                    .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
                    .build());
            return generator.generateKey();
        } catch (ProviderException e) {
            throw failing(e);
        }
    }

    private static KeyStore keystore() throws GeneralSecurityException, IOException {
        KeyStore store = KeyStore.getInstance(PROVIDER);
        store.load(null);
        return store;
    }

    private static KeyStoreException failing(Exception e) {
        return new KeyStoreException("the Android Keystore fails now (" + e.getMessage() + "); try again later", e);
    }

    private static UnrecoverableKeyException lost(String why) {
        return new UnrecoverableKeyException("the encrypted bytes cannot be opened: " + why
                + "; what they protect is lost: erase the state's home and call KeystoreKey.forget()");
    }
}
