package io.idletune;

/** A question to the user. */
public final class AnnotationPrompt {
    private final long id;
    private final String question;
    private final String response;

    public AnnotationPrompt(long id, String question, String response) {
        this.id = id;
        this.question = question;
        this.response = response;
    }

    public long id() {
        return id;
    }

    public String question() {
        return question;
    }

    public String response() {
        return response;
    }
}
