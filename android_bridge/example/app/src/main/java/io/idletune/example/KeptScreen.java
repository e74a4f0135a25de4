package io.idletune.example;

import android.app.Activity;
import android.text.Editable;
import android.text.InputType;
import android.text.TextWatcher;
import android.widget.Button;
import android.widget.EditText;
import io.idletune.Forgotten;
import io.idletune.Kept;
import io.idletune.KeptSet;
import io.idletune.KeptSets;
import java.text.DateFormat;
import java.util.Collections;
import java.util.Date;
import java.util.List;

/** What it has learned from, and what it may learn from: search, and forget. */
final class KeptScreen extends Screen {
    private static final int MOST_SHOWN = 50;
    private static final int MOST_CHARACTERS = 300;

    private final EditText search;
    private final Button forgetFound;
    private List<Long> found = Collections.emptyList();

    KeptScreen(Activity activity, Calls calls) {
        super(activity, calls);
        search = new EditText(activity);
        search.setHint("Search");
        search.setInputType(InputType.TYPE_CLASS_TEXT);
        search.addTextChangedListener(new TextWatcher() {
            @Override public void beforeTextChanged(CharSequence text, int start, int count, int after) { }

            @Override public void onTextChanged(CharSequence text, int start, int before, int count) { }

            @Override public void afterTextChanged(Editable text) {
                refresh();
            }
        });
        bottom.addView(search);
        forgetFound = button(bottom, "Forget all that was found", () -> forget(found));
    }

    @Override
    void refresh() {
        String words = search.getText().toString();
        calls.run(idleTune -> idleTune.kept().find(words, Kept.Which.ALL, 0, MOST_SHOWN), sets -> {
            if (words.equals(search.getText().toString())) { // else a later search is under way
                show(sets);
            }
        });
    }

    private void show(KeptSets sets) {
        found = sets.ids();
        forgetFound.setVisibility(search.length() > 0 && !found.isEmpty() ? VISIBLE : GONE);
        body.removeAllViews();
        text(body, sets.total() == 0 ? "Nothing yet. What is worth learning from appears here."
                : sets.found() + " found. " + sets.total() + " kept, " + sets.answered() + " with your answer, "
                        + sets.learned() + " learned.");
        for (KeptSet each : sets.sets()) {
            heading(body, shortened(each.question()));
            text(body, shortened(each.response() == null ? each.reply() : each.response()));
            text(body, DateFormat.getDateInstance().format(new Date((long) (each.created() * 1000)))
                    + (each.response() == null ? ", not answered" : ", answered by you")
                    + (each.learnedIn() == 0 ? "" : ", learned"));
            button(body, "Forget", () -> forget(Collections.singletonList(each.id())));
        }
    }

    /** Says what goes with them before they go. */
    private void forget(List<Long> ids) {
        calls.run(idleTune -> idleTune.kept().previewForget(ids, Forgotten.Descendants.ALL), planned -> calls.confirm(
                "Forget?", consequences(planned), "Forget",
                () -> calls.run(
                        idleTune -> idleTune.kept().forget(ids, Forgotten.Descendants.ALL), gone -> refresh())));
    }

    private static String consequences(Forgotten planned) {
        String learned = planned.adapters().isEmpty() ? "It has learned nothing from them."
                : "What it learned from them goes, too.";
        return planned.sets().size() + " exchanges go for good. " + learned + " All conversations begin anew."
                + (planned.copies().isEmpty() ? "" : "\nFiles that may still hold it: " + planned.copies());
    }

    private static String shortened(String text) {
        return text.length() <= MOST_CHARACTERS ? text : text.substring(0, MOST_CHARACTERS) + "…";
    }
}
