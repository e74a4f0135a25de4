package io.idletune.example;

import android.Manifest;
import android.app.Activity;
import android.os.Build;
import android.os.Bundle;
import android.widget.Button;
import android.widget.EditText;
import android.widget.LinearLayout;
import android.widget.ScrollView;
import android.widget.TextView;
import io.idletune.IdleTuneException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** A conversation: what is typed, and the answers as they are written. */
public final class MainActivity extends Activity {
    private final ExecutorService worker = Executors.newSingleThreadExecutor(); // a call into the runtime takes seconds
    private TextView conversation;

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        conversation = new TextView(this);
        EditText message = new EditText(this);
        Button send = new Button(this);
        send.setText("Send");
        send.setOnClickListener(view -> {
            say(message.getText().toString());
            message.setText("");
        });
        ScrollView scroll = new ScrollView(this);
        scroll.addView(conversation);
        LinearLayout page = new LinearLayout(this);
        page.setOrientation(LinearLayout.VERTICAL);
        page.addView(scroll, new LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1));
        page.addView(message);
        page.addView(send);
        setContentView(page);
        if (Build.VERSION.SDK_INT >= 33) {
            requestPermissions(new String[] {Manifest.permission.POST_NOTIFICATIONS}, 0); // for the questions
        }
    }

    @Override
    protected void onDestroy() {
        worker.shutdown();
        super.onDestroy();
    }

    private void say(String text) {
        write("\n\nYou: " + text + "\n\n");
        ExampleApplication application = (ExampleApplication) getApplication();
        worker.execute(() -> {
            try {
                application.idleTune().chat(text, this::write);
            } catch (IdleTuneException e) {
                write("[" + e.getMessage() + "]");
            }
        });
    }

    private void write(String text) {
        runOnUiThread(() -> conversation.append(text));
    }
}
