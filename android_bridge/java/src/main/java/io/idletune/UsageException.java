package io.idletune;

/** Wrong use or input; the message names the next step. */
public class UsageException extends IdleTuneException {
    private static final long serialVersionUID = 1;

    /** For a message. */
    public UsageException(String message) {
        super(message);
    }
}
