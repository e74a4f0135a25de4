package io.idletune;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.Test;

/** The same API over a Unix socket to a runtime in another process ({@code idletune serve}). */
public class SocketTest {
    @Test
    public void theSameApiOverASocket() throws Exception {
        BlockingQueue<String> told = new LinkedBlockingQueue<>();
        int before;
        try (IdleTune idleTune = connect()) {
            before = idleTune.status().answered();
            idleTune.setPromptListener(prompt -> told.add(prompt.question()), Runnable::run);
            List<String> pieces = new ArrayList<>();
            String answer = idleTune.chat("where is bread? \uD83C\uDF5E", pieces::add);
            assertFalse(answer.isEmpty());
            assertEquals(answer, String.join("", pieces));
            assertEquals("where is bread? \uD83C\uDF5E", told.poll(480, TimeUnit.SECONDS));
            assertThrows(UsageException.class, () -> idleTune.accept(999, ""));
            AnnotationPrompt due = idleTune.prompts().get(0);
            idleTune.accept(due.id(), due.shown());
        }
        try (IdleTune again = connect()) {
            assertEquals("the runtime stayed open", before + 1, again.status().answered());
        }
    }

    @Test
    public void anAnswerIsRatedByItsIdAlsoOverAnotherConnection() throws Exception {
        try (IdleTune asking = connect(); IdleTune rating = connect()) {
            int before = asking.status().answered();
            Completion answer = asking.answer("what is a bun?", piece -> { });
            assertTrue(rating.feedback(answer.id(), Rating.UP));
            rating.correct(answer.id(), "a small loaf");
            assertEquals(before + 1, asking.status().answered());
            assertThrows("for the app in the runtime's process", UsageException.class, () -> rating.erase());
        }
    }

    @Test
    public void aConversationIsSharedByNamingItsSession() throws Exception {
        try (IdleTune first = connect(); IdleTune second = connect()) {
            assertFalse(first.session().equals(second.session()));
            second.joinSession(first.session());
            assertEquals(first.session(), second.session());
            assertThrows(UsageException.class, () -> second.joinSession("guessed"));
        }
    }

    @Test
    public void aQuestionIsToldToItsOwnSessionOrToWhoAskedForAll() throws Exception {
        try (IdleTune asking = connect(); IdleTune other = connect()) {
            asking.observe("my door code is 4711", "noted");
            assertTrue(other.prompts().isEmpty());
            other.askAboutAllSessions();
            AnnotationPrompt due = other.prompts().get(0);
            other.dismiss(due.id(), due.shown());
        }
    }

    @Test
    public void aConnectionThatBreaksIsToldAtTheNextCall() throws Exception {
        SocketChannel channel = channel();
        IdleTune idleTune = IdleTune.connect(channel, in(channel), out(channel));
        channel.close();
        IdleTuneException broken = assertThrows(IdleTuneException.class, () -> idleTune.status());
        assertFalse(broken instanceof UsageException);
        idleTune.close();
        assertTrue(assertThrows(UsageException.class, () -> idleTune.status()).getMessage().contains("closed"));
    }

    @Test(timeout = 480_000)
    public void aRequestOverTheLimitIsRefused() throws Exception {
        try (IdleTune idleTune = connect()) {
            char[] many = new char[2 << 20];
            Arrays.fill(many, 'a');
            UsageException refused = assertThrows(UsageException.class, () -> idleTune.chat(new String(many)));
            assertTrue(refused.getMessage(), refused.getMessage().contains("1048576 are the limit"));
            assertTrue("the connection goes on", idleTune.status().bins() > 0);
        }
    }

    /** As an Android socket does it: the thread that reads is not woken. */
    @Test(timeout = 480_000)
    public void closingEndsTheCallsThatWait() throws Exception {
        StreamConnection connection = new StreamConnection(
                () -> {}, new PipedInputStream(new PipedOutputStream()), new ByteArrayOutputStream());
        List<CompletableFuture<byte[]>> waiting = new ArrayList<>();
        waiting.add(inThread(() -> connection.call(1, new byte[] {'x'})));
        waiting.add(inThread(() -> connection.poll(480_000)));
        Thread.sleep(200); // both wait now, or else find it closed already
        connection.close();
        for (CompletableFuture<byte[]> each : waiting) {
            Exception ended = assertThrows(ExecutionException.class, () -> each.get(480, TimeUnit.SECONDS));
            assertEquals("the connection was closed", ended.getCause().getMessage());
        }
    }

    private static <T> CompletableFuture<T> inThread(Callable<T> work) {
        CompletableFuture<T> done = new CompletableFuture<>();
        new Thread(() -> {
            try {
                done.complete(work.call());
            } catch (Exception e) {
                done.completeExceptionally(e);
            }
        }).start();
        return done;
    }

    private static IdleTune connect() throws Exception {
        SocketChannel channel = channel();
        return IdleTune.connect(channel, in(channel), out(channel));
    }

    private static SocketChannel channel() throws IOException {
        SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        channel.connect(UnixDomainSocketAddress.of(new File(Given.named("SOCKET")).toPath()));
        return channel;
    }

    // The channel's own streams cannot be read and written at once before JDK 19.
    private static InputStream in(SocketChannel channel) {
        return new InputStream() {
            @Override public int read() throws IOException {
                byte[] one = new byte[1];
                return read(one, 0, 1) < 0 ? -1 : one[0] & 255;
            }

            @Override public int read(byte[] bytes, int from, int count) throws IOException {
                return channel.read(ByteBuffer.wrap(bytes, from, count));
            }
        };
    }

    private static OutputStream out(SocketChannel channel) {
        return new OutputStream() {
            @Override public void write(int one) throws IOException {
                write(new byte[] {(byte) one}, 0, 1);
            }

            @Override public void write(byte[] bytes, int from, int count) throws IOException {
                ByteBuffer buffer = ByteBuffer.wrap(bytes, from, count);
                while (buffer.hasRemaining()) {
                    channel.write(buffer);
                }
            }
        };
    }
}
