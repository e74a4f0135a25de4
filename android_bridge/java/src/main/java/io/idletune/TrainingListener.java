package io.idletune;

/** Told how learning goes: see {@link IdleTune#setTrainingListener}. */
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

    /**
     * Learning that was begun by {@link IdleTune#learnNow} has ended.
     *
     * <p>Threads: as {@link #onProgress}.
     *
     * @param outcome {@code "promoted"}, {@code "held_back"}, {@code "rejected"}, {@code "stopped"} or {@code "failed"}
     * @param reason why, in words
     */
    default void onEnd(String outcome, String reason) {}
}
