package io.idletune.example;

import android.app.Activity;
import android.graphics.Typeface;
import android.os.Build;
import android.view.ViewGroup;
import android.widget.Button;
import android.widget.LinearLayout;
import android.widget.ScrollView;
import android.widget.TextView;

/** One of the four screens: what scrolls, and under it what a thumb has to reach. */
abstract class Screen extends LinearLayout {
    final Activity activity;
    final Calls calls;
    final LinearLayout body;
    final LinearLayout bottom;
    private final ScrollView scroll;

    Screen(Activity activity, Calls calls) {
        super(activity);
        this.activity = activity;
        this.calls = calls;
        body = column();
        bottom = column();
        scroll = new ScrollView(activity);
        scroll.addView(body);
        setOrientation(VERTICAL);
        addView(scroll, new LayoutParams(ViewGroup.LayoutParams.MATCH_PARENT, 0, 1));
        addView(bottom);
    }

    /** Reads anew what it shows. */
    abstract void refresh();

    TextView text(LinearLayout to, String words) {
        TextView added = new TextView(activity);
        added.setText(words);
        added.setTextIsSelectable(true);
        to.addView(added);
        return added;
    }

    TextView heading(LinearLayout to, String words) {
        TextView added = text(to, words);
        added.setTypeface(Typeface.DEFAULT_BOLD);
        if (Build.VERSION.SDK_INT >= 28) {
            added.setAccessibilityHeading(true);
        }
        return added;
    }

    Button button(LinearLayout to, String label, Runnable action) {
        Button added = new Button(activity);
        added.setText(label);
        added.setOnClickListener(view -> action.run());
        to.addView(added);
        return added;
    }

    void scrollToEnd() {
        scroll.post(() -> scroll.fullScroll(FOCUS_DOWN));
    }

    LinearLayout column() {
        LinearLayout added = new LinearLayout(activity);
        added.setOrientation(VERTICAL);
        return added;
    }
}
