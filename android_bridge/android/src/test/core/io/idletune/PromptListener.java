package io.idletune;

/** Told of a question that is due. */
public interface PromptListener {
    void onPrompt(AnnotationPrompt prompt);
}
