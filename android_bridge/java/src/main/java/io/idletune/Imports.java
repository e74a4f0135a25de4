package io.idletune;

import java.io.File;
import java.util.List;
import java.util.Locale;

/**
 * Conversations that other programs exported (ChatGPT, WhatsApp and others, also zipped), taken in and forgotten as a
 * whole ({@link IdleTune#imports}). An exchange is taken once, however often its file is imported.
 *
 * <p>Threads: any; one import at a time.
 */
public final class Imports {
    /** What the responses in a file are. */
    public enum Mode {
        /** The user's own answers, to learn from. */
        ANSWERS,
        /** A conversation that the user may be asked about. */
        STREAM
    }

    /** Told how far an import has come. */
    public interface Progress {
        /** {@code done} of {@code total} exchanges are read; called on the events' own thread. */
        void onProgress(int done, int total);
    }

    private final Rpc rpc;

    Imports(Rpc rpc) {
        this.rpc = rpc;
    }

    /**
     * What a file holds; nothing is kept.
     *
     * @param me the user's name in the file, where it has people ({@link ImportPreview#people}), otherwise null
     * @throws DamagedDataException for a malformed file
     */
    public ImportPreview preview(File file, String me) throws IdleTuneException {
        return ImportPreview.of(rpc.call("import_preview", named(file, me)));
    }

    /**
     * Imports a file; one that was cut short goes on where it stood.
     *
     * <p>Threads: a worker; it takes as long as the model reads, and lets chats go first. {@link IdleTune#cancel} stops
     * it; what was taken is kept then.
     *
     * @param me as in {@link #preview}
     * @param progress null for nobody
     * @throws DamagedDataException for a malformed file, of which nothing is kept
     */
    public ImportRecord take(File file, String me, Mode mode, Progress progress) throws IdleTuneException {
        rpc.listen("event.import", progress == null
                ? null : told -> progress.onProgress(told.optInt("done"), told.optInt("total")));
        try {
            return ImportRecord.of(rpc.call(
                    "import", named(file, me).and("mode", mode.name().toLowerCase(Locale.ROOT))));
        } finally {
            rpc.listen("event.import", null);
        }
    }

    /** The files that were imported, the oldest first. */
    public List<ImportRecord> all() throws IdleTuneException {
        return Json.list(rpc.call("imports", Params.NONE), "imports", ImportRecord::of);
    }

    /**
     * Forgets all that came of a file, and that it was imported.
     *
     * <p>Threads: any; waits as {@link IdleTune#chat} does.
     *
     * @throws UsageException when there is no such import
     */
    public Forgotten forget(long id, Forgotten.Descendants descendants) throws IdleTuneException {
        return Forgotten.of(rpc.call(
                "forget_import", Params.of("id", id).and("descendants", descendants.word())));
    }

    /** What {@link #forget} would take; nothing is changed. */
    public Forgotten previewForget(long id, Forgotten.Descendants descendants) throws IdleTuneException {
        return Forgotten.of(rpc.call(
                "forget_import",
                Params.of("id", id).and("descendants", descendants.word()).and("dry_run", true)));
    }

    private static Params named(File file, String me) {
        return Params.of("path", file.getPath()).and("me", me);
    }
}
