package io.idletune;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.json.JSONObject;

/**
 * One answer as it is written: the call waits on a thread of its own, so that the pieces come to the caller's. What is
 * missing of the text when the answer has come (events may be late, or dropped) is handed over as the last piece.
 */
final class StreamedChat {
    private static final Object END = new Object();
    private static final long CANCEL_MILLISECONDS = 50;

    // Kept for the next chat: OpenMP starts threads of its own for every thread that computes.
    private static final Executor THREADS = Executors.newCachedThreadPool(work -> {
        Thread thread = new Thread(work, "idletune-chat");
        thread.setDaemon(true);
        return thread;
    });

    private final Rpc rpc;
    private final String method;
    private final Consumer<String> onText;
    private final BlockingQueue<Object> pieces = new LinkedBlockingQueue<>(); // strings, and END
    private final StringBuilder told = new StringBuilder();
    private JSONObject result;
    private IdleTuneException failure;
    private RuntimeException fault;

    StreamedChat(Rpc rpc, String method, Consumer<String> onText) {
        this.rpc = rpc;
        this.method = method;
        this.onText = onText;
    }

    /** The result of the call, after the pieces of its text. */
    JSONObject run(Params params) throws IdleTuneException {
        THREADS.execute(() -> call(params));
        boolean interrupted = handOver();
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        if (fault != null) {
            throw fault;
        }
        if (failure != null) {
            throw failure;
        }
        String text = result.optString("text");
        if (text.length() > told.length() && text.startsWith(told.toString())) {
            onText.accept(text.substring(told.length()));
        }
        return result;
    }

    private void call(Params params) {
        try {
            result = rpc.call(method, params.and("stream", true), pieces::add);
        } catch (IdleTuneException e) {
            failure = e;
        } catch (RuntimeException e) {
            fault = e;
        } finally {
            pieces.add(END);
        }
    }

    /**
     * Until the answer has come. An interrupt cancels the chat, which then ends soon; true when there was one. So does
     * an exception of the caller's, which is not for the chat to keep.
     */
    private boolean handOver() {
        boolean interrupted = false;
        while (true) {
            try {
                Object piece = interrupted ? pieces.poll(CANCEL_MILLISECONDS, TimeUnit.MILLISECONDS) : pieces.take();
                if (piece == END) {
                    return interrupted;
                } else if (piece == null) {
                    cancel(); // again and again, since one that comes before the chat begins finds nothing to cancel
                } else {
                    told.append((String) piece);
                    onText.accept((String) piece);
                }
            } catch (InterruptedException e) {
                interrupted = true;
                cancel();
            } catch (RuntimeException | Error e) {
                cancel();
                throw e;
            }
        }
    }

    private void cancel() {
        try {
            rpc.call("cancel", Params.NONE);
        } catch (IdleTuneException e) {
            return; // closed meanwhile: the chat ends by that
        }
    }
}
