package io.idletune;

/** Told of a question to the user that has become due: see {@link IdleTune#setPromptListener}. */
public interface PromptListener {
    /**
     * Called once for each question, after the exchange that raised it.
     *
     * <p>Threads: on the executor given with the listener; it may call every method of {@link IdleTune}.
     */
    void onPrompt(AnnotationPrompt prompt);

    /**
     * Called when a question is open no more: it was answered, or its dialogue set forgotten. Whoever shows it takes it
     * off the screen; by itself this does nothing.
     *
     * <p>Threads: on the executor given with the listener.
     */
    default void onDismissed(long promptId) {}
}
