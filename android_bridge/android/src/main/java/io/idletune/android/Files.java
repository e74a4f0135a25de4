package io.idletune.android;

import java.io.DataInputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;

/** Small files, read and replaced whole. */
final class Files {
    private static final int MOST_BYTES = 1 << 20;

    private Files() {}

    static byte[] read(File file) throws IOException {
        long length = file.length();
        if (length > MOST_BYTES) {
            throw new IOException(file + " has " + length + " bytes, more than the " + MOST_BYTES + " of any file of ours");
        }
        byte[] content = new byte[(int) length];
        try (DataInputStream in = new DataInputStream(new FileInputStream(file))) {
            in.readFully(content);
        }
        return content;
    }

    /** On the disk when this returns, and whole or not there at all whenever the process dies. */
    static void replace(File file, byte[] content) throws IOException {
        File partial = new File(file.getPath() + ".part");
        try (FileOutputStream out = new FileOutputStream(partial)) {
            out.write(content);
            out.getFD().sync();
        }
        if (!partial.renameTo(file)) {
            throw new IOException("cannot rename " + partial + " to " + file);
        }
    }
}
