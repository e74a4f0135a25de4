package io.idletune;

import java.util.Collection;
import java.util.List;
import java.util.Locale;
import org.json.JSONArray;

/**
 * What is kept to learn from: looked through, and forgotten ({@link IdleTune#kept}).
 *
 * <p>Threads: any.
 */
public final class Kept {
    /** Which dialogue sets are looked for. */
    public enum Which {
        /** All. */
        ALL,
        /** Those with the user's answer. */
        ANSWERED,
        /** Those without. */
        UNANSWERED
    }

    private final Rpc rpc;

    Kept(Rpc rpc) {
        this.rpc = rpc;
    }

    /**
     * The dialogue sets that hold all these words, the newest first.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     *
     * @param words at most 1,000 characters; empty finds all
     * @param skip leaves out so many of the newest
     * @param limit gives at most so many, 1 to 100
     */
    public KeptSets find(String words, Which which, int skip, int limit) throws IdleTuneException {
        return KeptSets.of(rpc.call("sets", Params.of("search", words)
                .and("which", which.name().toLowerCase(Locale.ROOT)).and("skip", skip).and("limit", limit)));
    }

    /**
     * Removes dialogue sets as {@link IdleTune#forget} does one: all of them or none.
     *
     * <p>Threads: any; waits as {@link IdleTune#chat} does.
     *
     * @param ids at most 10,000
     * @throws UsageException when there is one that is not kept
     */
    public Forgotten forget(Collection<Long> ids, Forgotten.Descendants descendants) throws IdleTuneException {
        return Forgotten.of(rpc.call("forget_all", named(ids, descendants)));
    }

    /**
     * What {@link #forget} would take; nothing is changed.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     */
    public Forgotten previewForget(Collection<Long> ids, Forgotten.Descendants descendants) throws IdleTuneException {
        return Forgotten.of(rpc.call("forget_all", named(ids, descendants).and("dry_run", true)));
    }

    /**
     * Paths of the files outside of the home that may hold what is kept: exports, for the most part.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     */
    public List<String> copies() throws IdleTuneException {
        return Json.list(rpc.call("copies", Params.NONE), "copies", each -> each.optString("path"));
    }

    /**
     * Forgets where these files were written; the files stay.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     */
    public void eraseRecordOfCopies() throws IdleTuneException {
        rpc.call("copies", Params.of("erase_record", true));
    }

    private static Params named(Collection<Long> ids, Forgotten.Descendants descendants) {
        return Params.of("ids", new JSONArray(ids)).and("descendants", descendants.word());
    }
}
