package io.idletune;

/**
 * The runtime failed. The message is for people; the kinds of failure a program can act on are the subclasses:
 * {@link UsageException}, {@link StorageException}, {@link DamagedDataException}, {@link BusyException},
 * {@link CancelledException}.
 */
public class IdleTuneException extends Exception {
    private static final long serialVersionUID = 1;

    /** For a message. */
    public IdleTuneException(String message) {
        super(message);
    }

    /** For a message and what led to it. */
    public IdleTuneException(String message, Throwable cause) {
        super(message, cause);
    }

    /** The exception of an error of the dispatcher; {@code kind} as in docs/rpc.md. */
    static IdleTuneException of(String kind, String message) {
        switch (kind) {
            case "wrong_use":
            case "invalid_params":
            case "too_large":
                return new UsageException(message);
            case "not_open":
                return new NotOpenException(message);
            case "storage":
                return new StorageException(message);
            case "damaged_data":
                return new DamagedDataException(message);
            case "busy":
                return new BusyException(message);
            case "cancelled":
                return new CancelledException(message);
            default:
                return new IdleTuneException(message);
        }
    }
}
