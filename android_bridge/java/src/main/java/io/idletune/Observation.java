package io.idletune;

/**
 * What became of an exchange that was shown to the buffer ({@link IdleTune#observe}).
 *
 * <p>Threads: immutable.
 */
public final class Observation {
    /** In a word. */
    public enum Action {
        /** It took a free bin of the buffer. */
        KEPT,
        /** It took the bin of a dialogue set that was worth less. */
        REPLACED,
        /** It was worth less than all that is kept. */
        DROPPED
    }

    private final Action action;
    private final long dialogueSetId;
    private final String domain;

    Observation(Action action, long dialogueSetId, String domain) {
        this.action = action;
        this.dialogueSetId = dialogueSetId;
        this.domain = domain;
    }

    /** In a word. */
    public Action action() {
        return action;
    }

    /** The dialogue set it is kept as; 0 when it was dropped. */
    public long dialogueSetId() {
        return dialogueSetId;
    }

    /** The domain most of its words are of. */
    public String domain() {
        return domain;
    }

    @Override
    public String toString() {
        return action + " (" + domain + ")";
    }
}
