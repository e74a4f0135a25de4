package io.idletune;

import java.io.Closeable;
import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.json.JSONArray;
import org.json.JSONObject;

/**
 * A language model on this device that learns from its one user.
 *
 * <pre>{@code
 * try (IdleTune idleTune = IdleTune.open(bundle, home, Settings.defaults())) {
 *     idleTune.setPromptListener(prompt -> ask(prompt), executor);    // "was this answer good?"
 *     String answer = idleTune.chat("Where do I get bread?", System.out::print);
 *     idleTune.deviceState(DeviceState.builder().plugged(true).percentage(80).build());
 *     TrainingOutcome outcome = idleTune.tick(480);                   // learn for at most 8 minutes
 * }
 * }</pre>
 *
 * <p>Threads: every method may be called from any thread, several at once. The model is for one call at a time: those
 * that need it ({@link #chat}, {@link #observe}, {@link #rollback}, {@link #forget}, {@link #change}) wait for each
 * other, and a running {@link #tick} stops at its next step for them. Calls take from less than a millisecond to
 * minutes, so none belongs on an app's main thread. Listeners are called on the executor they came with.
 *
 * <p>After {@link #close} every method throws {@link NotOpenException}. Every method that keeps something throws
 * {@link StorageException} when the storage is full.
 */
public final class IdleTune implements AutoCloseable {
    private final Rpc rpc;
    private final AtomicBoolean fresh = new AtomicBoolean(); // the next message begins a conversation

    private IdleTune(Rpc rpc) {
        this.rpc = rpc;
    }

    /**
     * Loads the model and opens the state.
     *
     * <p>Threads: any; takes from a part of a second to many. Open a home once: two runtimes on it
     * are two models in memory, of which one learns at a time.
     *
     * @param model the folder of a bundle, or a GGUF file
     * @param home the folder the state lives in; made if there is none
     * @throws UsageException when Python does not start, a setting is wrong, the home cannot be used, or its key is
     *     missing or another
     * @throws DamagedDataException when the bundle or the state cannot be trusted
     */
    public static IdleTune open(File model, File home, Settings settings) throws IdleTuneException {
        Rpc rpc = new Rpc(new NativeConnection(settings));
        try {
            byte[] key = settings.key();
            rpc.call("open", Params.of("model", model.getPath()).and("home", home.getPath())
                    .and("settings", settings.values()).and("backend", settings.backend)
                    .and("key", key == null ? null : Base64.getEncoder().encodeToString(key)));
            return new IdleTune(rpc);
        } catch (IdleTuneException | RuntimeException e) {
            rpc.close();
            throw e;
        }
    }

    /**
     * Uses the runtime of another process, where {@code idletune serve --socket PATH} listens.
     *
     * <p>Threads: any.
     *
     * @param socket what {@link #close} closes; the two streams are its own, as a {@code android.net.LocalSocket} has
     *     them. The runtime itself stays open.
     * @throws NotOpenException when no runtime is open there
     */
    public static IdleTune connect(Closeable socket, InputStream in, OutputStream out) throws IdleTuneException {
        Rpc rpc = new Rpc(new StreamConnection(socket, in, out));
        try {
            rpc.call("subscribe", Params.NONE);
            if (!rpc.call("status", Params.NONE).optBoolean("open")) {
                throw new NotOpenException("no runtime is open at the other end; start it with idletune serve");
            }
            return new IdleTune(rpc);
        } catch (IdleTuneException | RuntimeException e) {
            rpc.close();
            throw e;
        }
    }

    /**
     * Answers one message of the conversation, and lets the buffer look at the exchange. One that it cannot take
     * (larger than a bin, or no storage is left) is answered all the same, and {@link Status#unobserved} says why.
     *
     * <p>Threads: any; waits for the calls that use the model, and stops a slice of learning. An interrupt does not
     * end it; {@link #cancel} does.
     *
     * @throws CancelledException when {@link #cancel} was called meanwhile; nothing of it is kept
     */
    public String chat(String text) throws IdleTuneException {
        return answer(text, params -> rpc.call("chat", params).optString("text"));
    }

    /**
     * The same, streamed.
     *
     * <p>Threads: as {@link #chat(String)}; {@code onText} is called on this thread, before this method returns. An
     * interrupt of this thread cancels the chat.
     *
     * @param onText takes each piece of the answer; all of them make up the answer that is returned. An exception of
     *     its own cancels the chat and is thrown here.
     */
    public String chat(String text, Consumer<String> onText) throws IdleTuneException {
        return answer(text, params -> new StreamedChat(rpc, onText).run(params.and("stream", true)));
    }

    /**
     * Lets the next message begin a conversation of its own.
     *
     * <p>Threads: any; returns at once.
     */
    public void newConversation() {
        fresh.set(true);
    }

    /**
     * Lets the buffer look at an exchange that another model or a person answered.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     */
    public Observation observe(String question, String response) throws IdleTuneException {
        JSONObject seen = rpc.call("observe", Params.of("question", question).and("response", response));
        return new Observation(
                constant(Observation.Action.class, seen.optString("action")), seen.optLong("id"),
                seen.optString("domain"));
    }

    /**
     * The questions to put to the user now: one or none.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     */
    public List<AnnotationPrompt> prompts() throws IdleTuneException {
        JSONArray due = rpc.call("prompts", Params.NONE).optJSONArray("prompts");
        List<AnnotationPrompt> prompts = new ArrayList<>();
        for (int i = 0; due != null && i < due.length(); i++) {
            prompts.add(prompt(due.optJSONObject(i)));
        }
        return prompts;
    }

    /**
     * The user says that the response was good.
     *
     * <p>Threads: any; the answer is on the disk when this returns, also while a slice runs.
     *
     * @throws UsageException when there is no such question, or it was answered already
     */
    public void accept(long promptId) throws IdleTuneException {
        answer(promptId, "accept", null);
    }

    /**
     * The user gives a better response.
     *
     * <p>Threads and errors: as {@link #accept}.
     */
    public void edit(long promptId, String better) throws IdleTuneException {
        answer(promptId, "edit", better);
    }

    /**
     * The user does not answer.
     *
     * <p>Threads and errors: as {@link #accept}.
     */
    public void dismiss(long promptId) throws IdleTuneException {
        answer(promptId, "dismiss", null);
    }

    /**
     * The user does not want to be asked about this at all.
     *
     * <p>Threads and errors: as {@link #accept}.
     */
    public void neverAsk(long promptId) throws IdleTuneException {
        answer(promptId, "never_ask", null);
    }

    /**
     * Tells the device's state. It counts for 30 seconds, so tell it again while a slice runs.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     */
    public void deviceState(DeviceState state) throws IdleTuneException {
        rpc.call("device_state", Params.of("state", state.fields()));
    }

    /**
     * Learns for one slice if the device may now: paraphrases, trains, judges. What it does not finish goes on in the
     * next slice, bit for bit.
     *
     * <p>Threads: any; returns within {@code seconds} and a step, sooner after {@link #stop}, a {@link #chat}, or a
     * device state that closes the window.
     *
     * @param seconds the longest it may take, 1 to 480
     * @throws BusyException when the model is in use; it never waits
     */
    public TrainingOutcome tick(int seconds) throws IdleTuneException {
        JSONObject done = rpc.call("tick", Params.of("max_seconds", seconds));
        return new TrainingOutcome(
                constant(TrainingOutcome.Kind.class, done.optString("outcome")), done.optString("code"),
                done.optString("reason"), done.optDouble("seconds"), done.optBoolean("more"));
    }

    /**
     * Asks the running slice to stop at its next step; it keeps a checkpoint.
     *
     * <p>Threads: any; returns at once.
     *
     * @return false when none was running
     */
    public boolean stop() throws IdleTuneException {
        return rpc.call("stop", Params.NONE).optBoolean("stopped");
    }

    /**
     * Asks all chats and the slice to stop.
     *
     * <p>Threads: any; returns at once.
     */
    public void cancel() throws IdleTuneException {
        rpc.call("cancel", Params.NONE);
    }

    /**
     * Who is told of questions to the user; null for nobody. A question that is due already is told at once.
     *
     * <p>Threads: any; the listener is called on {@code executor}.
     */
    public void setPromptListener(PromptListener listener, Executor executor) throws IdleTuneException {
        if (listener == null) {
            rpc.listen("event.prompt", null);
            return;
        }
        rpc.listen("event.prompt", params -> {
            AnnotationPrompt prompt = prompt(params.optJSONObject("prompt"));
            executor.execute(() -> listener.onPrompt(prompt));
        });
        for (AnnotationPrompt due : prompts()) {
            executor.execute(() -> listener.onPrompt(due));
        }
    }

    /**
     * Who is told how slices go; null for nobody.
     *
     * <p>Threads: any; the listener is called on {@code executor}.
     */
    public void setTrainingListener(TrainingListener listener, Executor executor) {
        if (listener == null) {
            rpc.listen("event.training", null);
            rpc.listen("event.adapter", null);
            return;
        }
        rpc.listen("event.training", told -> executor.execute(() ->
                listener.onProgress(told.optString("stage"), told.optInt("done"), told.optInt("total"))));
        rpc.listen("event.adapter", told -> executor.execute(() ->
                listener.onVerdict(told.optInt("version"), told.optBoolean("promoted"), told.optString("reason"))));
    }

    /**
     * What a person wants to know.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     */
    public Status status() throws IdleTuneException {
        JSONObject all = rpc.call("status", Params.NONE).optJSONObject("runtime");
        if (all == null) {
            throw new NotOpenException("no runtime is open; open one");
        }
        return Status.of(all);
    }

    /**
     * What was learned so far, newest first, rejected versions included.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     */
    public List<AdapterVersion> adapters() throws IdleTuneException {
        JSONArray known = rpc.call("adapters", Params.NONE).optJSONArray("adapters");
        List<AdapterVersion> versions = new ArrayList<>();
        for (int i = 0; known != null && i < known.length(); i++) {
            JSONObject each = known.optJSONObject(i);
            versions.add(new AdapterVersion(each.optInt("version"), each.optString("state"), each.optString("reason")));
        }
        return versions;
    }

    /**
     * Answers with the adapter before the current one.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     *
     * @return the version that answers now; 0 is the base model alone
     * @throws UsageException when the base model answers already
     */
    public int rollback() throws IdleTuneException {
        return rpc.call("rollback", Params.NONE).optInt("serving");
    }

    /**
     * Removes a dialogue set and all that came of it: paraphrases, checkpoints, and adapters that learned from it.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     *
     * @throws UsageException when there is no such dialogue set
     */
    public void forget(long dialogueSetId) throws IdleTuneException {
        rpc.call("forget", Params.of("id", dialogueSetId));
    }

    /**
     * Changes the settings that are set in {@code settings}, and keeps them; the others stay as they are.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     *
     * @return names of those that count from the next {@link #open} only
     * @throws UsageException when a value is out of its range; nothing is changed then
     */
    public List<String> change(Settings settings) throws IdleTuneException {
        JSONArray later = rpc.call("settings", Params.of("values", settings.values())).optJSONArray("at_next_open");
        List<String> names = new ArrayList<>();
        for (int i = 0; later != null && i < later.length(); i++) {
            names.add(later.optString(i));
        }
        return names;
    }

    /**
     * Writes everything that is kept of the user as JSON lines, readable by the app alone, not encrypted.
     *
     * <p>Threads: any.
     *
     * @return lines written
     * @throws UsageException when the file exists
     */
    public int exportMyData(File file) throws IdleTuneException {
        return rpc.call("export_my_data", Params.of("path", file.getPath())).optInt("records");
    }

    /**
     * Stops what runs, closes the runtime and waits for calls that are under way; they throw. A second time it does
     * nothing.
     *
     * <p>Threads: any, but no listener that runs on the caller's own thread.
     */
    @Override
    public void close() {
        rpc.close();
    }

    private interface Chat {
        String answer(Params params) throws IdleTuneException;
    }

    private String answer(String text, Chat chat) throws IdleTuneException {
        Params params = Params.of("text", text);
        boolean begins = fresh.getAndSet(false);
        if (begins) {
            params.and("new_conversation", true);
        }
        boolean answered = false;
        try {
            String answer = chat.answer(params);
            answered = true;
            return answer;
        } finally {
            if (begins && !answered) { // the conversation may not have begun either
                fresh.set(true);
            }
        }
    }

    private void answer(long promptId, String verdict, String text) throws IdleTuneException {
        rpc.call("answer", Params.of("prompt_id", promptId).and("verdict", verdict).and("text", text));
    }

    private static AnnotationPrompt prompt(JSONObject told) {
        return new AnnotationPrompt(
                told.optLong("id"), told.optLong("dialogue_set_id"), told.optString("question"),
                told.optString("response"));
    }

    private static <E extends Enum<E>> E constant(Class<E> kind, String name) {
        return Enum.valueOf(kind, name.toUpperCase(Locale.ROOT));
    }
}
