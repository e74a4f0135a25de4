package io.idletune;

/** Told how far a slice has come. */
public interface TrainingListener {
    void onProgress(String stage, int done, int total);
}
