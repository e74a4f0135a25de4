package io.idletune.android;

import io.idletune.IdleTune;
import io.idletune.IdleTuneException;

/**
 * What the app's {@link android.app.Application} implements, so that a job or a notification's answer that finds
 * the app dead can get at the runtime. Each open runtime holds a model in memory, so the app keeps one for the process.
 *
 * <pre>{@code
 * public class ExampleApplication extends Application implements IdleTuneHost {
 *     private IdleTune idleTune;
 *     public synchronized IdleTune idleTune() throws IdleTuneException {
 *         return idleTune == null ? idleTune = open() : idleTune;
 *     }
 * }
 * }</pre>
 */
public interface IdleTuneHost {
    /**
     * The open runtime; opens it if need be, which takes from a part of a second to many. The glue never closes it.
     *
     * <p>Threads: called from worker threads, several at once.
     *
     * @throws IdleTuneException when it cannot be opened; the job then tries again in its next window
     */
    IdleTune idleTune() throws IdleTuneException;

    /**
     * The same if it is open already, otherwise null. An answer given in a notification is delivered at once then, and
     * otherwise waits on the disk: a tap on a button is no reason to load a language model.
     *
     * <p>Threads: called from worker threads; must not wait for an opening one.
     */
    IdleTune idleTuneIfOpen();
}
