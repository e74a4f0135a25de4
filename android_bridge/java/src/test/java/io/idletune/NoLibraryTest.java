package io.idletune;

import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.File;
import org.junit.Test;

/** In a JVM whose libidletune is not there. */
public class NoLibraryTest {
    @Test
    public void aMissingLibraryIsToldEachTime() {
        for (int i = 0; i < 2; i++) {
            UsageException missing = assertThrows(
                    UsageException.class, () -> IdleTune.open(new File("m"), new File("h"), Settings.defaults()));
            assertTrue(missing.getMessage(), missing.getMessage().startsWith("libidletune was not found"));
        }
    }
}
