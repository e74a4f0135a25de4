package io.idletune.example;

import io.idletune.Comparison;
import io.idletune.Completion;
import io.idletune.Rating;

/** Under an answer: it was good, a better one, never ask about it; by the answer's id. And what learning changed. */
final class RatingButtons extends AnswerButtons {
    RatingButtons(Screen screen, String question, Completion answer) {
        super(screen);
        button("Good", () -> tell("Kept as a good answer.", idleTune -> idleTune.feedback(answer.id(), Rating.UP)));
        button("Better…", () -> askForBetter(answer.text(), text -> tell("Kept instead: " + text, idleTune -> {
            idleTune.correct(answer.id(), text);
            return true;
        })));
        button("Never ask", () -> tell(
                "Never asked about, and not kept.", idleTune -> idleTune.feedback(answer.id(), Rating.NEVER_ASK)));
        button("Compare", () -> screen.calls.run(idleTune -> idleTune.compare(question), this::show));
    }

    private void show(Comparison found) {
        screen.calls.tell("Without learning:\n" + found.base() + "\n\nWith what it learned:\n" + found.learned());
    }

    @Override
    void told() {
        screen.refresh();
    }
}
