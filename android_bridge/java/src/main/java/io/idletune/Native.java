package io.idletune;

/**
 * The C library (android_bridge/native/idletune.h), text as UTF-8 bytes.
 *
 * <p>Threads: every method from any thread, also with a handle that was destroyed: that is an IllegalStateException.
 */
final class Native {
    /** A system property with the library's path, for a JVM on a desktop. */
    static final String LIBRARY = "io.idletune.library";

    static {
        String path = System.getProperty(LIBRARY);
        if (path == null) {
            System.loadLibrary("idletune");
        } else {
            System.load(path);
        }
    }

    private Native() {}

    static native long create(byte[] library, byte[] home, byte[] path);

    static native byte[] call(long handle, byte[] request);

    static native byte[] poll(long handle, int milliseconds);

    static native void cancel(long handle);

    static native void destroy(long handle);
}
