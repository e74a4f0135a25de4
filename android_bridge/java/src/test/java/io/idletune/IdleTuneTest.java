package io.idletune;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNotEquals;
import static org.junit.Assert.assertSame;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.File;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.After;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** Every method through JNI, C and Python, on a tiny random model. */
public class IdleTuneTest {
    private static final int SECONDS = 480;
    private static final int MOST_TRIES = 20;
    private static final Settings TALKATIVE = Settings.builder().set("reply_tokens", 900).set("seed", 3).build();
    private static final String DOG = "a dog \uD83D\uDC15, a zero \u0000, an umlaut \u00e4";

    @Rule public final TemporaryFolder folder = new TemporaryFolder();

    private final ExecutorService threads = Executors.newCachedThreadPool();
    private File home;
    private IdleTune idleTune;

    @Before
    public void open() throws Exception {
        home = new File(folder.getRoot(), "home");
        idleTune = Given.tiny(home, Given.settings().build());
    }

    @After
    public void close() {
        idleTune.close();
        threads.shutdownNow();
    }

    @Test
    public void theStreamedPiecesMakeUpTheAnswerAndComeOnTheCallersThread() throws Exception {
        List<String> pieces = new ArrayList<>();
        String answer = idleTune.chat("where is bread?", piece -> {
            assertSame(Thread.class, Thread.currentThread().getClass());
            assertFalse(Thread.currentThread().getName().startsWith("idletune"));
            pieces.add(piece);
        });
        assertEquals(answer, String.join("", pieces));
        assertFalse(answer.isEmpty());
    }

    @Test
    public void theSameConversationIsAnsweredTheSameAgain() throws Exception {
        idleTune.change(Settings.builder().set("temperature", 0.0).build());
        String first = idleTune.chat("one");
        String second = idleTune.chat("two");
        idleTune.newConversation();
        assertEquals(first, idleTune.chat("one"));
        assertEquals(second, idleTune.chat("two"));
    }

    @Test
    public void aMessageThatIsRefusedBeginsNoConversation() throws Exception {
        idleTune.change(Settings.builder().set("temperature", 0.0).build());
        String first = idleTune.chat("one");
        assertNotEquals(first, idleTune.chat("one"));
        idleTune.newConversation();
        assertThrows(UsageException.class, () -> idleTune.chat(null));
        assertEquals(first, idleTune.chat("one"));
    }

    @Test
    public void aListenerThatFailsIsToldTheNextEventToo() throws Exception {
        BlockingQueue<String> told = new LinkedBlockingQueue<>();
        idleTune.setPromptListener(prompt -> {
            told.add(prompt.question());
            throw new IllegalStateException("the listener's own fault");
        }, Runnable::run);
        for (int i = 0; i < 2; i++) {
            idleTune.observe("question " + i, "a reply");
            assertEquals("question " + i, told.poll(SECONDS, TimeUnit.SECONDS));
            AnnotationPrompt due = idleTune.prompts().get(0);
            idleTune.dismiss(due.id(), due.shown());
        }
    }

    @Test
    public void anExceptionOfTheCallersCancelsItsChat() throws Exception {
        idleTune.change(TALKATIVE);
        IllegalStateException own = new IllegalStateException("the caller's own");
        int chats = 0;
        do { // on a busy machine the tiny model may be through before its first piece is here
            String text = "talk for ever " + chats++;
            assertSame(own, assertThrows(IllegalStateException.class, () -> idleTune.chat(text, piece -> {
                throw own;
            })));
            idleTune.newConversation();
            idleTune.change(TALKATIVE); // waits for the chat's end
        } while (idleTune.status().kept() == chats && chats < MOST_TRIES);
        assertTrue("all were kept, so none was cancelled", idleTune.status().kept() < chats);
    }

    @Test
    public void everyCharacterArrives() throws Exception {
        Observation seen = idleTune.observe(DOG, "a reply");
        assertEquals(Observation.Action.KEPT, seen.action());
        AnnotationPrompt prompt = idleTune.prompts().get(0);
        assertEquals(DOG, prompt.question());
        assertEquals(seen.dialogueSetId(), prompt.dialogueSetId());
        idleTune.edit(prompt.id(), prompt.shown(), "better: " + DOG);
        File mine = new File(folder.getRoot(), "mine.jsonl");
        assertTrue(idleTune.exportMyData(mine) > 0);
        String exported = new String(Files.readAllBytes(mine.toPath()), "UTF-8");
        assertTrue(exported, exported.contains("better: a dog"));
    }

    @Test
    public void conversationsComeInAndAnswersGoOut() throws Exception {
        File talk = new File(folder.getRoot(), "chat.txt");
        String chat = "12/03/22, 14:08 - Anna: Open today?\n12/03/22, 14:09 - Ben: Until six\n";
        Files.write(talk.toPath(), chat.getBytes("UTF-8"));
        assertThrows(UsageException.class, () -> idleTune.importConversations(talk, null));
        assertEquals(1, idleTune.importConversations(talk, "Ben"));
        assertEquals("nothing is taken twice", 0, idleTune.importConversations(talk, "Ben"));
        File answers = new File(folder.getRoot(), "answers.jsonl");
        assertEquals(1, idleTune.exportAnswers(answers));
        assertTrue(new String(Files.readAllBytes(answers.toPath()), "UTF-8").contains("Until six"));
    }

    @Test
    public void anAnswerIsRatedByItsId() throws Exception {
        Completion answer = idleTune.answer("where is bread?", piece -> { });
        assertTrue(idleTune.feedback(answer.id(), Rating.UP));
        assertTrue(idleTune.prompts().isEmpty());
        assertFalse(idleTune.feedback(answer.id(), Rating.DOWN));
        assertEquals("where is bread?", idleTune.prompts().get(0).question());
        idleTune.correct(answer.id(), "on the table");
        assertTrue(idleTune.prompts().isEmpty());
        File mine = new File(folder.getRoot(), "rated.jsonl");
        idleTune.exportMyData(mine);
        assertTrue(new String(Files.readAllBytes(mine.toPath()), "UTF-8").contains("on the table"));
        assertThrows(UsageException.class, () -> idleTune.feedback("chatcmpl-guessed", Rating.UP));
        assertThrows(UsageException.class, () -> idleTune.correct(answer.id(), " "));
    }

    @Test
    public void aQuestionIsToldOnTheExecutorGiven() throws Exception {
        BlockingQueue<String> told = new LinkedBlockingQueue<>();
        ExecutorService mine = Executors.newSingleThreadExecutor(work -> new Thread(work, "mine"));
        idleTune.setPromptListener(
                prompt -> told.add(Thread.currentThread().getName() + ": " + prompt.question()), mine);
        idleTune.observe("what is bread?", "a loaf");
        assertEquals("mine: what is bread?", told.poll(SECONDS, TimeUnit.SECONDS));
        idleTune.setPromptListener(null, null);
        BlockingQueue<String> late = new LinkedBlockingQueue<>();
        idleTune.setPromptListener(prompt -> late.add(prompt.question()), Runnable::run);
        assertEquals("one that is due is told at once", "what is bread?", late.poll());
        mine.shutdown();
    }

    @Test
    public void forgettingNamesWhatWentAndItsQuestionIsDismissed() throws Exception {
        BlockingQueue<Long> dismissed = new LinkedBlockingQueue<>();
        idleTune.setPromptListener(new PromptListener() {
            @Override
            public void onPrompt(AnnotationPrompt prompt) {}

            @Override
            public void onDismissed(long promptId) {
                dismissed.add(promptId);
            }
        }, Runnable::run);
        long id = idleTune.observe("what is bread?", "a loaf").dialogueSetId();
        AnnotationPrompt due = idleTune.prompts().get(0);
        File export = new File(folder.getRoot(), "mine.jsonl");
        idleTune.exportMyData(export);
        Forgotten planned = idleTune.previewForget(id, Forgotten.Descendants.ALL);
        assertEquals(Arrays.asList(id), planned.sets());
        assertEquals(1, idleTune.prompts().size());
        Forgotten gone = idleTune.forget(id);
        assertEquals(planned.toString(), gone.toString());
        assertEquals(Arrays.asList(export.getPath()), gone.copies());
        assertTrue(gone.replies().isEmpty() && gone.adapters().isEmpty());
        assertEquals((Long) due.id(), dismissed.poll(SECONDS, TimeUnit.SECONDS));
    }

    @Test
    public void anExchangeLargerThanABinIsAnsweredAndTheStatusSaysThatItIsNotKept() throws Exception {
        idleTune.change(Settings.builder().set("bin_bytes", 1024).set("seed", 3).build());
        assertFalse(idleTune.chat("bread ".repeat(120)).isEmpty());
        String why = idleTune.status().unobserved();
        assertTrue(why, why.contains("more than the 1024 bytes of a bin"));
        idleTune.newConversation();
        idleTune.chat("hello");
        assertEquals("", idleTune.status().unobserved());
    }

    @Test
    public void theFourAnswers() throws Exception {
        for (int i = 0; i < 4; i++) {
            idleTune.observe("question " + i, "a reply");
        }
        AnnotationPrompt first = idleTune.prompts().get(0);
        assertThrows(UsageException.class, () -> idleTune.accept(first.id(), "another text"));
        assertThrows("not handed out yet", UsageException.class, () -> idleTune.accept(first.id() - 1, first.shown()));
        idleTune.accept(first.id(), first.shown());
        AnnotationPrompt second = idleTune.prompts().get(0);
        idleTune.edit(second.id(), second.shown(), "better");
        AnnotationPrompt third = idleTune.prompts().get(0);
        idleTune.dismiss(third.id(), third.shown());
        AnnotationPrompt last = idleTune.prompts().get(0);
        idleTune.neverAsk(last.id(), last.shown());
        assertTrue(idleTune.prompts().isEmpty());
        Status status = idleTune.status();
        assertEquals("two responses", 2, status.answered());
        assertEquals(0, status.waiting());
        assertEquals(0, status.adapter());
        UsageException again = assertThrows(UsageException.class, () -> idleTune.accept(last.id(), last.shown()));
        assertTrue(again.getMessage(), again.getMessage().contains(Long.toString(last.id())));
    }

    @Test
    public void itLearnsIsStoppedGoesOnAndIsTakenBack() throws Exception {
        endlessTraining();
        CountDownLatch training = new CountDownLatch(1);
        BlockingQueue<String> verdicts = new LinkedBlockingQueue<>();
        idleTune.setTrainingListener(new TrainingListener() {
            @Override public void onProgress(String stage, int done, int total) {
                if (stage.equals("training")) {
                    training.countDown();
                }
            }

            @Override public void onVerdict(int version, boolean promoted, String reason) {
                verdicts.add(version + " " + promoted);
            }
        }, threads);
        Future<TrainingOutcome> slice = threads.submit(() -> idleTune.tick(480));
        assertTrue(training.await(SECONDS, TimeUnit.SECONDS));
        assertTrue(idleTune.stop());
        TrainingOutcome stopped = slice.get(SECONDS, TimeUnit.SECONDS);
        assertEquals(TrainingOutcome.Kind.STOPPED, stopped.kind());
        assertTrue(stopped.more() && stopped.seconds() > 0);
        assertFalse("nothing runs", idleTune.stop());

        idleTune.change(Settings.builder().set("epochs", 60).build());
        TrainingOutcome done;
        do { // on a busy machine a slice may take longer than a state of the device is believed
            idleTune.deviceState(Given.CHARGING);
            done = idleTune.tick(480);
        } while (done.kind() == TrainingOutcome.Kind.STOPPED);
        assertEquals(TrainingOutcome.Kind.PROMOTED, done.kind());
        assertEquals("1 true", verdicts.poll(SECONDS, TimeUnit.SECONDS));
        Status status = idleTune.status();
        assertEquals(1, status.adapter());
        assertEquals(Map.of("app, observed, answered: app", 1.0), status.origins());
        assertEquals(0, status.heldBack());
        assertEquals("", status.dropped());
        assertThrows("none waits", UsageException.class, () -> idleTune.promote(1));
        assertEquals(1, idleTune.adapters().get(0).version());
        assertEquals(0, idleTune.rollback());
        assertEquals(0, idleTune.status().adapter());
    }

    @Test
    public void withoutAStateOfTheDeviceItDoesNotLearn() throws Exception {
        Given.answerSome(idleTune, 8, "aaaa");
        TrainingOutcome outcome = idleTune.tick(1);
        assertEquals(TrainingOutcome.Kind.NOT_NOW, outcome.kind());
        assertFalse(outcome.reason().isEmpty());
        assertEquals(outcome.reason(), idleTune.status().reason());
        assertFalse(idleTune.status().mayLearn());
    }

    @Test
    public void eightThreadsCallWhileItLearnsAndAMessageGoesFirst() throws Exception {
        endlessTraining();
        Future<TrainingOutcome> slice = threads.submit(() -> idleTune.tick(480));
        List<Future<Integer>> callers = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            callers.add(threads.submit(() -> {
                int calls = 0;
                for (; calls < 100; calls++) {
                    idleTune.deviceState(Given.CHARGING);
                    idleTune.prompts();
                    idleTune.adapters();
                    assertTrue(idleTune.status().bins() > 0);
                }
                return calls;
            }));
        }
        for (Future<Integer> caller : callers) {
            assertEquals(100, (int) caller.get(SECONDS, TimeUnit.SECONDS));
        }
        assertFalse("it still learns", slice.isDone());
        assertThrows(BusyException.class, () -> idleTune.tick(1));
        assertFalse(idleTune.chat("hello").isEmpty());
        assertEquals(TrainingOutcome.Kind.STOPPED, slice.get(SECONDS, TimeUnit.SECONDS).kind());
    }

    @Test
    public void closingEndsWhatRuns() throws Exception {
        endlessTraining();
        CountDownLatch begun = new CountDownLatch(1);
        idleTune.setTrainingListener((stage, done, total) -> begun.countDown(), threads);
        Future<TrainingOutcome> slice = threads.submit(() -> idleTune.tick(480));
        assertTrue(begun.await(SECONDS, TimeUnit.SECONDS));
        idleTune.close();
        assertEquals(TrainingOutcome.Kind.STOPPED, slice.get(SECONDS, TimeUnit.SECONDS).kind());
        idleTune.close();
        assertThrows(UsageException.class, () -> idleTune.status());
        try (IdleTune again = Given.tiny(home, Given.settings().build())) {
            assertEquals("nothing is lost", 8, again.status().answered());
        }
    }

    @Test
    public void aChatIsCancelled() throws Exception {
        idleTune.change(TALKATIVE);
        Object end;
        int chats = 0;
        do { // on a busy machine the tiny model may be through before the cancellation comes
            CountDownLatch begun = new CountDownLatch(1);
            String text = "talk for ever " + chats++;
            Future<String> chat = threads.submit(() -> idleTune.chat(text, piece -> begun.countDown()));
            assertTrue(begun.await(SECONDS, TimeUnit.SECONDS));
            idleTune.cancel();
            end = endOf(chat);
        } while (end instanceof String && chats < MOST_TRIES);
        assertSame(CancelledException.class, end);
    }

    /** The answer, or the class of the exception. */
    private static Object endOf(Future<String> chat) throws Exception {
        try {
            return chat.get(SECONDS, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            return e.getCause().getClass();
        }
    }

    @Test
    public void anInterruptCancelsAStreamedChat() throws Exception {
        idleTune.change(TALKATIVE);
        BlockingQueue<Object> ends = new LinkedBlockingQueue<>();
        Object end;
        int chats = 0;
        do { // as above
            String text = "talk for ever " + chats++;
            Thread chat = new Thread(() -> {
                try {
                    ends.add(idleTune.chat(text, piece -> Thread.currentThread().interrupt()));
                } catch (IdleTuneException e) {
                    ends.add(e.getClass());
                    ends.add(Thread.interrupted());
                }
            });
            chat.start();
            end = ends.poll(SECONDS, TimeUnit.SECONDS);
        } while (end instanceof String && chats < MOST_TRIES);
        assertSame(CancelledException.class, end);
        assertEquals("the thread still knows", true, ends.poll(SECONDS, TimeUnit.SECONDS));
    }

    @Test
    public void wrongUseIsToldInWords() throws Exception {
        char[] many = new char[10_000_000];
        Arrays.fill(many, 'a');
        assertThrows(UsageException.class, () -> idleTune.chat(new String(many)));
        assertThrows(UsageException.class, () -> idleTune.chat(new String(new char[17 << 20])));
        assertThrows(UsageException.class, () -> idleTune.chat(""));
        assertThrows(UsageException.class, () -> idleTune.chat(null));
        assertThrows(UsageException.class, () -> idleTune.forget(999));
        assertThrows(UsageException.class, () -> idleTune.tick(0));
        UsageException open = assertThrows(
                UsageException.class, () -> IdleTune.open(new File("/none"), home, Given.settings().build()));
        assertTrue(open.getMessage(), open.getMessage().contains("/none"));
        UsageException setting = assertThrows(
                UsageException.class, () -> idleTune.change(Settings.builder().set("colour", "red").build()));
        assertTrue(setting.getMessage(), setting.getMessage().contains("colour"));
    }

    @Test
    public void anEncryptedHomeOpensWithItsKeyAlone() throws Exception {
        byte[] key = new byte[32];
        Arrays.fill(key, (byte) 7);
        File encrypted = new File(folder.getRoot(), "encrypted");
        try (IdleTune first = Given.tiny(encrypted, Given.settings().key(key).build())) {
            first.observe("a secret question", "a reply");
        }
        key[0] = 8;
        assertThrows(UsageException.class, () -> Given.tiny(encrypted, Given.settings().key(key).build()));
        assertThrows(UsageException.class, () -> Given.tiny(encrypted, Given.settings().build()));
        key[0] = 7;
        try (IdleTune again = Given.tiny(encrypted, Given.settings().key(key).build())) {
            assertEquals("a secret question", again.prompts().get(0).question());
        }
    }

    @Test
    public void damagedDataIsItsOwnKind() throws Exception {
        File model = folder.newFile("broken.gguf");
        Files.write(model.toPath(), new byte[] {'G', 'G', 'U', 'F', 3, 0, 0, 0, 1});
        File other = new File(folder.getRoot(), "other");
        assertThrows(DamagedDataException.class, () -> IdleTune.open(model, other, Given.settings().build()));
    }

    private void endlessTraining() throws IdleTuneException {
        Given.answerSome(idleTune, 8, "aaaa aaaa aaaa");
        idleTune.change(Settings.builder().set("epochs", 10_000).build());
        idleTune.deviceState(Given.CHARGING);
    }
}
