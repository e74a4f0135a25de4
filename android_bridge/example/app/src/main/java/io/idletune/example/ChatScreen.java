package io.idletune.example;

import android.app.Activity;
import android.widget.Button;
import android.widget.EditText;
import android.widget.LinearLayout;
import android.widget.TextView;
import io.idletune.AnnotationPrompt;
import io.idletune.Completion;

/** A conversation: what is typed, the answers as they are written, and under each what the user may say of it. */
final class ChatScreen extends Screen {
    private final LinearLayout due;
    private final EditText message;
    private final Button send;
    private boolean answering;

    ChatScreen(Activity activity, Calls calls) {
        super(activity, calls);
        due = column();
        message = new EditText(activity);
        message.setHint("Message");
        bottom.addView(due);
        bottom.addView(message);
        LinearLayout row = new LinearLayout(activity);
        bottom.addView(row);
        send = button(row, "Send", this::sendOrStop);
        button(row, "New conversation", this::beginAnew);
        text(body, "Ask it something. Say that an answer was good, or write a better one. After five better ones it can"
                + " learn: under Learning, or at night on the charger. Then ask again, and compare.");
    }

    /** The question that is due, if there is one: asking for it counts as showing it. */
    @Override
    void refresh() {
        calls.run(idleTune -> idleTune.prompts(), prompts -> {
            due.removeAllViews();
            if (!prompts.isEmpty()) {
                ask(prompts.get(0));
            }
        });
    }

    private void ask(AnnotationPrompt prompt) {
        heading(due, "Was this a good answer?");
        text(due, prompt.question());
        text(due, prompt.response());
        due.addView(new QuestionButtons(this, prompt));
    }

    private void sendOrStop() {
        if (answering) {
            calls.run(idleTune -> {
                idleTune.cancel();
                return true;
            }, done -> { });
            return;
        }
        String typed = message.getText().toString().trim();
        if (!typed.isEmpty()) {
            message.setText("");
            say(typed);
        }
    }

    private void say(String question) {
        setAnswering(true);
        heading(body, question);
        TextView answer = text(body, "");
        answer.setAccessibilityLiveRegion(ACCESSIBILITY_LIVE_REGION_POLITE);
        scrollToEnd();
        calls.run(
                idleTune -> idleTune.answer(question, piece -> calls.onScreen(() -> answer.append(piece))),
                written -> answered(question, written),
                reason -> {
                    answer.append("[" + reason + "]");
                    setAnswering(false);
                });
    }

    private void answered(String question, Completion written) {
        body.addView(new RatingButtons(this, question, written));
        setAnswering(false);
        scrollToEnd();
        refresh();
    }

    private void setAnswering(boolean now) {
        answering = now;
        send.setText(now ? "Stop" : "Send");
    }

    private void beginAnew() {
        calls.run(idleTune -> {
            idleTune.newConversation();
            return true;
        }, done -> body.removeAllViews());
    }
}
