package io.idletune;

/** The runtime failed. */
public class IdleTuneException extends Exception {
    private static final long serialVersionUID = 1;

    public IdleTuneException(String message) {
        super(message);
    }
}
