package io.idletune;

import java.io.IOException;

/**
 * A way to the dispatcher: messages of JSON-RPC as UTF-8.
 *
 * <p>Threads: every method from any thread at once.
 */
interface Connection {
    /** Sends a request and waits for its response. IOException when there is nobody at the other end any more. */
    byte[] call(long id, byte[] request) throws IOException;

    /** The next event; null when none came within {@code milliseconds}. IOException as for {@link #call}. */
    byte[] poll(int milliseconds) throws IOException;

    /** Ends what runs and what waits; a second time does nothing. */
    void close();
}
