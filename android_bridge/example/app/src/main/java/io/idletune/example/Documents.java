package io.idletune.example;

import android.content.Context;
import android.net.Uri;
import io.idletune.IdleTuneException;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;

/** Documents that the user chose, as files: the runtime takes paths. */
final class Documents {
    private Documents() { }

    /** A file of this name in the app's cache that does not exist yet. */
    static File newFile(Context context, String name) throws IdleTuneException {
        File file = new File(context.getCacheDir(), name);
        if (file.exists() && !file.delete()) {
            throw new IdleTuneException("cannot delete " + file);
        }
        return file;
    }

    /** A copy in the app's cache. */
    static File copy(Context context, Uri document) throws IdleTuneException {
        File copy = newFile(context, "chosen");
        try (InputStream in = context.getContentResolver().openInputStream(document);
                OutputStream out = new FileOutputStream(copy)) {
            pass(in, out);
            return copy;
        } catch (IOException e) {
            throw new IdleTuneException("the file cannot be read: " + e.getMessage(), e);
        }
    }

    /** Moves a file to a document; returns words that say so. */
    static String moveTo(Context context, File file, Uri document) throws IdleTuneException {
        try (InputStream in = new FileInputStream(file);
                OutputStream out = context.getContentResolver().openOutputStream(document)) {
            pass(in, out);
        } catch (IOException e) {
            throw new IdleTuneException("the file cannot be written: " + e.getMessage(), e);
        } finally {
            file.delete();
        }
        return "Saved";
    }

    private static void pass(InputStream in, OutputStream out) throws IOException {
        if (in == null || out == null) {
            throw new IOException("it is not there any more");
        }
        byte[] piece = new byte[1 << 16];
        for (int count = in.read(piece); count >= 0; count = in.read(piece)) {
            out.write(piece, 0, count);
        }
    }
}
