package io.idletune.android;

import android.util.Log;
import io.idletune.IdleTune;
import io.idletune.IdleTuneException;
import io.idletune.TrainingOutcome;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * One slice of learning on a thread of its own. A second thread tells the runtime the device's state meanwhile (it
 * counts for 30 seconds only) and passes on the wish to stop, so that no caller of {@link #stop} waits.
 */
final class LearningSlice {
    private static final String TAG = "IdleTune";
    private static final long STATE_MILLISECONDS = 10_000;
    private static final long STOP_MILLISECONDS = 50;

    private final IdleTuneHost host;
    private final DeviceStateReader reader;
    private final AnswerQueue answers;
    private final Runnable finished;
    private final CountDownLatch asked = new CountDownLatch(1); // to stop
    private final CountDownLatch ended = new CountDownLatch(1);
    private volatile TrainingOutcome outcome;

    /** {@code finished} runs on the slice's thread at its end, unless it was asked to stop. */
    LearningSlice(IdleTuneHost host, DeviceStateReader reader, AnswerQueue answers, Runnable finished) {
        this.host = host;
        this.reader = reader;
        this.answers = answers;
        this.finished = finished;
    }

    void start() {
        new Thread(this::run, "idletune-slice").start();
    }

    /** Asks it to stop at its next step, also when it has not begun yet; returns at once. */
    void stop() {
        asked.countDown();
    }

    /** Waits for the end; false when that did not come in time. */
    boolean await(long seconds) throws InterruptedException {
        return ended.await(seconds, TimeUnit.SECONDS);
    }

    /** What came of it; null before the end, or when it could not learn at all. */
    TrainingOutcome outcome() {
        return outcome;
    }

    private void run() {
        try {
            IdleTune idleTune = host.idleTune();
            answers.deliver(idleTune);
            learn(idleTune);
        } catch (IdleTuneException | RuntimeException e) {
            Log.w(TAG, "no learning in this window; the next one tries again", e);
        } finally {
            ended.countDown();
            if (asked.getCount() > 0) {
                finished.run(); // a job that was stopped is finished already
            }
        }
    }

    private void learn(IdleTune idleTune) throws IdleTuneException {
        idleTune.deviceState(reader.read());
        if (asked.getCount() == 0) {
            return;
        }
        Thread watcher = new Thread(() -> watch(idleTune), "idletune-state");
        watcher.start();
        outcome = idleTune.tick(LearningJobService.SLICE_SECONDS);
        Log.i(TAG, "slice: " + outcome);
    }

    /** Until the slice ends: tell the device's state, or, once asked, to stop. */
    private void watch(IdleTune idleTune) {
        try {
            while (!asked.await(STATE_MILLISECONDS, TimeUnit.MILLISECONDS) && ended.getCount() > 0) {
                idleTune.deviceState(reader.read());
            }
            // Again and again, since a stop that comes just before the slice begins finds nothing to stop.
            while (ended.getCount() > 0) {
                idleTune.stop();
                ended.await(STOP_MILLISECONDS, TimeUnit.MILLISECONDS);
            }
        } catch (InterruptedException | IdleTuneException | RuntimeException e) {
            Log.w(TAG, "the slice is not told the device's state any more and stops within half a minute", e);
        }
    }
}
