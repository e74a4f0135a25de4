package io.idletune;

/** Told how a slice of learning goes: see {@link IdleTune#setTrainingListener}. */
public interface TrainingListener {
    /**
     * How far the slice has come. Of reports that come faster than they are taken only the newest is told.
     *
     * <p>Threads: on the executor given with the listener; it may call every method of {@link IdleTune}.
     *
     * @param stage what is being done: {@code "paraphrasing"}, {@code "training"} ...
     * @param done steps done
     * @param total of how many
     */
    void onProgress(String stage, int done, int total);

    /**
     * The verdict on an adapter, or an adapter that no longer serves.
     *
     * <p>Threads: as {@link #onProgress}.
     *
     * @param version the adapter's number
     * @param promoted whether it answers from now on
     * @param reason why, in words
     */
    default void onVerdict(int version, boolean promoted, String reason) {}
}
