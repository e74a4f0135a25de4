package io.idletune.android;

import android.content.Context;
import android.util.Log;
import io.idletune.IdleTune;
import io.idletune.IdleTuneException;
import io.idletune.NotOpenException;
import io.idletune.UsageException;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.UnrecoverableKeyException;
import java.util.Arrays;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * Answers to questions that wait for the runtime, each a file, encrypted by the Keystore's key and on the disk before
 * {@link #add} returns. They are delivered in the order they were given, each at most once.
 *
 * <pre>{@code
 * IdleTune idleTune = IdleTune.open(...);
 * new AnswerQueue(context).deliver(idleTune);     // what was answered while the app was dead
 * }</pre>
 *
 * <p>Threads: every method may be called from any thread; they write to the disk, so not from the main one.
 */
public final class AnswerQueue {
    private static final String TAG = "IdleTune";
    private static final String ENDING = ".answer";
    private static final Object LOCK = new Object(); // one folder for the process, whoever made the queue

    private final File folder;
    private final KeystoreKey keystore;

    /** The app's queue; all queues of an app are the same one. */
    public AnswerQueue(Context context) {
        folder = new File(context.getNoBackupFilesDir(), "idletune-answers");
        keystore = new KeystoreKey(context);
    }

    /**
     * Keeps an answer.
     *
     * @param shown {@link io.idletune.AnnotationPrompt#shown} of the question as it was shown
     * @param text the better response with {@link Verdict#EDIT}, otherwise null
     * @throws IOException when the disk fails or is full: the answer is not kept
     * @throws GeneralSecurityException when the Keystore fails: the same
     */
    void add(long promptId, String shown, Verdict verdict, String text) throws IOException, GeneralSecurityException {
        byte[] encrypted = keystore.encrypt(written(promptId, shown, verdict, text).getBytes(StandardCharsets.UTF_8));
        synchronized (LOCK) {
            if (!folder.isDirectory() && !folder.mkdirs()) {
                throw new IOException("cannot make the folder " + folder);
            }
            File[] waiting = waiting();
            long next = waiting.length == 0 ? 0 : number(waiting[waiting.length - 1]) + 1;
            Files.replace(new File(folder, String.format(java.util.Locale.ROOT, "%012d", next) + ENDING), encrypted);
        }
    }

    /** How many answers wait. */
    public int size() {
        synchronized (LOCK) {
            return waiting().length;
        }
    }

    /**
     * Hands the waiting answers to the runtime. One that it refuses for good (the question was answered already,
     * forgotten, or is another one than was shown) is dropped; when the runtime fails otherwise (the storage is full, it was closed), that one and
     * those after it keep waiting.
     *
     * @return how many the runtime took
     * @throws IdleTuneException when the runtime, the Keystore or the disk failed
     */
    public int deliver(IdleTune idleTune) throws IdleTuneException {
        int taken = 0;
        synchronized (LOCK) {
            for (File file : waiting()) {
                if (deliver(idleTune, file)) {
                    taken++;
                }
                if (!file.delete()) {
                    Log.w(TAG, "cannot delete " + file);
                    return taken;
                }
            }
        }
        return taken;
    }

    private boolean deliver(IdleTune idleTune, File file) throws IdleTuneException {
        try {
            JSONObject answer = new JSONObject(new String(keystore.decrypt(Files.read(file)), StandardCharsets.UTF_8));
            Verdict verdict = Verdict.valueOf(answer.getString("verdict"));
            verdict.tell(idleTune, answer.getLong("prompt"), answer.getString("shown"),
                    answer.isNull("text") ? null : answer.getString("text"));
            return true;
        } catch (UnrecoverableKeyException | JSONException | IllegalArgumentException e) {
            Log.w(TAG, "a waiting answer cannot be read any more and is dropped: " + file, e);
            return false;
        } catch (NotOpenException e) {
            throw e; // the only wrong use that is not the answer's
        } catch (UsageException e) {
            Log.i(TAG, "a waiting answer came too late and is dropped: " + e.getMessage());
            return false;
        } catch (IOException | GeneralSecurityException e) {
            throw new IdleTuneException("the waiting answers cannot be read now; deliver them later", e);
        }
    }

    private static String written(long promptId, String shown, Verdict verdict, String text) {
        try {
            return new JSONObject().put("prompt", promptId).put("shown", shown).put("verdict", verdict.name())
                    .put("text", text).toString();
        } catch (JSONException e) {
            throw new AssertionError(e); // only for numbers that are not finite
        }
    }

    private File[] waiting() {
        File[] found = folder.listFiles((in, name) -> name.endsWith(ENDING));
        if (found == null) {
            return new File[0];
        }
        Arrays.sort(found);
        return found;
    }

    private static long number(File file) {
        return Long.parseLong(file.getName().substring(0, file.getName().length() - ENDING.length()));
    }
}
