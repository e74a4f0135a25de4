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
import java.util.List;

/**
 * Asks the user by a notification with the buttons Good, Edit (typed right there) and Skip; or, where the question is
 * which of two responses is better, First, Second and Neither. Swiping it away is Skip. What is approved is what was
 * shown: a text that needs several pages has Good, or First and Second, on its last one alone, and the button More on
 * those before.
 *
 * <pre>{@code
 * PromptNotifier notifier = new PromptNotifier(context);
 * notifier.labels("Was this answer good?", "Good", "Edit", "Skip", "More", "A better answer"); // or leave them in English
 * notifier.labelsOfTwo("Which answer is better?", "First", "Second", "Neither");
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
    private volatile Labels labels = new Labels(
            "Was this answer good?", "Good", "Edit", "Skip", "More", "A better answer");
    private volatile LabelsOfTwo labelsOfTwo =
            new LabelsOfTwo("Which answer is better?", "First", "Second", "Neither");

    /** Notifies in the app's name. */
    public PromptNotifier(Context context) {
        this.context = context.getApplicationContext();
    }

    /** Changes what is written on the notification; {@code hint} stands in the empty reply field. */
    public void labels(String title, String good, String edit, String skip, String more, String hint) {
        labels = new Labels(title, good, edit, skip, more, hint);
    }

    /** The same where there are two responses; {@code first} and {@code second} also stand before the responses. */
    public void labelsOfTwo(String title, String first, String second, String neither) {
        labelsOfTwo = new LabelsOfTwo(title, first, second, neither);
    }

    /** Shows the question, its first page; one that is shown already is replaced. */
    @Override
    public void onPrompt(AnnotationPrompt prompt) {
        show(prompt, 0);
    }

    /** Shows the page that the button More asks for; all it needs is in the intent, for the app may be dead. */
    static void turnPage(Context context, Intent more) {
        PromptNotifier notifier = new PromptNotifier(context);
        notifier.labels = Labels.of(more.getStringArrayExtra(PromptReceiver.LABELS));
        notifier.labelsOfTwo = LabelsOfTwo.of(more.getStringArrayExtra(PromptReceiver.LABELS_OF_TWO));
        notifier.show(new AnnotationPrompt(
                more.getLongExtra(PromptReceiver.PROMPT_ID, -1), 0, more.getStringExtra(PromptReceiver.QUESTION),
                more.getStringExtra(PromptReceiver.RESPONSE), more.getStringExtra(PromptReceiver.SECOND),
                more.getStringExtra(PromptReceiver.SHOWN)),
                more.getIntExtra(PromptReceiver.PAGE, 0));
    }

    private void show(AnnotationPrompt prompt, int page) {
        NotificationManager manager = context.getSystemService(NotificationManager.class);
        manager.createNotificationChannel(
                new NotificationChannel(CHANNEL, labels.title, NotificationManager.IMPORTANCE_LOW));
        manager.notify(tag(prompt.id()), 0, notification(prompt, page));
    }

    /** Takes the question off the screen, e.g. because its dialogue set was forgotten. */
    @Override
    public void onDismissed(long promptId) {
        cancel(context, promptId);
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

    private Notification notification(AnnotationPrompt prompt, int page) {
        Labels now = labels;
        LabelsOfTwo two = prompt.second() == null ? null : labelsOfTwo;
        String title = two == null ? now.title : two.title;
        List<String> pages = PromptPages.of(prompt.question() + "\n\n" + responses(prompt, two));
        boolean last = page >= pages.size() - 1;
        String part = pages.size() == 1 ? "" : (page + 1) + " / " + pages.size();
        Notification.Builder shown = builder(title)
                .setContentText(pages.size() == 1 ? prompt.response() : part)
                .setSubText(part)
                .setStyle(new Notification.BigTextStyle().bigText(pages.get(page)))
                .setVisibility(Notification.VISIBILITY_PRIVATE) // a locked screen shows the title alone
                .setPublicVersion(builder(title).build())
                .setOnlyAlertOnce(true)
                .setDeleteIntent(answer(prompt, Verdict.SKIP)); // else no other would be asked
        if (!last) {
            shown.addAction(more(prompt, page + 1, now));
        }
        if (two == null) {
            addButtons(shown, prompt, last, now);
        } else {
            addButtonsOfTwo(shown, prompt, last, two);
        }
        return shown.build();
    }

    private static String responses(AnnotationPrompt prompt, LabelsOfTwo two) {
        return two == null ? prompt.response()
                : two.first + ": " + prompt.response() + "\n\n" + two.second + ": " + prompt.second();
    }

    private void addButtons(Notification.Builder shown, AnnotationPrompt prompt, boolean last, Labels now) {
        if (last) {
            shown.addAction(action(prompt, Verdict.GOOD, now.good).build());
        }
        shown.addAction(action(prompt, Verdict.EDIT, now.edit)
                .addRemoteInput(new RemoteInput.Builder(PromptReceiver.REPLY).setLabel(now.hint).build())
                .build());
        shown.addAction(action(prompt, Verdict.SKIP, now.skip).build());
    }

    private void addButtonsOfTwo(Notification.Builder shown, AnnotationPrompt prompt, boolean last, LabelsOfTwo two) {
        if (last) {
            shown.addAction(action(prompt, Verdict.FIRST, two.first).build());
            shown.addAction(action(prompt, Verdict.SECOND, two.second).build());
        }
        shown.addAction(action(prompt, Verdict.SKIP, two.neither).build());
    }

    private Notification.Builder builder(String title) {
        return new Notification.Builder(context, CHANNEL)
                .setSmallIcon(android.R.drawable.ic_menu_help).setContentTitle(title);
    }

    private Notification.Action more(AnnotationPrompt prompt, int page, Labels now) {
        Intent intent = intent(prompt, PromptReceiver.MORE)
                .putExtra(PromptReceiver.QUESTION, prompt.question())
                .putExtra(PromptReceiver.RESPONSE, prompt.response())
                .putExtra(PromptReceiver.SECOND, prompt.second())
                .putExtra(PromptReceiver.PAGE, page)
                .putExtra(PromptReceiver.LABELS, now.all())
                .putExtra(PromptReceiver.LABELS_OF_TWO, labelsOfTwo.all());
        PendingIntent pressed = PendingIntent.getBroadcast(context, 0, intent, flags(null));
        return new Notification.Action.Builder((Icon) null, now.more, pressed).build();
    }

    private Notification.Action.Builder action(AnnotationPrompt prompt, Verdict verdict, String label) {
        return new Notification.Action.Builder((Icon) null, label, answer(prompt, verdict));
    }

    private PendingIntent answer(AnnotationPrompt prompt, Verdict verdict) {
        return PendingIntent.getBroadcast(context, 0, intent(prompt, verdict.name()), flags(verdict));
    }

    private Intent intent(AnnotationPrompt prompt, String verdict) {
        return new Intent(context, PromptReceiver.class)
                .setAction(PromptReceiver.ACTION)
                .setData(Uri.fromParts("idletune", prompt.id() + "/" + verdict, null)) // tells the intents apart
                .putExtra(PromptReceiver.PROMPT_ID, prompt.id())
                .putExtra(PromptReceiver.SHOWN, prompt.shown())
                .putExtra(PromptReceiver.VERDICT, verdict);
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
        final String more;
        final String hint;

        Labels(String title, String good, String edit, String skip, String more, String hint) {
            this.title = title;
            this.good = good;
            this.edit = edit;
            this.skip = skip;
            this.more = more;
            this.hint = hint;
        }

        static Labels of(String[] all) {
            return new Labels(all[0], all[1], all[2], all[3], all[4], all[5]);
        }

        String[] all() {
            return new String[] {title, good, edit, skip, more, hint};
        }
    }

    private static final class LabelsOfTwo {
        final String title;
        final String first;
        final String second;
        final String neither;

        LabelsOfTwo(String title, String first, String second, String neither) {
            this.title = title;
            this.first = first;
            this.second = second;
            this.neither = neither;
        }

        static LabelsOfTwo of(String[] all) {
            return new LabelsOfTwo(all[0], all[1], all[2], all[3]);
        }

        String[] all() {
            return new String[] {title, first, second, neither};
        }
    }
}
