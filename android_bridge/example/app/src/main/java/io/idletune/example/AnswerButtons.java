package io.idletune.example;

import android.app.AlertDialog;
import android.widget.Button;
import android.widget.EditText;
import android.widget.LinearLayout;
import android.widget.TextView;
import java.util.function.Consumer;

/** A row of verdicts on an answer. What is said stands there afterwards. */
abstract class AnswerButtons extends LinearLayout {
    final Screen screen;

    AnswerButtons(Screen screen) {
        super(screen.activity);
        this.screen = screen;
    }

    void button(String label, Runnable action) {
        Button added = new Button(screen.activity);
        added.setText(label);
        added.setAllCaps(false);
        added.setOnClickListener(view -> action.run());
        addView(added);
    }

    /** Opens the answer for editing. */
    void askForBetter(String answer, Consumer<String> then) {
        EditText better = new EditText(screen.activity);
        better.setText(answer);
        new AlertDialog.Builder(screen.activity)
                .setTitle("A better answer")
                .setView(better)
                .setPositiveButton("Keep", (dialog, which) -> then.accept(better.getText().toString()))
                .setNegativeButton(android.R.string.cancel, null)
                .show();
    }

    /** Tells the runtime; the buttons give way to what was said, or stay where it failed. */
    <T> void tell(String said, Calls.Call<T> call) {
        screen.calls.run(call, done -> {
            removeAllViews();
            TextView told = new TextView(screen.activity);
            told.setText(said);
            addView(told);
            told();
        });
    }

    /** What is to be done when something was said. */
    void told() { }
}
