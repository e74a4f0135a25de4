package io.idletune.android;

import android.app.job.JobInfo;
import android.app.job.JobParameters;
import android.app.job.JobScheduler;
import android.app.job.JobService;
import android.content.ComponentName;
import android.content.Context;
import android.util.Log;
import java.util.concurrent.TimeUnit;

/**
 * Learns while the phone charges and nobody uses it: a job that Android starts every quarter of an hour of such time,
 * each time for one slice of at most 8 minutes (a job is sure of 10). When Android stops the job, the slice keeps a
 * checkpoint and the next one goes on there.
 *
 * <pre>{@code
 * public class ExampleApplication extends Application implements IdleTuneHost {
 *     public void onCreate() {
 *         super.onCreate();
 *         LearningJobService.schedule(this);
 *     }
 * }
 * }</pre>
 *
 * <p>Threads: the two static methods may be called from any thread. Android calls the others on the main thread, where
 * nothing is waited for: opening, learning and stopping go on elsewhere.
 */
public final class LearningJobService extends JobService {
    /** The job's id, to be kept free by the app's other jobs. */
    public static final int JOB_ID = 0x49544c31;

    /** The longest a slice may take. */
    static final int SLICE_SECONDS = 480;

    private static final String TAG = "IdleTune";
    private static final long PERIOD_MILLISECONDS = TimeUnit.MINUTES.toMillis(15); // Android allows no shorter one

    private LearningSlice slice; // of the main thread alone

    /**
     * Asks Android for the job, also after restarts of the phone. A job that is there already stays as it is, so call
     * it at every start of the app.
     *
     * @throws IllegalStateException when Android refuses
     */
    public static void schedule(Context context) {
        JobScheduler scheduler = context.getSystemService(JobScheduler.class);
        JobInfo job = new JobInfo.Builder(JOB_ID, new ComponentName(context, LearningJobService.class))
                .setPeriodic(PERIOD_MILLISECONDS)
                .setRequiresCharging(true)
                .setRequiresDeviceIdle(true)
                .setRequiresBatteryNotLow(true)
                .setPersisted(true)
                .build();
        if (job.equals(scheduler.getPendingJob(JOB_ID))) {
            return; // scheduling it again would stop the slice that runs
        }
        if (scheduler.schedule(job) != JobScheduler.RESULT_SUCCESS) {
            throw new IllegalStateException("Android refused the learning job " + JOB_ID + "; see its log for the reason");
        }
    }

    /** Ends the job for good, a running slice included; {@link #schedule} brings it back. */
    public static void cancel(Context context) {
        context.getSystemService(JobScheduler.class).cancel(JOB_ID);
    }

    @Override
    public boolean onStartJob(JobParameters parameters) {
        if (!(getApplication() instanceof IdleTuneHost)) {
            Log.e(TAG, getApplication().getClass().getName() + " does not implement IdleTuneHost; nothing is learned");
            return false;
        }
        slice = new LearningSlice(
                (IdleTuneHost) getApplication(), new DeviceStateReader(this), new AnswerQueue(this),
                () -> jobFinished(parameters, false)); // the period brings the next one
        slice.start();
        return true;
    }

    /** Stops the slice at its next step and returns at once; true asks Android for another try. */
    @Override
    public boolean onStopJob(JobParameters parameters) {
        if (slice != null) {
            slice.stop();
        }
        return true;
    }

    /** The slice that was started last, or null; for tests that wait for its end. */
    LearningSlice slice() {
        return slice;
    }
}
