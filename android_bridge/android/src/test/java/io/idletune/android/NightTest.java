package io.idletune.android;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNotNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import android.app.Notification;
import android.app.NotificationManager;
import android.app.job.JobInfo;
import android.app.job.JobScheduler;
import android.content.Context;
import io.idletune.AnnotationPrompt;
import io.idletune.IdleTune;
import io.idletune.IdleTuneException;
import io.idletune.NotOpenException;
import io.idletune.Settings;
import io.idletune.StorageException;
import io.idletune.TrainingOutcome;
import java.io.File;
import org.junit.After;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.annotation.Config;

/** A day and a night of a phone: the real runtime on a tiny model, behind Android's real framework classes. */
@RunWith(RobolectricTestRunner.class)
@Config(sdk = 35, manifest = Config.NONE, application = TinyApplication.class)
public class NightTest {
    private static final int EXCHANGES = 8;
    private static final int SECONDS = 480; // at most, for what takes moments
    private static final String BETTER = "aaaa aaaa aaaa \uD83C\uDF19"; // a moon, beyond 16 bits

    private final TinyApplication application = (TinyApplication) RuntimeEnvironment.getApplication();
    private final NotificationManager manager =
            (NotificationManager) application.getSystemService(Context.NOTIFICATION_SERVICE);
    private final Phone phone = new Phone(application);
    private IdleTune idleTune;

    @Before
    public void morning() throws Exception {
        FakeKeystore.install();
        Answering.receivers(application);
        idleTune = application.idleTune();
        phone.battery(false, 80, 30);
        phone.screen(true);
    }

    @After
    public void end() {
        application.close();
    }

    @Test
    public void aJobIsAskedForThatFitsTheNight() {
        LearningJobService.schedule(application);
        JobInfo job = job();
        assertTrue(job.isRequireCharging() && job.isRequireDeviceIdle() && job.isRequireBatteryNotLow());
        assertTrue(job.isPersisted() && job.isPeriodic());
        assertEquals(JobInfo.NETWORK_TYPE_NONE, job.getNetworkType());
        LearningJobService.schedule(application);
        LearningJobService.cancel(application);
        assertEquals(null, job());
    }

    @Test
    public void aNight() throws Exception {
        day();
        phone.screen(false);
        phone.battery(true, 80, 25);
        idleTune.change(Settings.builder().set("epochs", 10_000).build()); // until the app is started anew

        JobSystem first = new JobSystem(); // learns until the charger is pulled
        first.start();
        assertEquals("[started]", first.told.toString());
        application.waitForTraining();
        phone.battery(false, 80, 25);
        first.stop();
        assertTrue(first.service.slice().await(SECONDS));
        assertEquals("[started, stopped, again please]", first.told.toString());
        assertEquals(TrainingOutcome.Kind.STOPPED, first.service.slice().outcome().kind());
        assertTrue("no checkpoint", new File(application.home(), "training.npz").isFile());

        phone.battery(true, 80, 25); // the charger is back, the app was killed in between
        application.close();
        JobSystem second = new JobSystem();
        second.start();
        assertTrue(second.service.slice().await(SECONDS));
        Answering.settle(second::finished);
        assertFalse("a job that was stopped is not finished again", first.finished());
        assertEquals(TrainingOutcome.Kind.PROMOTED, second.service.slice().outcome().kind());
        assertFalse("the checkpoint is used up", new File(application.home(), "training.npz").exists());
    }

    @Test
    public void whoeverStopsAJobWaitsForNothing() throws Exception {
        JobSystem job = new JobSystem();
        synchronized (application) { // the slice cannot even begin, so who waits for its end waits for ever
            job.start();
            job.stop();
        }
        assertTrue(job.service.slice().await(SECONDS));
        assertEquals("[started, stopped, again please]", job.told.toString());
    }

    @Test
    public void nothingIsLearnedInAHand() throws Exception {
        day();
        JobSystem job = new JobSystem(); // forced, since Android would not start it now
        job.start();
        assertTrue(job.service.slice().await(SECONDS));
        assertEquals(TrainingOutcome.Kind.NOT_NOW, job.service.slice().outcome().kind());
        assertTrue(job.service.slice().outcome().reason().contains("not plugged in"));
    }

    @Test
    public void anAnswerGivenWhileTheAppIsDeadIsDeliveredByTheNextJob() throws Exception {
        idleTune.observe("what is bread?", "a loaf");
        Notification asked = asked();
        application.close();
        Answering.reply(application, asked, BETTER);
        AnswerQueue queue = new AnswerQueue(application);
        Answering.settle(() -> queue.size() == 1);
        JobSystem job = new JobSystem();
        job.start();
        assertTrue(job.service.slice().await(SECONDS));
        assertEquals(0, queue.size());
        assertTrue("the answer is not in the state", application.exported().contains("aaaa aaaa aaaa"));
    }

    @Test
    public void anAnswerThatComesTwiceIsDroppedTheSecondTime() throws Exception {
        idleTune.observe("what is bread?", "a loaf");
        AnnotationPrompt prompt = application.nextPrompt();
        AnswerQueue queue = new AnswerQueue(application);
        queue.add(prompt.id(), prompt.shown(), Verdict.GOOD, null);
        queue.add(prompt.id(), prompt.shown(), Verdict.EDIT, "late");
        assertEquals(1, queue.deliver(application.idleTune()));
        assertEquals(0, queue.size());
        assertFalse(application.exported().contains("late"));
    }

    @Test
    public void anAnswerToWhatWasNotShownIsDropped() throws Exception {
        idleTune.observe("what is bread?", "a loaf");
        AnswerQueue queue = new AnswerQueue(application);
        queue.add(1, "another text", Verdict.GOOD, null); // never handed out
        assertEquals(0, queue.deliver(application.idleTune()));
        queue.add(application.nextPrompt().id(), "another text", Verdict.GOOD, null); // handed out with other texts
        assertEquals(0, queue.deliver(application.idleTune()));
        assertEquals(0, idleTune.status().answered());
    }

    @Test
    public void anAnswerThatFindsTheStateLockedOrClosedKeepsWaiting() throws Exception {
        idleTune.observe("what is bread?", "a loaf");
        AnswerQueue queue = new AnswerQueue(application);
        queue.add(application.nextPrompt().id(), application.nextPrompt().shown(), Verdict.EDIT, "typed with care");
        Process other = application.locked();
        assertThrows(StorageException.class, () -> queue.deliver(idleTune));
        other.destroyForcibly().waitFor();
        assertEquals(1, queue.size());
        application.close();
        assertThrows(NotOpenException.class, () -> queue.deliver(idleTune));
        assertEquals(1, queue.size());
        assertEquals(1, queue.deliver(application.idleTune()));
        assertTrue(application.exported().contains("typed with care"));
    }

    @Test
    public void anAnswerThatTheKeystoreCannotOpenNowKeepsWaiting() throws Exception {
        idleTune.observe("what is bread?", "a loaf");
        AnswerQueue queue = new AnswerQueue(application);
        queue.add(application.nextPrompt().id(), application.nextPrompt().shown(), Verdict.EDIT, "typed with care");
        FakeKeystore.failing = true;
        assertThrows(IdleTuneException.class, () -> queue.deliver(idleTune));
        FakeKeystore.failing = false;
        assertEquals(1, queue.deliver(idleTune));
    }

    /** Exchanges, each question answered by a direct reply in its notification. */
    private void day() throws Exception {
        for (int i = 0; i < EXCHANGES; i++) {
            idleTune.observe("question number " + i + " about bread", "a reply");
        }
        for (int i = 0; i < EXCHANGES; i++) {
            Answering.reply(application, asked(), BETTER);
            Answering.settle(() -> manager.getActiveNotifications().length == 0);
        }
    }

    private Notification asked() throws Exception {
        AnnotationPrompt prompt = application.nextPrompt();
        assertNotNull("no question is due", prompt);
        new PromptNotifier(application).onPrompt(prompt);
        return Answering.shown(manager, prompt.id());
    }

    private JobInfo job() {
        JobScheduler scheduler = (JobScheduler) application.getSystemService(Context.JOB_SCHEDULER_SERVICE);
        return scheduler.getPendingJob(LearningJobService.JOB_ID);
    }
}
