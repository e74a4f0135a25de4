package io.idletune;

import java.io.BufferedReader;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.json.JSONException;
import org.json.JSONObject;

/** The dispatcher in another process, behind a socket or a pipe: a message a line. */
final class StreamConnection implements Connection {
    private static final int MOST_EVENTS = 256;
    private static final int LARGEST_REQUEST = 1 << 20; // bytes; the dispatcher's answer to more names no request
    private static final byte[] WAKING = {};

    private final Closeable socket;
    private final OutputStream out;
    private final Map<Long, CompletableFuture<byte[]>> waiting = new ConcurrentHashMap<>();
    private final BlockingQueue<byte[]> events = new ArrayBlockingQueue<>(MOST_EVENTS);
    private volatile IOException ended;

    StreamConnection(Closeable socket, InputStream in, OutputStream out) {
        this.socket = socket;
        this.out = out;
        Thread reader = new Thread(() -> read(in), "idletune-reader");
        reader.setDaemon(true);
        reader.start();
    }

    @Override
    public byte[] call(long id, byte[] request) throws IOException {
        if (request.length > LARGEST_REQUEST) {
            throw new IllegalArgumentException(
                    "the request has " + request.length + " bytes; " + LARGEST_REQUEST + " are the limit");
        }
        CompletableFuture<byte[]> response = new CompletableFuture<>();
        waiting.put(id, response);
        try {
            synchronized (out) {
                out.write(request);
                out.write('\n');
                out.flush();
            }
            if (ended != null) { // by a reader that no longer looks who waits
                throw ended;
            }
            return awaited(response);
        } finally {
            waiting.remove(id);
        }
    }

    /** Waits through interrupts: whoever wants to stop a call cancels it, and then it answers. */
    private static byte[] awaited(CompletableFuture<byte[]> response) throws IOException {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    return response.get();
                } catch (InterruptedException e) {
                    interrupted = true;
                } catch (ExecutionException e) {
                    throw new IOException(e.getCause().getMessage(), e.getCause());
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    @Override
    public byte[] poll(int milliseconds) throws IOException {
        try {
            byte[] event = events.poll(ended == null ? milliseconds : 0, TimeUnit.MILLISECONDS);
            if (ended != null && (event == null || event == WAKING)) {
                throw ended;
            }
            return event;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return null;
        }
    }

    @Override
    public void close() {
        end(new IOException("the connection was closed"));
        try {
            socket.close(); // which does not wake a thread that reads from an Android socket
        } catch (IOException e) {
            return; // it is of no use any more either way
        }
    }

    private void read(InputStream in) {
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                take(line);
            }
            end(new IOException("the runtime's process has closed the connection; connect again"));
        } catch (IOException | JSONException e) {
            end(new IOException("the connection broke: " + e.getMessage(), e));
        }
    }

    private void take(String line) throws JSONException {
        JSONObject message = new JSONObject(line);
        byte[] bytes = line.getBytes(StandardCharsets.UTF_8);
        if (message.has("method")) {
            while (!events.offer(bytes)) {
                events.poll(); // nobody reads them: the oldest goes, as in the dispatcher
            }
            return;
        }
        CompletableFuture<byte[]> response = waiting.remove(message.optLong("id"));
        if (response != null) {
            response.complete(bytes);
        }
    }

    private synchronized void end(IOException why) {
        if (ended != null) {
            return;
        }
        ended = why;
        events.offer(WAKING);
        for (CompletableFuture<byte[]> each : waiting.values()) {
            each.completeExceptionally(why);
        }
    }
}
