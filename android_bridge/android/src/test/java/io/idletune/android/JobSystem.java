package io.idletune.android;

import android.app.job.IJobCallback;
import android.app.job.IJobService;
import android.app.job.JobParameters;
import android.app.job.JobWorkItem;
import android.app.Notification;
import android.content.Intent;
import android.os.Looper;
import android.os.PersistableBundle;
import android.os.Bundle;
import android.os.RemoteException;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.robolectric.Robolectric;
import org.robolectric.Shadows;

/** Android's side of a job: binds the service and speaks to it as the system's job scheduler does. */
final class JobSystem extends IJobCallback.Stub {
    /** What the service told: "started", "stopped again" ... */
    final List<String> told = new CopyOnWriteArrayList<>();
    final LearningJobService service = Robolectric.buildService(LearningJobService.class).create().get();
    private final IJobService bound = IJobService.Stub.asInterface(service.onBind(new Intent()));

    /** Starts the job; the service answers on the main thread. */
    void start() throws RemoteException {
        bound.startJob(parameters());
        Shadows.shadowOf(Looper.getMainLooper()).idle();
    }

    /** Stops it, as when the charger is pulled; the service answers on the main thread. */
    void stop() throws RemoteException {
        bound.stopJob(parameters());
        Shadows.shadowOf(Looper.getMainLooper()).idle();
    }

    /** Whether the service told that the job is over; Robolectric takes this call itself. */
    boolean finished() {
        return Shadows.shadowOf(service).getIsJobFinished();
    }

    private JobParameters parameters() {
        return new JobParameters(this, "", LearningJobService.JOB_ID, PersistableBundle.EMPTY, Bundle.EMPTY, null, 0,
                false, false, false, null, null, null);
    }

    @Override public void acknowledgeStartMessage(int id, boolean goesOn) {
        told.add(goesOn ? "started" : "nothing to do");
    }

    @Override public void acknowledgeStopMessage(int id, boolean again) {
        told.add(again ? "stopped, again please" : "stopped for good");
    }

    @Override public void jobFinished(int id, boolean again) {}

    @Override public JobWorkItem dequeueWork(int id) {
        return null;
    }

    @Override public boolean completeWork(int id, int work) {
        return false;
    }

    @Override public void acknowledgeGetTransferredDownloadBytesMessage(int id, int work, long bytes) {}

    @Override public void acknowledgeGetTransferredUploadBytesMessage(int id, int work, long bytes) {}

    @Override public void updateEstimatedNetworkBytes(int id, JobWorkItem work, long down, long up) {}

    @Override public void updateTransferredNetworkBytes(int id, JobWorkItem work, long down, long up) {}

    @Override public void setNotification(int id, int number, Notification shown, int policy) {}
}
