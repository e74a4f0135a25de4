package io.idletune.android;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertTrue;

import android.app.Application;
import android.app.Notification;
import android.app.NotificationManager;
import android.app.PendingIntent;
import android.content.Context;
import java.util.Arrays;
import java.util.stream.Collectors;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.annotation.Config;

/** The notification of a question, and its answers while no runtime is open. */
@RunWith(RobolectricTestRunner.class)
@Config(sdk = 35, manifest = Config.NONE)
public class PromptNotifierTest {
    private final Application context = RuntimeEnvironment.getApplication();
    private final NotificationManager manager =
            (NotificationManager) context.getSystemService(Context.NOTIFICATION_SERVICE);
    private final PromptNotifier notifier = new PromptNotifier(context);
    private final AnswerQueue queue = new AnswerQueue(context);

    @Before
    public void set() {
        FakeKeystore.install();
        Answering.receivers(context);
    }

    @Test
    public void asksWithThreeButtonsOfWhichOneTakesText() {
        notifier.onPrompt(Answering.prompt(7, "When to water?", "At noon."));
        Notification shown = Answering.shown(manager, 7);
        assertEquals(PromptNotifier.CHANNEL, shown.getChannelId());
        assertEquals(NotificationManager.IMPORTANCE_LOW,
                manager.getNotificationChannel(PromptNotifier.CHANNEL).getImportance());
        assertEquals("When to water?\n\nAt noon.", shown.extras.getString(Notification.EXTRA_BIG_TEXT));
        assertEquals(3, shown.actions.length);
        assertNull(shown.actions[0].getRemoteInputs());
        assertEquals(PromptReceiver.REPLY, shown.actions[1].getRemoteInputs()[0].getResultKey());
        assertNull(shown.actions[2].getRemoteInputs());
        assertTrue(shown.actions[0].actionIntent.isImmutable());
        assertFalse(shown.actions[1].actionIntent.isImmutable()); // the reply is written into it
    }

    @Test
    public void whatDoesNotFitIsAcceptedOnItsLastPageAlone() throws Exception {
        String response = "word ".repeat(200) + "send money to 4711";
        notifier.onPrompt(Answering.prompt(7, "When to water?", response));
        StringBuilder seen = new StringBuilder();
        int pages = 1;
        for (; Answering.shown(manager, 7).actions[0].title.equals("More"); pages++) {
            Notification page = Answering.shown(manager, 7);
            seen.append(page.extras.getString(Notification.EXTRA_BIG_TEXT));
            page.actions[0].actionIntent.send();
            String part = page.extras.getString(Notification.EXTRA_SUB_TEXT);
            Answering.settle(() -> !part.equals(
                    Answering.shown(manager, 7).extras.getString(Notification.EXTRA_SUB_TEXT)));
            assertEquals("a page that is turned answers nothing", 0, queue.size());
        }
        Notification last = Answering.shown(manager, 7);
        seen.append(last.extras.getString(Notification.EXTRA_BIG_TEXT));
        assertEquals("When to water?\n\n" + response, seen.toString());
        assertTrue(pages > 3);
        assertEquals(pages + " / " + pages, last.extras.getString(Notification.EXTRA_SUB_TEXT));
        assertEquals("Good", last.actions[0].title);
        last.actions[0].actionIntent.send();
        Answering.settle(() -> queue.size() == 1);
    }

    @Test
    public void asksWhichOfTwoIsBetter() throws Exception {
        notifier.onPrompt(Answering.ofTwo(7, "When to water?", "At noon.", "In the evening."));
        Notification shown = Answering.shown(manager, 7);
        assertEquals("Which answer is better?", shown.extras.getString(Notification.EXTRA_TITLE));
        assertEquals("When to water?\n\nFirst: At noon.\n\nSecond: In the evening.",
                shown.extras.getString(Notification.EXTRA_BIG_TEXT));
        assertEquals("First, Second, Neither", titles(shown));
        assertFalse(shown.actions[0].actionIntent.equals(shown.actions[1].actionIntent));
        assertEquals(shown.actions[2].actionIntent, shown.deleteIntent);
        shown.actions[1].actionIntent.send();
        Answering.settle(() -> queue.size() == 1);
        assertEquals(0, manager.getActiveNotifications().length);
    }

    @Test
    public void twoLongAnswersAreChosenFromOnTheLastPageAlone() throws Exception {
        notifier.labelsOfTwo("Welche?", "Eins", "Zwei", "Keine");
        notifier.onPrompt(Answering.ofTwo(7, "When to water?", "At noon.", "word ".repeat(80)));
        assertEquals("More, Keine", titles(Answering.shown(manager, 7)));
        while (Answering.shown(manager, 7).actions[0].title.equals("More")) {
            String part = Answering.shown(manager, 7).extras.getString(Notification.EXTRA_SUB_TEXT);
            Answering.shown(manager, 7).actions[0].actionIntent.send();
            Answering.settle(() -> !part.equals(
                    Answering.shown(manager, 7).extras.getString(Notification.EXTRA_SUB_TEXT)));
        }
        assertEquals("Eins, Zwei, Keine", titles(Answering.shown(manager, 7)));
        assertEquals(0, queue.size());
    }

    private static String titles(Notification shown) {
        return Arrays.stream(shown.actions).map(action -> action.title).collect(Collectors.joining(", "));
    }

    @Test
    public void pagesAreTheWholeText() {
        for (String text : new String[] {"", "a", "x".repeat(1000), "\n".repeat(50), "\u65e5\u672c".repeat(300),
                "\uD83C\uDF19".repeat(300), "word ".repeat(300)}) {
            assertEquals(text, String.join("", PromptPages.of(text)));
            for (String page : PromptPages.of(text)) {
                assertTrue(page.length() <= PromptPages.PAGE_COLUMNS);
                assertFalse(page.endsWith("\uD83C")); // half a character
            }
        }
    }

    @Test
    public void aLockedScreenShowsNothingOfTheConversation() {
        notifier.onPrompt(Answering.prompt(7, "When to water?", "At noon."));
        Notification locked = Answering.shown(manager, 7).publicVersion;
        assertEquals("Was this answer good?", locked.extras.getString(Notification.EXTRA_TITLE));
        assertFalse(locked.extras.toString().contains("noon"));
    }

    @Test
    public void twoQuestionsHaveAnswersOfTheirOwn() throws Exception {
        notifier.onPrompt(Answering.prompt(7, "a", "b"));
        notifier.onPrompt(Answering.prompt(8, "c", "d"));
        PendingIntent first = Answering.shown(manager, 7).actions[0].actionIntent;
        assertFalse(first.equals(Answering.shown(manager, 8).actions[0].actionIntent));
        first.send();
        Answering.settle(() -> Answering.shown(manager, 7) == null);
        assertEquals(1, manager.getActiveNotifications().length);
        assertEquals(1, queue.size());
    }

    @Test
    public void answersWaitOnTheDiskWhileNoRuntimeIsOpen() throws Exception {
        notifier.onPrompt(Answering.prompt(7, "a", "b"));
        Answering.reply(context, Answering.shown(manager, 7), "In the evening \uD83C\uDF19");
        Answering.settle(() -> queue.size() == 1);
        assertEquals(1, new AnswerQueue(context).size());
        assertEquals(0, manager.getActiveNotifications().length);
    }

    @Test
    public void anEmptyReplyIsNoAnswerAndTheQuestionStays() throws Exception {
        notifier.onPrompt(Answering.prompt(7, "a", "b"));
        Answering.reply(context, Answering.shown(manager, 7), "  ");
        Answering.settle(Answering::nobodyAnswers);
        assertEquals(0, queue.size());
        Answering.reply(context, Answering.shown(manager, 7), "In the evening");
        Answering.settle(() -> queue.size() == 1);
    }

    @Test
    public void aQuestionThatIsOpenNoMoreLeavesTheScreen() {
        notifier.onPrompt(Answering.prompt(7, "a", "b"));
        notifier.onPrompt(Answering.prompt(8, "c", "d"));
        notifier.onDismissed(7);
        assertEquals(1, manager.getActiveNotifications().length);
        assertEquals(0, queue.size()); // that is no answer of the user's
    }

    @Test
    public void aNotificationSwipedAwayIsSkipped() throws Exception {
        notifier.onPrompt(Answering.prompt(7, "a", "b"));
        Notification shown = Answering.shown(manager, 7);
        shown.deleteIntent.send();
        Answering.settle(() -> queue.size() == 1);
        assertEquals(shown.actions[2].actionIntent, shown.deleteIntent);
    }

    @Test
    public void anAnswerThatCannotBeKeptKeepsItsNotification() throws Exception {
        notifier.onPrompt(Answering.prompt(7, "a", "b"));
        assertTrue(new java.io.File(context.getNoBackupFilesDir(), "idletune-answers").createNewFile()); // no folder
        Answering.shown(manager, 7).actions[0].actionIntent.send();
        Answering.settle(Answering::nobodyAnswers);
        assertEquals(1, manager.getActiveNotifications().length);
    }
}
