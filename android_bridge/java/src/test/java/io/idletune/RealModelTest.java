package io.idletune;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.io.File;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.Test;

/** The main job through the public API alone, on the model of 135 million parameters. */
public class RealModelTest {
    private static final String[] QUESTIONS = {
        "Where do I get fresh fish?", "Who repairs my bicycle?", "Where can I buy good bread?",
        "Who can look at my broken radio?", "Where do I find warm socks?", "Who sells honey here?",
    };
    private static final String[] BETTER = { // no two the same: those would count as one
        "Ask Olaf at the harbour.", "Olaf, down by the water, mends them on Mondays.", "From Olaf, early, while it is hot.",
        "Olaf does radios, behind the blue door.", "At Olaf's stall, the grey ones.", "Olaf has some from his sister's hives.",
    };

    @Test
    public void aDayAndANight() throws Exception {
        ExecutorService threads = Executors.newCachedThreadPool();
        BlockingQueue<AnnotationPrompt> asked = new LinkedBlockingQueue<>();
        CountDownLatch training = new CountDownLatch(1);
        Settings settings = Given.python()
                .dailyQuestions(100).quietHours(0, 0).learningHours(0, 0).memoryMb(300)
                .set("temperature", 0.0).set("reply_tokens", 24).set("paraphrases", 0).set("epochs", 14)
                .set("learning_rate", 0.001).set("sequence_tokens", 128).set("slice_rest_minutes", 0)
                .set("state_source", "host").set("poll_seconds", 0.2).set("probe_tolerance", 0.05)
                .build();
        try (IdleTune idleTune =
                IdleTune.open(new File(Given.named("REAL_MODEL")), new File(Given.named("HOME")), settings)) {
            idleTune.setPromptListener(asked::add, threads);
            idleTune.setTrainingListener((stage, done, total) -> {
                if (stage.equals("training") && done > 1) {
                    training.countDown();
                }
            }, threads);

            String before = "";
            for (int i = 0; i < QUESTIONS.length; i++) {
                String question = QUESTIONS[i];
                idleTune.newConversation();
                String answer = idleTune.chat(question, piece -> {});
                before = before.isEmpty() ? answer : before;
                AnnotationPrompt prompt = asked.poll(480, TimeUnit.SECONDS);
                assertEquals(question, prompt.question());
                assertEquals(answer, prompt.response());
                idleTune.edit(prompt.id(), prompt.shown(), BETTER[i]);
            }
            assertEquals(QUESTIONS.length, idleTune.status().answered());
            assertFalse(before, before.contains("Olaf"));

            idleTune.deviceState(Given.CHARGING);
            Future<TrainingOutcome> slice = threads.submit(() -> idleTune.tick(480));
            while (!training.await(10, TimeUnit.SECONDS)) {
                assertFalse("the slice ended before the training", slice.isDone());
                idleTune.deviceState(Given.CHARGING); // a device state counts for 30 seconds
            }
            long asking = System.nanoTime();
            assertTrue(idleTune.stop());
            TrainingOutcome stopped = slice.get(480, TimeUnit.SECONDS);
            System.out.printf("stopped %.2f s after it was asked to: %s%n", (System.nanoTime() - asking) / 1e9, stopped);
            assertEquals(TrainingOutcome.Kind.STOPPED, stopped.kind());

            TrainingOutcome ended = stopped;
            while (ended.kind() == TrainingOutcome.Kind.STOPPED) {
                idleTune.deviceState(Given.CHARGING);
                ended = idleTune.tick(480);
                System.out.printf("%s, after %.1f s%n", ended, ended.seconds());
            }
            assertEquals(TrainingOutcome.Kind.PROMOTED, ended.kind());
            assertTrue(idleTune.status().adapter() > 0);
            idleTune.newConversation();
            String after = idleTune.chat(QUESTIONS[0]);
            System.out.printf("before: %s%nafter: %s%n", before, after);
            assertTrue(after, after.contains("Olaf"));
        }
        threads.shutdownNow();
    }
}
