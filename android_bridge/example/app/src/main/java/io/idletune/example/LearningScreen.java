package io.idletune.example;

import android.app.Activity;
import android.widget.Button;
import android.widget.ProgressBar;
import android.widget.TextView;
import io.idletune.AdapterVersion;
import io.idletune.LearningState;
import io.idletune.Status;
import io.idletune.TrainingListener;
import java.util.List;

/** Why it learns now or not, learning by hand with its progress, and what came of it so far. */
final class LearningScreen extends Screen implements TrainingListener {
    private final TextView step;
    private final ProgressBar bar;
    private final Button learnOrStop;
    private boolean listening;
    private boolean running;

    LearningScreen(Activity activity, Calls calls) {
        super(activity, calls);
        step = text(bottom, "");
        step.setAccessibilityLiveRegion(ACCESSIBILITY_LIVE_REGION_POLITE);
        bar = new ProgressBar(activity, null, android.R.attr.progressBarStyleHorizontal);
        bottom.addView(bar);
        learnOrStop = button(bottom, "Learn now", this::learnOrStop);
    }

    @Override
    void refresh() {
        calls.run(idleTune -> {
            if (!listening) {
                idleTune.setTrainingListener(this, calls::onScreen);
                listening = true;
            }
            return new Found(idleTune.learning(), idleTune.status(), idleTune.adapters());
        }, this::show);
    }

    private static final class Found {
        final LearningState state;
        final Status status;
        final List<AdapterVersion> adapters;

        Found(LearningState state, Status status, List<AdapterVersion> adapters) {
            this.state = state;
            this.status = status;
            this.adapters = adapters;
        }
    }

    private void show(Found found) {
        setRunning(found.state.running());
        body.removeAllViews();
        heading(body, found.status.mayLearn() ? "It may learn by itself now." : "It does not learn by itself now.");
        for (LearningState.Condition each : found.state.conditions()) {
            if (!Boolean.TRUE.equals(each.met())) {
                text(body, each.met() == null ? each.code() + ": cannot be told" : each.reason());
            }
        }
        heading(body, found.adapters.isEmpty() ? "Nothing learned yet." : "What it learned");
        for (AdapterVersion each : found.adapters) {
            text(body, each.version() + ", " + each.state() + ": " + each.reason());
        }
        if (found.status.heldBack() != 0) {
            text(body, "Learning " + found.status.heldBack() + " became almost too good to be true. Look at what is"
                    + " kept, then let it answer.");
            button(body, "Let it answer", () -> promote(found.status.heldBack()));
        }
        if (found.status.adapter() != 0) {
            button(body, "Undo the last learning", this::undo);
        }
    }

    private void learnOrStop() {
        boolean stop = running;
        calls.run(idleTune -> {
            if (stop) {
                idleTune.stop();
            } else {
                idleTune.learnNow();
            }
            return true;
        }, done -> refresh());
    }

    private void promote(int version) {
        calls.run(idleTune -> {
            idleTune.promote(version);
            return true;
        }, done -> refresh());
    }

    private void undo() {
        calls.confirm(
                "Undo the last learning?", "What was learned before answers again. Your answers stay.", "Undo",
                () -> calls.run(idleTune -> idleTune.rollback(), serving -> refresh()));
    }

    private void setRunning(boolean now) {
        running = now;
        learnOrStop.setText(now ? "Stop learning" : "Learn now");
        bar.setVisibility(now ? VISIBLE : GONE);
    }

    @Override
    public void onProgress(String stage, int done, int total) {
        setRunning(true);
        step.setText(stage + ", " + done + " of " + total);
        bar.setMax(total);
        bar.setProgress(done);
    }

    @Override
    public void onEnd(String outcome, String reason) {
        step.setText(outcome + ": " + reason);
        refresh();
    }
}
