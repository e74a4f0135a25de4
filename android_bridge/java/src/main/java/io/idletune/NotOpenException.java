package io.idletune;

/** No runtime is open, or it was closed meanwhile; open one and call again. */
public final class NotOpenException extends UsageException {
    private static final long serialVersionUID = 1;

    /** For a message. */
    public NotOpenException(String message) {
        super(message);
    }
}
