package io.idletune;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicBoolean;

/** The dispatcher in this process, through the C library. */
final class NativeConnection implements Connection {
    private final long handle;
    private final AtomicBoolean closed = new AtomicBoolean();

    /** Starts Python if this process has none yet. */
    NativeConnection(Settings settings) throws UsageException {
        try {
            handle = Native.create(
                    utf8(settings.pythonLibrary), utf8(settings.pythonHome), utf8(settings.pythonPath));
        } catch (IllegalStateException e) {
            throw new UsageException("Python did not start: " + e.getMessage()
                    + "; see Settings.pythonLibrary and Settings.python");
        } catch (LinkageError e) { // another one at the second try
            throw new UsageException("libidletune was not found: " + e.getMessage()
                    + "; pack it with the app, or name its file by the system property " + Native.LIBRARY);
        }
    }

    @Override
    public byte[] call(long id, byte[] request) throws IOException {
        try {
            return Native.call(handle, request);
        } catch (IllegalStateException e) {
            throw new IOException(e.getMessage(), e);
        }
    }

    @Override
    public byte[] poll(int milliseconds) throws IOException {
        try {
            return Native.poll(handle, milliseconds);
        } catch (IllegalStateException e) {
            throw new IOException(e.getMessage(), e);
        }
    }

    @Override
    public void close() {
        if (closed.compareAndSet(false, true)) {
            Native.destroy(handle);
        }
    }

    private static byte[] utf8(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }
}
