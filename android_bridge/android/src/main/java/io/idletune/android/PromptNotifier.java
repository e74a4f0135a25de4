package io.idletune.android;

import android.app.Notification;
import android.app.NotificationChannel;
import android.app.NotificationManager;
import android.app.PendingIntent;
import android.app.RemoteInput;
import android.content.Context;
import android.content.Intent;
import android.graphics.drawable.Icon;
import android.net.Uri;
import android.os.Build;
import android.service.notification.StatusBarNotification;
import io.idletune.AnnotationPrompt;
import io.idletune.PromptListener;

/**
 * Asks the user by a notification with the buttons Good, Edit (typed right there) and Skip; swiping it away is Skip.
 *
 * <pre>{@code
 * PromptNotifier notifier = new PromptNotifier(context);
 * notifier.labels("Was this answer good?", "Good", "Edit", "Skip", "A better answer");   // or leave the English ones
 * idleTune.setPromptListener(notifier, executor);
 * }</pre>
 *
 * <p>From Android 13 on, the app asks the user for the permission POST_NOTIFICATIONS; without it nothing is shown and
 * the question waits.
 *
 * <p>Threads: every method may be called from any thread.
 */
public final class PromptNotifier implements PromptListener {
    /** The notification channel's id; the user sets its sound and importance. */
    public static final String CHANNEL = "io.idletune.prompts";
    private static final String TAG = "io.idletune.prompt";

    private final Context context;
    private volatile Labels labels = new Labels("Was this answer good?", "Good", "Edit", "Skip", "A better answer");

    /** Notifies in the app's name. */
    public PromptNotifier(Context context) {
        this.context = context.getApplicationContext();
    }

    /** Changes what is written on the notification; {@code hint} stands in the empty reply field. */
    public void labels(String title, String good, String edit, String skip, String hint) {
        labels = new Labels(title, good, edit, skip, hint);
    }

    /** Shows the question; one that is shown already is replaced. */
    @Override
    public void onPrompt(AnnotationPrompt prompt) {
        NotificationManager manager = context.getSystemService(NotificationManager.class);
        manager.createNotificationChannel(
                new NotificationChannel(CHANNEL, labels.title, NotificationManager.IMPORTANCE_LOW));
        manager.notify(tag(prompt.id()), 0, notification(prompt));
    }

    /** Takes a question's notification away. */
    static void cancel(Context context, long promptId) {
        context.getSystemService(NotificationManager.class).cancel(tag(promptId), 0);
    }

    /** Shows a question's notification as it is, so that a reply field that was sent takes another reply. */
    static void showAgain(Context context, long promptId) {
        NotificationManager manager = context.getSystemService(NotificationManager.class);
        for (StatusBarNotification each : manager.getActiveNotifications()) {
            if (tag(promptId).equals(each.getTag())) {
                manager.notify(each.getTag(), each.getId(), each.getNotification());
            }
        }
    }

    private Notification notification(AnnotationPrompt prompt) {
        Labels now = labels;
        return builder(now)
                .setContentText(prompt.response())
                .setStyle(new Notification.BigTextStyle().bigText(prompt.question() + "\n\n" + prompt.response()))
                .setVisibility(Notification.VISIBILITY_PRIVATE) // a locked screen shows the title alone
                .setPublicVersion(builder(now).build())
                .setOnlyAlertOnce(true)
                .setDeleteIntent(answer(prompt, Verdict.SKIP)) // else no other would be asked
                .addAction(action(prompt, Verdict.GOOD, now.good).build())
                .addAction(action(prompt, Verdict.EDIT, now.edit)
                        .addRemoteInput(new RemoteInput.Builder(PromptReceiver.REPLY).setLabel(now.hint).build())
                        .build())
                .addAction(action(prompt, Verdict.SKIP, now.skip).build())
                .build();
    }

    private Notification.Builder builder(Labels now) {
        return new Notification.Builder(context, CHANNEL)
                .setSmallIcon(android.R.drawable.ic_menu_help).setContentTitle(now.title);
    }

    private Notification.Action.Builder action(AnnotationPrompt prompt, Verdict verdict, String label) {
        return new Notification.Action.Builder((Icon) null, label, answer(prompt, verdict));
    }

    private PendingIntent answer(AnnotationPrompt prompt, Verdict verdict) {
        Intent intent = new Intent(context, PromptReceiver.class)
                .setAction(PromptReceiver.ACTION)
                .setData(Uri.fromParts("idletune", prompt.id() + "/" + verdict, null)) // tells the intents apart
                .putExtra(PromptReceiver.PROMPT_ID, prompt.id())
                .putExtra(PromptReceiver.VERDICT, verdict.name());
        return PendingIntent.getBroadcast(context, 0, intent, flags(verdict));
    }

    /** Only a typed reply may be written into the intent. */
    private static int flags(Verdict verdict) {
        if (verdict != Verdict.EDIT) {
            return PendingIntent.FLAG_UPDATE_CURRENT | PendingIntent.FLAG_IMMUTABLE;
        }
        return PendingIntent.FLAG_UPDATE_CURRENT | (Build.VERSION.SDK_INT >= 31 ? PendingIntent.FLAG_MUTABLE : 0);
    }

    private static String tag(long promptId) {
        return TAG + "." + promptId;
    }

    private static final class Labels {
        final String title;
        final String good;
        final String edit;
        final String skip;
        final String hint;

        Labels(String title, String good, String edit, String skip, String hint) {
            this.title = title;
            this.good = good;
            this.edit = edit;
            this.skip = skip;
            this.hint = hint;
        }
    }
}
