package io.idletune;

/** A file or the state cannot be trusted; the message names the next step. */
public final class DamagedDataException extends IdleTuneException {
    private static final long serialVersionUID = 1;

    /** For a message. */
    public DamagedDataException(String message) {
        super(message);
    }
}
