package io.idletune.example;

import android.Manifest;
import android.app.Activity;
import android.content.Intent;
import android.os.Build;
import android.os.Bundle;
import android.view.ViewGroup;
import android.widget.Button;
import android.widget.FrameLayout;
import android.widget.LinearLayout;

/** Four screens, as the page of {@code idletune web} has them: chat, what is kept, learning, settings. */
public final class MainActivity extends Activity {
    private Calls calls;
    private FrameLayout place;
    private Screen shown;
    private SettingsScreen settings;

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        calls = new Calls(this);
        place = new FrameLayout(this);
        settings = new SettingsScreen(this, calls);
        Screen chat = new ChatScreen(this, calls);
        LinearLayout page = new LinearLayout(this);
        page.setOrientation(LinearLayout.VERTICAL);
        page.addView(place, new LinearLayout.LayoutParams(ViewGroup.LayoutParams.MATCH_PARENT, 0, 1));
        page.addView(tabs(chat));
        setContentView(page);
        show(chat);
        if (Build.VERSION.SDK_INT >= 33) {
            requestPermissions(new String[] {Manifest.permission.POST_NOTIFICATIONS}, 0); // for the questions
        }
    }

    private LinearLayout tabs(Screen chat) {
        LinearLayout tabs = new LinearLayout(this);
        tab(tabs, "Chat", chat);
        tab(tabs, "Kept", new KeptScreen(this, calls));
        tab(tabs, "Learning", new LearningScreen(this, calls));
        tab(tabs, "Settings", settings);
        return tabs;
    }

    private void tab(LinearLayout tabs, String name, Screen screen) {
        Button tab = new Button(this);
        tab.setText(name);
        tab.setAllCaps(false);
        tab.setOnClickListener(view -> show(screen));
        tabs.addView(tab, new LinearLayout.LayoutParams(0, ViewGroup.LayoutParams.WRAP_CONTENT, 1));
    }

    private void show(Screen screen) {
        place.removeAllViews();
        place.addView(screen);
        shown = screen;
        screen.refresh();
    }

    @Override
    protected void onResume() {
        super.onResume();
        shown.refresh();
    }

    @Override
    protected void onActivityResult(int request, int result, Intent data) {
        super.onActivityResult(request, result, data);
        if (result == RESULT_OK && data != null && data.getData() != null) {
            settings.take(request, data.getData());
        }
    }

    @Override
    protected void onDestroy() {
        calls.close();
        super.onDestroy();
    }
}
