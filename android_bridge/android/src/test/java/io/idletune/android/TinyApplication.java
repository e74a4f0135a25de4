package io.idletune.android;

import android.app.Application;
import io.idletune.AnnotationPrompt;
import io.idletune.IdleTune;
import io.idletune.IdleTuneException;
import io.idletune.Settings;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.json.JSONException;
import org.json.JSONObject;

/** An app with the real runtime on the tiny model that the environment names. */
public class TinyApplication extends Application implements IdleTuneHost {
    private volatile IdleTune open;
    private volatile CountDownLatch training = new CountDownLatch(1);

    @Override
    public synchronized IdleTune idleTune() throws IdleTuneException {
        if (open == null) {
            training = new CountDownLatch(1);
            open = IdleTune.open(new File(named("TINY_MODEL")), home(), settings());
            open.setTrainingListener((stage, done, total) -> {
                if (stage.equals("training")) {
                    training.countDown();
                }
            }, Runnable::run);
        }
        return open;
    }

    @Override
    public IdleTune idleTuneIfOpen() {
        return open;
    }

    /** As when Android kills the app: all that is left is on the disk. */
    synchronized void close() {
        if (open != null) {
            open.close();
            open = null;
        }
    }

    /** Waits until a slice has come to training. */
    void waitForTraining() throws InterruptedException {
        if (!training.await(480, TimeUnit.SECONDS)) {
            throw new AssertionError("no training within a minute");
        }
    }

    /** The question that is due, or null. */
    AnnotationPrompt nextPrompt() throws IdleTuneException {
        List<AnnotationPrompt> due = idleTune().prompts();
        return due.isEmpty() ? null : due.get(0);
    }

    /** Everything the state keeps of the user. */
    String exported() throws Exception {
        File file = new File(getCacheDir(), "exported");
        idleTune().exportMyData(file);
        return new String(java.nio.file.Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8);
    }

    /** Another process that writes to the state until it is ended. */
    Process locked() throws IOException {
        String program = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\ndb.execute('BEGIN IMMEDIATE')\n"
                + "print('locked', flush=True)\nsys.stdin.read()";
        String database = new File(home(), "idletune.db").getPath();
        Process other = new ProcessBuilder(named("PYTHON"), "-c", program, database).start();
        if (other.getInputStream().read() != 'l') {
            throw new IOException("the other process does not hold " + database);
        }
        return other;
    }

    /** The folder the state lives in. */
    File home() {
        return new File(getNoBackupFilesDir(), "home");
    }

    private static Settings settings() {
        Settings.Builder builder =
                Settings.builder().pythonLibrary(named("LIBPYTHON")).python(null, named("PYTHONPATH"));
        try {
            JSONObject given = new JSONObject(named("SETTINGS"));
            for (Iterator<String> names = given.keys(); names.hasNext(); ) {
                String name = names.next();
                Object value = given.get(name);
                if (value instanceof Boolean) {
                    builder.set(name, (Boolean) value);
                } else if (value instanceof Integer) {
                    builder.set(name, (Integer) value);
                } else if (value instanceof Double) {
                    builder.set(name, (Double) value);
                } else {
                    builder.set(name, (String) value);
                }
            }
        } catch (JSONException e) {
            throw new IllegalStateException(e);
        }
        return builder.build();
    }

    private static String named(String name) {
        String value = System.getenv("IDLETUNE_TEST_" + name);
        org.junit.Assume.assumeTrue("IDLETUNE_TEST_" + name + " is not set; run make test", value != null);
        return value;
    }
}
