package io.idletune.android;

import static org.junit.Assert.assertTrue;

import android.app.Application;
import android.app.Notification;
import android.app.NotificationManager;
import android.app.RemoteInput;
import android.content.Intent;
import android.content.IntentFilter;
import android.os.Bundle;
import android.os.Looper;
import android.service.notification.StatusBarNotification;
import io.idletune.AnnotationPrompt;
import java.util.concurrent.Callable;
import org.robolectric.Shadows;

/** What a user and Android do with a question's notification. */
final class Answering {
    private static final long PATIENCE_MILLISECONDS = 480_000;

    private Answering() {}

    static AnnotationPrompt prompt(long id, String question, String response) {
        return new AnnotationPrompt(id, id, question, response, "shown");
    }

    static AnnotationPrompt ofTwo(long id, String question, String response, String second) {
        return new AnnotationPrompt(id, id, question, response, second, "shown");
    }

    /** Declares the receiver as the manifest does; Robolectric reads no manifest here. */
    static void receivers(Application context) {
        IntentFilter filter = new IntentFilter(PromptReceiver.ACTION);
        filter.addDataScheme("idletune");
        context.registerReceiver(new PromptReceiver(), filter, android.content.Context.RECEIVER_NOT_EXPORTED);
    }

    static Notification shown(NotificationManager manager, long promptId) {
        for (StatusBarNotification each : manager.getActiveNotifications()) {
            if (each.getTag().endsWith("." + promptId)) {
                return each.getNotification();
            }
        }
        return null;
    }

    /** Types a direct reply, as the system does it. */
    static void reply(Application context, Notification shown, String text) throws Exception {
        Notification.Action edit = shown.actions[1];
        Bundle typed = new Bundle();
        typed.putCharSequence(edit.getRemoteInputs()[0].getResultKey(), text);
        Intent filled = new Intent();
        RemoteInput.addResultsToIntent(edit.getRemoteInputs(), filled, typed);
        edit.actionIntent.send(context, 0, filled);
    }

    static boolean nobodyAnswers() {
        return Thread.getAllStackTraces().keySet().stream().noneMatch(t -> t.getName().equals("idletune-answer"));
    }

    /** Lets the main thread work until it is so, and no answer is on its way. */
    static void settle(Callable<Boolean> done) throws Exception {
        long until = System.nanoTime() + PATIENCE_MILLISECONDS * 1_000_000;
        Shadows.shadowOf(Looper.getMainLooper()).idle();
        while (!(done.call() && nobodyAnswers())) {
            assertTrue("nothing happened within " + PATIENCE_MILLISECONDS + " ms", System.nanoTime() < until);
            Thread.sleep(10);
            Shadows.shadowOf(Looper.getMainLooper()).idle();
        }
    }
}
