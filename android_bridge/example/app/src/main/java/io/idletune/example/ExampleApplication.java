package io.idletune.example;

import android.app.Application;
import android.content.res.AssetManager;
import android.system.ErrnoException;
import android.system.Os;
import android.util.Log;
import com.chaquo.python.Python;
import com.chaquo.python.android.AndroidPlatform;
import io.idletune.IdleTune;
import io.idletune.IdleTuneException;
import io.idletune.Settings;
import io.idletune.android.AnswerQueue;
import io.idletune.android.IdleTuneHost;
import io.idletune.android.KeystoreKey;
import io.idletune.android.LearningJobService;
import io.idletune.android.PromptNotifier;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.concurrent.Executors;

/** Keeps the process's one runtime, and the learning job scheduled. */
public final class ExampleApplication extends Application implements IdleTuneHost {
    private static final String BUNDLE = "smollm2-135m";

    private volatile IdleTune open;

    @Override
    public void onCreate() {
        super.onCreate();
        LearningJobService.schedule(this);
    }

    @Override
    public synchronized IdleTune idleTune() throws IdleTuneException {
        if (open == null) {
            open = opened();
            deliver(open);
            open.setPromptListener(new PromptNotifier(this), Executors.newSingleThreadExecutor());
        }
        return open;
    }

    /** Erases everything that is kept; the next call begins anew. */
    synchronized int erase(IdleTune opened) throws IdleTuneException {
        int files = opened.erase();
        opened.close();
        open = null;
        return files;
    }

    /** What was answered while the app was dead, before it is asked again. What fails now waits for the next job. */
    private void deliver(IdleTune opened) {
        try {
            new AnswerQueue(this).deliver(opened);
        } catch (IdleTuneException e) {
            Log.w("IdleTuneExample", "the answers wait on the disk", e);
        }
    }

    @Override
    public IdleTune idleTuneIfOpen() {
        return open;
    }

    private IdleTune opened() throws IdleTuneException {
        byte[] key = null;
        try {
            startPython();
            key = new KeystoreKey(this).get();
            Settings settings = Settings.builder()
                    .pythonLibrary("libpython3.11.so").key(key).set("state_source", "host").build();
            return IdleTune.open(bundle(), new File(getNoBackupFilesDir(), "idletune"), settings);
        } catch (IOException | GeneralSecurityException | ErrnoException e) {
            throw new IdleTuneException("the app's files or the Keystore failed: " + e.getMessage(), e);
        } finally {
            if (key != null) {
                Arrays.fill(key, (byte) 0);
            }
        }
    }

    private void startPython() throws ErrnoException {
        if (!Python.isStarted()) {
            Os.setenv("LLAMA_CPP_LIB_PATH", getApplicationInfo().nativeLibraryDir, true);
            Os.setenv("IDLETUNE_ONNXRUNTIME", "libonnxruntime.so", true);
            Os.setenv("ORT_DISABLE_TELEMETRY", "1", true); // before anything loads ONNX Runtime
            Python.start(new AndroidPlatform(this));
        }
    }

    /** The bundle in files, for it is mapped into memory; copied out of the assets once. */
    private File bundle() throws IOException {
        File bundle = new File(getNoBackupFilesDir(), BUNDLE);
        if (!bundle.exists()) {
            File partial = new File(getNoBackupFilesDir(), BUNDLE + ".part");
            copy(BUNDLE, partial);
            if (!partial.renameTo(bundle)) {
                throw new IOException("cannot rename " + partial);
            }
        }
        return bundle;
    }

    private void copy(String asset, File to) throws IOException {
        AssetManager assets = getAssets();
        String[] inside = assets.list(asset);
        if (inside != null && inside.length > 0) { // a folder
            to.mkdirs();
            for (String name : inside) {
                copy(asset + "/" + name, new File(to, name));
            }
            return;
        }
        byte[] piece = new byte[1 << 16];
        try (InputStream in = assets.open(asset); OutputStream out = new FileOutputStream(to)) {
            for (int count = in.read(piece); count >= 0; count = in.read(piece)) {
                out.write(piece, 0, count);
            }
        }
    }
}
