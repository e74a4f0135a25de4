package io.idletune;

/**
 * A question to the user: was this response good? Or, where there is a {@link #second} one: which of both is better?
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
    private final String second;
    private final String shown;

    /** A question about one response. What the parts mean is said at their methods. */
    public AnnotationPrompt(long id, long dialogueSetId, String question, String response, String shown) {
        this(id, dialogueSetId, question, response, null, shown);
    }

    /** A question about one response, or about two. */
    public AnnotationPrompt(
            long id, long dialogueSetId, String question, String response, String second, String shown) {
        this.id = id;
        this.dialogueSetId = dialogueSetId;
        this.question = question;
        this.response = response;
        this.second = second;
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

    /**
     * Another response to the same question, null where there is none. An app that shows both answers by {@link
     * IdleTune#chooseFirst(long, String)} or {@link IdleTune#chooseSecond(long, String)}; one that shows the first alone asks whether it was good.
     */
    public String second() {
        return second;
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
