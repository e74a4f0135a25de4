package io.idletune.android;

import android.app.RemoteInput;
import android.content.BroadcastReceiver;
import android.content.Context;
import android.content.Intent;
import android.os.Bundle;
import android.util.Log;
import io.idletune.IdleTune;
import io.idletune.IdleTuneException;
import java.io.IOException;
import java.security.GeneralSecurityException;

/**
 * Takes the answers given in notifications, also when the app is dead: an answer is on the disk before its
 * notification goes away, then handed to the runtime if one is open. Otherwise {@link LearningJobService} delivers it,
 * or the app by {@link AnswerQueue#deliver}.
 *
 * <p>Threads: Android calls it on the main thread; the work is done on another.
 */
public final class PromptReceiver extends BroadcastReceiver {
    static final String ACTION = "io.idletune.android.ANSWER";
    static final String PROMPT_ID = "prompt_id";
    static final String SHOWN = "shown";
    static final String VERDICT = "verdict";
    static final String MORE = "MORE"; // no verdict: the next page
    static final String QUESTION = "question";
    static final String RESPONSE = "response";
    static final String SECOND = "second"; // response; null where there is one
    static final String PAGE = "page";
    static final String LABELS = "labels";
    static final String LABELS_OF_TWO = "labels_of_two";
    static final String REPLY = "reply";
    private static final String TAG = "IdleTune";

    @Override
    public void onReceive(Context context, Intent intent) {
        if (!ACTION.equals(intent.getAction())) {
            return;
        }
        Context application = context.getApplicationContext();
        PendingResult result = goAsync();
        new Thread(() -> {
            try {
                take(application, intent);
            } finally {
                if (result != null) { // null when nobody waits: a receiver called directly
                    result.finish();
                }
            }
        }, "idletune-answer").start();
    }

    private static void take(Context context, Intent intent) {
        long promptId = intent.getLongExtra(PROMPT_ID, -1);
        if (MORE.equals(intent.getStringExtra(VERDICT))) {
            PromptNotifier.turnPage(context, intent);
            return;
        }
        Verdict verdict = Verdict.valueOf(intent.getStringExtra(VERDICT));
        String text = verdict == Verdict.EDIT ? reply(intent) : null;
        if (verdict == Verdict.EDIT && text.isEmpty()) { // answers nothing
            PromptNotifier.showAgain(context, promptId);
            return;
        }
        AnswerQueue queue = new AnswerQueue(context);
        try {
            queue.add(promptId, intent.getStringExtra(SHOWN), verdict, text);
        } catch (IOException | GeneralSecurityException e) {
            Log.e(TAG, "the answer cannot be kept; its notification stays", e);
            PromptNotifier.showAgain(context, promptId);
            return;
        }
        PromptNotifier.cancel(context, promptId);
        deliver(context, queue);
    }

    private static void deliver(Context context, AnswerQueue queue) {
        IdleTune idleTune = context instanceof IdleTuneHost ? ((IdleTuneHost) context).idleTuneIfOpen() : null;
        if (idleTune == null) {
            return;
        }
        try {
            queue.deliver(idleTune);
        } catch (IdleTuneException | RuntimeException e) {
            Log.w(TAG, "the answer waits on the disk", e);
        }
    }

    private static String reply(Intent intent) {
        Bundle replies = RemoteInput.getResultsFromIntent(intent);
        CharSequence typed = replies == null ? null : replies.getCharSequence(REPLY);
        return typed == null ? "" : typed.toString().trim();
    }
}
