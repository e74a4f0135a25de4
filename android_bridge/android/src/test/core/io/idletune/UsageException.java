package io.idletune;

/** Wrong use; the message names the next step. */
public class UsageException extends IdleTuneException {
    private static final long serialVersionUID = 1;

    public UsageException(String message) {
        super(message);
    }
}
