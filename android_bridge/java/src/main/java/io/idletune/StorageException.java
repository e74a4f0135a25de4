package io.idletune;

/**
 * The state cannot be read or written now: the storage is full, say, or another process holds the state. What was
 * kept before stays; the message names the next step, then call again.
 */
public final class StorageException extends IdleTuneException {
    private static final long serialVersionUID = 1;

    /** For a message. */
    public StorageException(String message) {
        super(message);
    }
}
