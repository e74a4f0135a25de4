package io.idletune;

/**
 * A question to the user: was this response good?
 *
 * <pre>{@code
 * idleTune.setPromptListener(prompt -> {
 *     show(prompt.question(), prompt.response());
 *     idleTune.edit(prompt.id(), prompt.shown(), "I would have said: at the baker's.");   // or accept, dismiss, neverAsk
 * }, executor);
 * }</pre>
 *
 * <p>Threads: immutable.
 */
public final class AnnotationPrompt {
    private final long id;
    private final long dialogueSetId;
    private final String question;
    private final String response;
    private final String shown;

    /** What the five parts mean is said at their methods. */
    public AnnotationPrompt(long id, long dialogueSetId, String question, String response, String shown) {
        this.id = id;
        this.dialogueSetId = dialogueSetId;
        this.question = question;
        this.response = response;
        this.shown = shown;
    }

    /** What an answer names it by. */
    public long id() {
        return id;
    }

    /** The dialogue set it is about, for {@link IdleTune#forget}. */
    public long dialogueSetId() {
        return dialogueSetId;
    }

    /** What the user had asked. */
    public String question() {
        return question;
    }

    /** What the model had answered. */
    public String response() {
        return response;
    }

    /** Names the very texts of this question; an answer says by it what the user saw. */
    public String shown() {
        return shown;
    }

    @Override
    public String toString() {
        return "question " + id + ": " + question;
    }
}
