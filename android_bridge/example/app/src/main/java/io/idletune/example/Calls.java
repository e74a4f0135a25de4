package io.idletune.example;

import android.app.Activity;
import android.app.AlertDialog;
import io.idletune.IdleTune;
import io.idletune.IdleTuneException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;

/** Calls of the runtime: each on a thread of its own, for it may take minutes. What fails is shown in words. */
final class Calls {
    /** What is asked of the runtime. */
    interface Call<T> {
        T on(IdleTune idleTune) throws IdleTuneException;
    }

    private final Activity activity;
    private final ExecutorService threads = Executors.newCachedThreadPool();

    Calls(Activity activity) {
        this.activity = activity;
    }

    /** Makes a call; its result goes to {@code then}, on the main thread. */
    <T> void run(Call<T> call, Consumer<T> then) {
        run(call, then, this::tell);
    }

    /** The same; what fails goes to {@code failed}, in words, on the main thread. */
    <T> void run(Call<T> call, Consumer<T> then, Consumer<String> failed) {
        ExampleApplication application = (ExampleApplication) activity.getApplication();
        threads.execute(() -> {
            try {
                T result = call.on(application.idleTune());
                onScreen(() -> then.accept(result));
            } catch (IdleTuneException e) {
                onScreen(() -> failed.accept(e.getMessage()));
            }
        });
    }

    /** Runs on the main thread, unless the screen has gone. */
    void onScreen(Runnable work) {
        activity.runOnUiThread(() -> {
            if (!activity.isDestroyed()) {
                work.run();
            }
        });
    }

    void tell(String words) {
        new AlertDialog.Builder(activity).setMessage(words).setPositiveButton(android.R.string.ok, null).show();
    }

    /** Asks before something goes for good. */
    void confirm(String title, String consequences, String action, Runnable then) {
        new AlertDialog.Builder(activity).setTitle(title).setMessage(consequences)
                .setPositiveButton(action, (dialog, which) -> then.run())
                .setNegativeButton(android.R.string.cancel, null).show();
    }

    void close() {
        threads.shutdown();
    }
}
