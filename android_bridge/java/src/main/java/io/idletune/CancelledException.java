package io.idletune;

/** The call was cancelled; it has changed nothing. */
public final class CancelledException extends IdleTuneException {
    private static final long serialVersionUID = 1;

    /** For a message. */
    public CancelledException(String message) {
        super(message);
    }
}
