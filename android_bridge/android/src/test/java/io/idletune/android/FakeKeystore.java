package io.idletune.android;

import java.io.InputStream;
import java.io.OutputStream;
import java.security.Key;
import java.security.KeyStoreSpi;
import java.security.Provider;
import java.security.ProviderException;
import java.security.SecureRandom;
import java.security.Security;
import java.security.UnrecoverableKeyException;
import java.security.cert.Certificate;
import java.security.spec.AlgorithmParameterSpec;
import java.util.Collections;
import java.util.Date;
import java.util.Enumeration;
import java.util.HashMap;
import java.util.Map;
import javax.crypto.KeyGenerator;
import javax.crypto.KeyGeneratorSpi;
import javax.crypto.SecretKey;
import android.security.keystore.KeyGenParameterSpec;

/** An Android Keystore for the desktop JVM, which has none: the keys are real AES keys, kept in memory. */
public final class FakeKeystore extends Provider {
    private static final long serialVersionUID = 1;
    static final Map<String, Key> KEYS = new HashMap<>();
    static volatile boolean failing; // as a real one does when its service restarts, say

    private FakeKeystore() {
        super("AndroidKeyStore", 1.0, "for tests");
        put("KeyStore.AndroidKeyStore", Store.class.getName());
        put("KeyGenerator.AES", Generator.class.getName());
    }

    static void install() {
        KEYS.clear();
        failing = false;
        Security.removeProvider("AndroidKeyStore");
        Security.addProvider(new FakeKeystore());
    }

    /** Makes keys by KeyGenParameterSpec. */
    public static final class Generator extends KeyGeneratorSpi {
        private KeyGenParameterSpec spec;

        @Override protected void engineInit(SecureRandom random) {
            throw new UnsupportedOperationException();
        }

        @Override protected void engineInit(int bits, SecureRandom random) {
            throw new UnsupportedOperationException();
        }

        @Override protected void engineInit(AlgorithmParameterSpec given, SecureRandom random) {
            spec = (KeyGenParameterSpec) given;
        }

        @Override protected SecretKey engineGenerateKey() {
            if (failing) {
                throw new ProviderException("Keystore key generation failed");
            }
            try {
                KeyGenerator real = KeyGenerator.getInstance("AES", "SunJCE");
                real.init(spec.getKeySize());
                SecretKey key = real.generateKey();
                KEYS.put(spec.getKeystoreAlias(), key);
                return key;
            } catch (java.security.GeneralSecurityException e) {
                throw new AssertionError(e);
            }
        }
    }

    /** Finds and deletes them. */
    public static final class Store extends KeyStoreSpi {
        @Override public Key engineGetKey(String alias, char[] password) throws UnrecoverableKeyException {
            if (failing && KEYS.containsKey(alias)) {
                throw new UnrecoverableKeyException("Failed to obtain information about key");
            }
            return KEYS.get(alias);
        }

        @Override public void engineDeleteEntry(String alias) {
            KEYS.remove(alias);
        }

        @Override public boolean engineContainsAlias(String alias) {
            return KEYS.containsKey(alias);
        }

        @Override public boolean engineIsKeyEntry(String alias) {
            return KEYS.containsKey(alias);
        }

        @Override public int engineSize() {
            return KEYS.size();
        }

        @Override public Enumeration<String> engineAliases() {
            return Collections.enumeration(KEYS.keySet());
        }

        @Override public void engineLoad(InputStream stream, char[] password) {}

        @Override public void engineStore(OutputStream stream, char[] password) {}

        @Override public Certificate[] engineGetCertificateChain(String alias) {
            return null;
        }

        @Override public Certificate engineGetCertificate(String alias) {
            return null;
        }

        @Override public String engineGetCertificateAlias(Certificate certificate) {
            return null;
        }

        @Override public Date engineGetCreationDate(String alias) {
            return new Date(0);
        }

        @Override public boolean engineIsCertificateEntry(String alias) {
            return false;
        }

        @Override public void engineSetKeyEntry(String alias, Key key, char[] password, Certificate[] chain) {
            throw new UnsupportedOperationException();
        }

        @Override public void engineSetKeyEntry(String alias, byte[] key, Certificate[] chain) {
            throw new UnsupportedOperationException();
        }

        @Override public void engineSetCertificateEntry(String alias, Certificate certificate) {
            throw new UnsupportedOperationException();
        }
    }
}
