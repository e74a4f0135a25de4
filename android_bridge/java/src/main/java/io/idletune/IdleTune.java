package io.idletune;

import java.io.Closeable;
import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
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
     * @throws BusyException when several chats of this object wait already
     */
    public String chat(String text) throws IdleTuneException {
        return completion(text, params -> rpc.call("chat", params)).text();
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
        return answer(text, onText).text();
    }

    /**
     * The same, with the answer's id.
     *
     * <p>Threads and errors: as {@link #chat(String, Consumer)}.
     */
    public Completion answer(String text, Consumer<String> onText) throws IdleTuneException {
        return completion(text, params -> new StreamedChat(rpc, "chat", onText).run(params));
    }

    /**
     * Answers the last message once more, so that the user can say which of the two is better. Until then nothing of it
     * is kept, and the conversation goes on with the first answer.
     *
     * <p>Threads and errors: as {@link #chat(String, Consumer)}.
     *
     * @param first the id of the answer that the message got
     * @throws UsageException when nothing was answered yet
     */
    public Completion another(String first, Consumer<String> onText) throws IdleTuneException {
        return Completion.of(new StreamedChat(rpc, "another", onText).run(Params.of("completion", first)));
    }

    /**
     * Answers a conversation that the app holds itself, and lets the buffer look at the exchange. One that comes again
     * with a further message is recognized: nothing is observed twice.
     *
     * <p>Threads and errors: as {@link #chat(String, Consumer)}.
     *
     * @param conversation the last message is the user's
     */
    public Completion complete(List<Turn> conversation, Consumer<String> onText) throws IdleTuneException {
        return Completion.of(
                new StreamedChat(rpc, "complete", onText).run(Params.of("messages", Turn.json(conversation))));
    }

    /**
     * Continues a text as it stands: no chat template, none of the user's answers is shown. Nothing of it is kept.
     *
     * <p>Threads and errors: as {@link #chat(String, Consumer)}.
     */
    public String continueText(String text, Consumer<String> onText) throws IdleTuneException {
        return new StreamedChat(rpc, "continue_text", onText).run(Params.of("text", text)).optString("text");
    }

    /**
     * Answers a message twice, with what was learned and without, each without chance. Nothing of it is kept.
     *
     * <p>Threads: any; waits as {@link #chat} does, and {@link #cancel} ends it.
     */
    public Comparison compare(String text) throws IdleTuneException {
        return Comparison.of(rpc.call("compare", Params.of("text", text)));
    }

    /**
     * Embeddings of texts, of unit length: by them alike texts are found. Nothing of it is kept.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     *
     * @param texts 1 to 64
     */
    public List<float[]> embed(List<String> texts) throws IdleTuneException {
        JSONArray told = rpc.call("embed", Params.of("texts", new JSONArray(texts))).optJSONArray("embeddings");
        List<float[]> embeddings = new ArrayList<>();
        for (int i = 0; told != null && i < told.length(); i++) {
            embeddings.add(floats(told.optJSONArray(i)));
        }
        return embeddings;
    }

    /**
     * The user says what an answer was worth, without having been asked.
     *
     * <p>Threads: any; it is on the disk when this returns, also while a slice runs.
     *
     * @param completion {@link Completion#id} of the answer
     * @return whether its exchange has an answer of the user now
     * @throws UsageException when the answer is not known, or no longer: it was forgotten, or was not kept and is long ago
     */
    public boolean feedback(String completion, Rating rating) throws IdleTuneException {
        return feedback(completion, rating.name().toLowerCase(Locale.ROOT), null);
    }

    /**
     * The user says what would have been a better answer; it is learned from.
     *
     * <p>Threads and errors: as {@link #feedback}.
     */
    public void correct(String completion, String better) throws IdleTuneException {
        feedback(completion, "better", better);
    }

    /**
     * The user found this the better of two answers to one question. It becomes the answer, and
     * trains at the weight choice_weight, 0 as it comes; the other one is kept beside it.
     *
     * <p>Threads and errors: as {@link #feedback}.
     *
     * @param over {@link Completion#id} of the other answer
     */
    public void prefer(String completion, String over) throws IdleTuneException {
        rpc.call("feedback", Params.of("completion", completion).and("verdict", "preferred").and("over", over));
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
     * The id of the session that this object's conversation and questions belong to. It cannot be guessed; whoever is
     * told it can {@link #joinSession join}.
     *
     * <p>Threads: any; returns at once.
     */
    public String session() throws IdleTuneException {
        return rpc.call("session", Params.NONE).optString("session");
    }

    /**
     * Goes on in another session's conversation, e.g. in a second window, or after a restart of the app.
     *
     * <p>Threads: any; returns at once.
     *
     * @param session what {@link #session} of the other one returned
     * @throws UsageException when there is none such, or its place was needed
     */
    public void joinSession(String session) throws IdleTuneException {
        rpc.call("session", Params.of("session", session));
    }

    /**
     * Lets the buffer look at an exchange that another model or a person answered.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     */
    public Observation observe(String question, String response) throws IdleTuneException {
        return observe(question, response, Collections.emptyMap());
    }

    /**
     * The same, with labels of the situation, as {@code {"place": "office"}}: up to 8 short texts. Answers of the same
     * label are preferred where a message finds several.
     *
     * <p>Threads: as {@link #observe(String, String)}.
     *
     * @throws UsageException for too many labels, or long ones
     */
    public Observation observe(String question, String response, Map<String, String> labels)
            throws IdleTuneException {
        JSONObject seen = rpc.call(
                "observe",
                Params.of("question", question).and("response", response).and("labels", labels));
        return new Observation(
                constant(Observation.Action.class, seen.optString("action")), seen.optLong("id"),
                seen.optString("domain"));
    }

    /**
     * The questions to put to the user now: one or none. Over a socket, about this object's session, or about all after
     * {@link #askAboutAllSessions}.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     */
    public List<AnnotationPrompt> prompts() throws IdleTuneException {
        return Json.list(rpc.call("prompts", Params.NONE), "prompts", IdleTune::prompt);
    }

    /**
     * The user says that the response was good, having seen all of it. It is kept and shown, and trains
     * at the weight choice_weight, 0 as it comes.
     *
     * <p>Threads: any; the answer is on the disk when this returns, also while a slice runs.
     *
     * @param shown {@link AnnotationPrompt#shown} of the question as the user saw it
     * @throws UsageException when there is no such question, it was answered already, it was never handed out, or its
     *     texts are not those that were shown
     */
    public void accept(long promptId, String shown) throws IdleTuneException {
        accept(promptId, shown, false);
    }

    /**
     * The same; {@code onNotification} says where the user answered, which is kept ({@link Status#origins}).
     *
     * <p>Threads and errors: as {@link #accept(long, String)}.
     */
    public void accept(long promptId, String shown, boolean onNotification) throws IdleTuneException {
        answer(promptId, shown, "accept", null, onNotification);
    }

    /**
     * The user gives a better response.
     *
     * <p>Threads and errors: as {@link #accept(long, String)}.
     */
    public void edit(long promptId, String shown, String better) throws IdleTuneException {
        edit(promptId, shown, better, false);
    }

    /**
     * The same; {@code onNotification} says where the user answered, which is kept ({@link Status#origins}).
     *
     * <p>Threads and errors: as {@link #accept(long, String)}.
     */
    public void edit(long promptId, String shown, String better, boolean onNotification) throws IdleTuneException {
        answer(promptId, shown, "edit", better, onNotification);
    }

    /**
     * Of a question with two responses, the user found the first one better, having seen both whole. It becomes
     * the answer, and trains at the weight choice_weight, 0 as it comes.
     *
     * <p>Threads and errors: as {@link #accept(long, String)}; {@link UsageException} also where there is one response.
     */
    public void chooseFirst(long promptId, String shown) throws IdleTuneException {
        chooseFirst(promptId, shown, false);
    }

    /**
     * The same; {@code onNotification} says where the user answered, which is kept ({@link Status#origins}).
     *
     * <p>Threads and errors: as {@link #chooseFirst(long, String)}.
     */
    public void chooseFirst(long promptId, String shown, boolean onNotification) throws IdleTuneException {
        answer(promptId, shown, "first", null, onNotification);
    }

    /**
     * The user found the second one better.
     *
     * <p>Threads and errors: as {@link #chooseFirst(long, String)}.
     */
    public void chooseSecond(long promptId, String shown) throws IdleTuneException {
        chooseSecond(promptId, shown, false);
    }

    /**
     * The same; {@code onNotification} says where the user answered, which is kept ({@link Status#origins}).
     *
     * <p>Threads and errors: as {@link #chooseFirst(long, String)}.
     */
    public void chooseSecond(long promptId, String shown, boolean onNotification) throws IdleTuneException {
        answer(promptId, shown, "second", null, onNotification);
    }

    /**
     * The user does not answer.
     *
     * <p>Threads and errors: as {@link #accept(long, String)}.
     */
    public void dismiss(long promptId, String shown) throws IdleTuneException {
        answer(promptId, shown, "dismiss", null, false);
    }

    /**
     * The user does not want to be asked about this at all.
     *
     * <p>Threads and errors: as {@link #accept(long, String)}.
     */
    public void neverAsk(long promptId, String shown) throws IdleTuneException {
        answer(promptId, shown, "never_ask", null, false);
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
     * Begins to learn because the user asked to, whatever the hour and the device's state. It goes on after this call,
     * lets every chat go first, and ends with a verdict or by {@link #stop}; {@link TrainingListener#onEnd} tells that,
     * and that too little was answered to learn from.
     *
     * <p>Threads: any; returns at once.
     *
     * @throws BusyException when it learns already
     */
    public void learnNow() throws IdleTuneException {
        rpc.call("learn", Params.NONE);
    }

    /**
     * Why it learns by itself at this moment, or does not.
     *
     * <p>Threads: any; returns within a second, also while a slice runs.
     */
    public LearningState learning() throws IdleTuneException {
        return LearningState.of(rpc.call("learning", Params.NONE));
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
     * Asks this object's chats and the slice to stop.
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
            rpc.listen("event.prompt_dismissed", null);
            return;
        }
        rpc.listen("event.prompt_dismissed", params -> {
            long id = params.optLong("prompt_id");
            executor.execute(() -> listener.onDismissed(id));
        });
        rpc.listen("event.prompt", params -> {
            AnnotationPrompt prompt = prompt(params.optJSONObject("prompt"));
            executor.execute(() -> listener.onPrompt(prompt));
        });
        for (AnnotationPrompt due : prompts()) {
            executor.execute(() -> listener.onPrompt(due));
        }
    }

    /**
     * Takes the questions about all sessions, also those of apps that have gone: for the app that asks the user. In the
     * runtime's own process this is so already.
     *
     * <p>Threads: any; returns at once.
     */
    public void askAboutAllSessions() throws IdleTuneException {
        rpc.call("subscribe", Params.of("prompts", "all"));
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
            rpc.listen("event.learning", null);
            return;
        }
        rpc.listen("event.training", told -> executor.execute(() ->
                listener.onProgress(told.optString("stage"), told.optInt("done"), told.optInt("total"))));
        rpc.listen("event.adapter", told -> executor.execute(() ->
                listener.onVerdict(told.optInt("version"), told.optBoolean("promoted"), told.optString("reason"))));
        rpc.listen("event.learning", told -> executor.execute(() ->
                listener.onEnd(told.optString("outcome"), told.optString("reason"))));
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
        return Json.list(rpc.call("adapters", Params.NONE), "adapters", AdapterVersion::of);
    }

    /**
     * Answers with an adapter that was held back ({@link Status#heldBack}), once the user has looked at it.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     *
     * @throws UsageException when this version does not wait for that
     */
    public void promote(int version) throws IdleTuneException {
        rpc.call("promote", Params.of("version", version));
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
     * Removes a dialogue set and all that came of it: paraphrases, checkpoints, adapters that learned from it, and
     * replies written from it. Conversations begin anew; questions about what went are told as dismissed.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     *
     * @throws UsageException when there is no such dialogue set
     */
    public Forgotten forget(long dialogueSetId) throws IdleTuneException {
        return forget(dialogueSetId, Forgotten.Descendants.ALL);
    }

    /**
     * The same, and which of the replies that came of it go.
     *
     * <p>Threads and errors: as {@link #forget(long)}.
     */
    public Forgotten forget(long dialogueSetId, Forgotten.Descendants descendants) throws IdleTuneException {
        return Forgotten.of(rpc.call(
                "forget", Params.of("id", dialogueSetId).and("descendants", descendants.word())));
    }

    /**
     * What {@link #forget(long, Forgotten.Descendants)} would take; nothing is changed.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     *
     * @throws UsageException when there is no such dialogue set
     */
    public Forgotten previewForget(long dialogueSetId, Forgotten.Descendants descendants) throws IdleTuneException {
        return Forgotten.of(rpc.call(
                "forget",
                Params.of("id", dialogueSetId).and("descendants", descendants.word()).and("dry_run", true)));
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
        return Json.texts(rpc.call("settings", Params.of("values", settings.values())), "at_next_open");
    }

    /**
     * Every setting with its value and its help, for a page of settings.
     *
     * <p>Threads: any; returns at once, also while a slice runs.
     */
    public List<SettingInfo> describeSettings() throws IdleTuneException {
        return Json.list(rpc.call("describe_settings", Params.NONE), "settings", SettingInfo::of);
    }

    /**
     * The base model in use, and whether it can learn here.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     */
    public ModelInfo model() throws IdleTuneException {
        return ModelInfo.of(rpc.call("model", Params.NONE));
    }

    /**
     * Tries what learning takes on this device, in a few real training steps.
     *
     * <p>Threads: a worker; takes seconds, in which calls that need the model wait.
     */
    public ModelCheck check() throws IdleTuneException {
        return ModelCheck.of(rpc.call("check", Params.NONE).optJSONObject("report"));
    }

    /** The version of the runtime. */
    public String version() throws IdleTuneException {
        return rpc.call("version", Params.NONE).optString("idletune");
    }

    /** What is kept to learn from: to look through, and to forget several at once. */
    public Kept kept() {
        return new Kept(rpc);
    }

    /** Conversations that other programs exported. */
    public Imports imports() {
        return new Imports(rpc);
    }

    /** Learning together with other devices. */
    public Fleet fleet() {
        return new Fleet(rpc);
    }

    /**
     * Erases everything that is kept of the user, for good; nothing is open afterwards. Only in the runtime's own
     * process.
     *
     * <p>Threads: any; waits as {@link #chat} does.
     *
     * @return how many files were erased
     * @throws UsageException over a socket
     */
    public int erase() throws IdleTuneException {
        return rpc.call("erase", Params.of("confirm", "erase")).optInt("files");
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
     * Imports the conversations that another program exported; their responses count as the user's own answers.
     *
     * <p>Threads and errors: as {@link Imports#take}.
     *
     * @param me the user's name in a WhatsApp chat, otherwise null
     * @return how many exchanges of the file are kept
     */
    public int importConversations(File file, String me) throws IdleTuneException {
        return imports().take(file, me, Imports.Mode.ANSWERS, null).kept();
    }

    /**
     * Writes the user's answers in OpenAI's fine-tuning format, readable by the app alone, not encrypted.
     *
     * <p>Threads: any.
     *
     * @return answers written
     * @throws UsageException when the file exists
     */
    public int exportAnswers(File file) throws IdleTuneException {
        return rpc.call("export_answers", Params.of("path", file.getPath())).optInt("answers");
    }

    /**
     * Writes the adapter that answers in a form that other programs read, not encrypted: a GGUF where the name ends in
     * {@code .gguf}, otherwise a folder for PEFT.
     *
     * <p>Threads: any.
     *
     * @return the version that was written
     * @throws UsageException when the file exists, or the base model alone answers
     */
    public int exportAdapter(File file) throws IdleTuneException {
        return rpc.call("export_adapter", Params.of("path", file.getPath())).optInt("version");
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
        JSONObject answer(Params params) throws IdleTuneException;
    }

    private Completion completion(String text, Chat chat) throws IdleTuneException {
        Params params = Params.of("text", text);
        boolean begins = fresh.getAndSet(false);
        if (begins) {
            params.and("new_conversation", true);
        }
        boolean answered = false;
        try {
            JSONObject answer = chat.answer(params);
            answered = true;
            return Completion.of(answer);
        } finally {
            if (begins && !answered) { // the conversation may not have begun either
                fresh.set(true);
            }
        }
    }

    private void answer(long promptId, String shown, String verdict, String text, boolean onNotification)
            throws IdleTuneException {
        rpc.call("answer", Params.of("prompt_id", promptId).and("shown", shown).and("verdict", verdict)
                .and("text", text).and("notification", onNotification));
    }

    private boolean feedback(String completion, String verdict, String better) throws IdleTuneException {
        return rpc.call("feedback", Params.of("completion", completion).and("verdict", verdict).and("text", better))
                .optBoolean("answered");
    }

    private static float[] floats(JSONArray told) {
        float[] values = new float[told == null ? 0 : told.length()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) told.optDouble(i);
        }
        return values;
    }

    private static AnnotationPrompt prompt(JSONObject told) {
        return new AnnotationPrompt(
                told.optLong("id"), told.optLong("dialogue_set_id"), told.optString("question"),
                told.optString("response"), Json.text(told, "second"), told.optString("shown"));
    }

    private static <E extends Enum<E>> E constant(Class<E> kind, String name) {
        return Enum.valueOf(kind, name.toUpperCase(Locale.ROOT));
    }
}
