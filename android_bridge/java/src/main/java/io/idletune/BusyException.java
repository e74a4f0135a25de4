package io.idletune;

/** The model is in use and the call does not wait; try again later. */
public final class BusyException extends IdleTuneException {
    private static final long serialVersionUID = 1;

    /** For a message. */
    public BusyException(String message) {
        super(message);
    }
}
