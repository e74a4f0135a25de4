package io.idletune;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNotEquals;
import static org.junit.Assert.assertNotNull;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.File;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.After;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** What the page of the web server can do, an app can do: on a tiny random model, through JNI, C and Python. */
public class PageMethodsTest {
    private static final int SECONDS = 480;

    @Rule public final TemporaryFolder folder = new TemporaryFolder();

    private IdleTune idleTune;

    @Before
    public void open() throws Exception {
        idleTune = Given.tiny(new File(folder.getRoot(), "home"), Given.settings().set("temperature", 0.0).build());
    }

    @After
    public void close() {
        idleTune.close();
    }

    @Test
    public void aConversationOfTheAppsOwnIsAnsweredAndObservedOnce() throws Exception {
        List<String> pieces = new ArrayList<>();
        List<Turn> turns = new ArrayList<>(Arrays.asList(Turn.system("Be short."), Turn.user("where is bread?")));
        Completion answer = idleTune.complete(turns, pieces::add);
        assertTrue(String.join("", pieces).contains(answer.text())); // which has no spaces around it
        assertFalse(answer.text().isEmpty());
        assertEquals("", answer.thoughts());
        assertEquals(answer.text(), idleTune.complete(turns, piece -> { }).text());
        assertEquals(1, idleTune.status().kept());
        assertTrue(idleTune.feedback(answer.id(), Rating.UP));
        turns.add(Turn.assistant(answer.text()));
        assertThrows(UsageException.class, () -> idleTune.complete(turns, piece -> { }));
    }

    @Test
    public void theBetterOfTwoAnswersIsKept() throws Exception {
        List<Turn> asked = Collections.singletonList(Turn.user("where is bread?"));
        Completion first = idleTune.complete(asked, piece -> { });
        idleTune.change(Settings.builder().set("temperature", 2.0).build());
        Completion second = idleTune.complete(asked, piece -> { });
        assertNotEquals(first.text(), second.text());
        idleTune.prefer(second.id(), first.id());
        assertEquals(second.text(), idleTune.kept().find("", Kept.Which.ANSWERED, 0, 1).sets().get(0).response());
        assertThrows(UsageException.class, () -> idleTune.prefer(second.id(), "chatcmpl-guessed"));
    }

    @Test
    public void aQuestionOffersTwoResponsesWhereThatIsWanted() throws Exception {
        idleTune.observe("where is bread?", "a reply");
        idleTune.observe("where is butter?", "another reply");
        idleTune.change(Settings.builder().set("ask_choices", 1.0).set("temperature", 2.0).build());
        idleTune.deviceState(Given.CHARGING);
        assertEquals(TrainingOutcome.Kind.REFRESHED, idleTune.tick(480).kind());
        AnnotationPrompt put = idleTune.prompts().get(0); // at once: too early for a second response
        assertNull(put.second());
        assertThrows(UsageException.class, () -> idleTune.chooseFirst(put.id(), put.shown()));
        idleTune.dismiss(put.id(), put.shown());
        AnnotationPrompt asked = idleTune.prompts().get(0);
        assertNotNull(asked.second());
        assertNotEquals(asked.response(), asked.second());
        assertThrows(UsageException.class, () -> idleTune.chooseSecond(asked.id(), "another text"));
        idleTune.chooseSecond(asked.id(), asked.shown());
        assertEquals(asked.second(), idleTune.kept().find("", Kept.Which.ANSWERED, 0, 1).sets().get(0).response());
        assertTrue(idleTune.prompts().isEmpty());
    }

    @Test
    public void theBetterOfTwoAnswersToAMessageIsLearned() throws Exception {
        assertThrows(UsageException.class, () -> idleTune.another("chatcmpl-guessed", piece -> { }));
        Completion first = idleTune.answer("hello bread", piece -> { });
        Completion second = idleTune.another(first.id(), piece -> { });
        assertNotEquals(first.id(), second.id());
        Observation seen =
                idleTune.observe("where is the lift?", "there", Collections.singletonMap("place", "office"));
        assertEquals(2, seen.dialogueSetId());
    }

    @Test
    public void aTextIsContinuedAndNothingOfItIsKept() throws Exception {
        List<String> pieces = new ArrayList<>();
        String text = idleTune.continueText("and then", pieces::add);
        assertEquals(text, String.join("", pieces));
        assertEquals(0, idleTune.status().kept());
        List<float[]> embedded = idleTune.embed(Arrays.asList("bread", "butter"));
        assertEquals(2, embedded.size());
        double square = 0;
        for (float value : embedded.get(0)) {
            square += value * value;
        }
        assertEquals(1, square, 1e-4);
    }

    @Test
    public void whatIsKeptIsFoundAndForgotten() throws Exception {
        Given.answerSome(idleTune, 3, "aaaa aaaa");
        idleTune.observe("what is a bun?", "a small loaf");
        Kept kept = idleTune.kept();
        KeptSets all = kept.find("", Kept.Which.ALL, 0, 2);
        assertEquals(4, all.found());
        assertEquals(4, all.ids().size());
        assertEquals(2, all.sets().size());
        assertEquals(3, all.answered());
        assertEquals(0, all.learned());
        assertEquals(4, all.domains().values().stream().mapToInt(Integer::intValue).sum());
        KeptSet newest = all.sets().get(0);
        assertEquals("what is a bun?", newest.question());
        assertEquals("a small loaf", newest.reply());
        assertNull(newest.response());
        assertTrue(newest.created() > 1e9);
        KeptSets numbered = kept.find("number 1", Kept.Which.ANSWERED, 0, 10);
        assertEquals("aaaa aaaa", numbered.sets().get(0).response());
        List<Long> ids = Arrays.asList(newest.id(), numbered.ids().get(0));
        assertEquals(2, kept.previewForget(ids, Forgotten.Descendants.ALL).sets().size());
        assertEquals(2, kept.forget(ids, Forgotten.Descendants.ALL).sets().size());
        assertEquals(2, kept.find("", Kept.Which.ALL, 0, 1).total());
        assertThrows(UsageException.class, () -> kept.forget(ids, Forgotten.Descendants.ALL));
    }

    @Test
    public void whereCopiesWereWrittenIsKnownAndForgotten() throws Exception {
        idleTune.observe("what is a bun?", "a small loaf");
        File mine = new File(folder.getRoot(), "mine.jsonl");
        idleTune.exportMyData(mine);
        assertEquals(Collections.singletonList(mine.getPath()), idleTune.kept().copies());
        idleTune.kept().eraseRecordOfCopies();
        assertTrue(idleTune.kept().copies().isEmpty());
    }

    @Test
    public void aFileIsLookedAtImportedAndForgottenAsAWhole() throws Exception {
        File talk = new File(folder.getRoot(), "chat.txt");
        String chat = "12/03/22, 14:08 - Anna: Open today?\n12/03/22, 14:09 - Ben: Until six\n";
        Files.write(talk.toPath(), chat.getBytes("UTF-8"));
        Imports imports = idleTune.imports();
        assertEquals(Arrays.asList("Anna", "Ben"), imports.preview(talk, null).people());
        ImportPreview preview = imports.preview(talk, "Ben");
        assertEquals(1, preview.exchanges());
        assertEquals(1, preview.toRead());
        assertEquals(Collections.singletonList("Open today?\nUntil six"), preview.examples());
        assertTrue(preview.first() > 1e9);
        List<String> progress = Collections.synchronizedList(new ArrayList<>());
        ImportRecord taken = imports.take(talk, "Ben", Imports.Mode.STREAM, (done, total) -> progress.add(done + "/" + total));
        assertEquals(1, taken.kept());
        assertEquals("as a stream it is not answered", 0, idleTune.status().answered());
        assertEquals("chat.txt", imports.all().get(0).name());
        assertEquals(1, imports.previewForget(taken.id(), Forgotten.Descendants.ALL).sets().size());
        imports.forget(taken.id(), Forgotten.Descendants.ALL);
        assertTrue(imports.all().isEmpty());
        assertEquals(0, idleTune.status().kept());
    }

    @Test
    public void itLearnsNowTellsTheEndIsComparedAndExported() throws Exception {
        BlockingQueue<String> ends = new LinkedBlockingQueue<>();
        idleTune.setTrainingListener(new TrainingListener() {
            @Override public void onProgress(String stage, int done, int total) { }

            @Override public void onEnd(String outcome, String reason) {
                ends.add(outcome + ": " + reason);
            }
        }, Runnable::run);
        idleTune.learnNow();
        String tooFew = ends.poll(SECONDS, TimeUnit.SECONDS);
        assertTrue(tooFew, tooFew.startsWith("failed: 0 answered dialogue sets"));
        assertThrows(UsageException.class, () -> idleTune.exportAdapter(new File(folder.getRoot(), "x.gguf")));
        Given.answerSome(idleTune, 8, "aaaa aaaa aaaa");
        idleTune.change(Settings.builder().set("epochs", 60).build());
        LearningState before = idleTune.learning();
        assertFalse(before.running() || before.unfinished());
        assertEquals("nobody told the device's state", null, condition(before, "plugged").met());
        assertEquals(true, condition(before, "nothing").met());
        idleTune.learnNow();
        String end = ends.poll(SECONDS, TimeUnit.SECONDS);
        assertTrue(end, end.startsWith("promoted: "));
        Comparison both = idleTune.compare("question number 1 about bread");
        assertEquals(1, both.adapter());
        assertTrue(both.shown() > 0);
        assertNotEquals(both.base(), both.learned());
        File adapter = new File(folder.getRoot(), "mine.gguf");
        assertEquals(1, idleTune.exportAdapter(adapter));
        assertTrue(adapter.length() > 1000);
        assertEquals(1, idleTune.kept().find("number 1", Kept.Which.ALL, 0, 1).sets().get(0).learnedIn());
    }

    private static LearningState.Condition condition(LearningState state, String code) {
        return state.conditions().stream().filter(each -> each.code().equals(code)).findFirst().get();
    }

    @Test
    public void theModelAndTheSettingsTellWhatTheyAre() throws Exception {
        ModelInfo model = idleTune.model();
        assertEquals("llama", model.architecture());
        assertTrue(model.verdict(), model.trains());
        assertTrue(model.parameters() > 0 && model.bytes() > 0 && model.contextTokens() > 0);
        ModelCheck check = idleTune.check();
        assertEquals("", check.refusal());
        assertTrue(check.answers() > 0 && check.slices() > 0);
        assertTrue(idleTune.version(), idleTune.version().matches("\\d+\\.\\d+.*"));
        SettingInfo limit = setting("daily_limit");
        assertEquals("int", limit.type());
        assertEquals(5, ((Number) limit.usual()).intValue());
        assertEquals((Double) 0.0, limit.least());
        assertFalse(limit.help().isEmpty() || limit.atNextOpen());
        assertTrue(setting("policy").choices().contains("recent_diverse"));
        assertEquals(0.0, ((Number) setting("temperature").value()).doubleValue(), 0);
    }

    private SettingInfo setting(String name) throws IdleTuneException {
        return idleTune.describeSettings().stream().filter(each -> each.name().equals(name)).findFirst().get();
    }

    @Test
    public void noFleetIsJoinedOnTermsThatAreNone() throws Exception {
        Fleet fleet = idleTune.fleet();
        assertEquals("", fleet.state().name());
        assertEquals(0, fleet.state().updates());
        assertThrows(UsageException.class, () -> fleet.previewJoin("[]"));
        assertThrows(UsageException.class, () -> fleet.join("{\"name\": \"neighbours\"}"));
        assertThrows(UsageException.class, () -> fleet.take(new File("/none/adapter.gguf")));
        assertFalse(fleet.leave());
    }

    @Test
    public void everythingIsErasedForGood() throws Exception {
        idleTune.observe("my door code is 4711", "noted");
        assertTrue(idleTune.erase() > 0);
        assertThrows(NotOpenException.class, () -> idleTune.status());
        assertFalse(new File(folder.getRoot(), "home/idletune.db").exists());
    }
}
