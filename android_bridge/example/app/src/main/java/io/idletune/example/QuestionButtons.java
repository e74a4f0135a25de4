package io.idletune.example;

import io.idletune.AnnotationPrompt;

/** Under a question that is due: its answer was good, a better one, no verdict, or never ask about it. */
final class QuestionButtons extends AnswerButtons {
    QuestionButtons(Screen screen, AnnotationPrompt prompt) {
        super(screen);
        button("Good", () -> tell("Kept.", idleTune -> {
            idleTune.accept(prompt.id(), prompt.shown());
            return true;
        }));
        button("Better…", () -> askForBetter(prompt.response(), text -> tell("Kept.", idleTune -> {
            idleTune.edit(prompt.id(), prompt.shown(), text);
            return true;
        })));
        button("Skip", () -> tell("Skipped.", idleTune -> {
            idleTune.dismiss(prompt.id(), prompt.shown());
            return true;
        }));
        button("Never ask", () -> tell("Never asked about.", idleTune -> {
            idleTune.neverAsk(prompt.id(), prompt.shown());
            return true;
        }));
    }

    @Override
    void told() {
        screen.refresh();
    }
}
