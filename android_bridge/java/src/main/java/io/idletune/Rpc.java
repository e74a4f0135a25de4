package io.idletune;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * JSON-RPC 2.0 over a connection: requests with their errors as exceptions, and a thread that hands events on.
 *
 * <p>Threads: every method from any thread at once.
 */
final class Rpc {
    private static final Logger LOG = Logger.getLogger("io.idletune");
    private static final int POLL_MILLISECONDS = 60_000; // a closed connection wakes it before
    private static final int PAUSE_MILLISECONDS = 40; // events that come meanwhile are merged; each waking costs the model

    private final Connection connection;
    private final AtomicLong ids = new AtomicLong();
    private final Map<Long, Consumer<String>> texts = new ConcurrentHashMap<>();
    private final Map<String, Consumer<JSONObject>> listeners = new ConcurrentHashMap<>();
    private final AtomicBoolean closed = new AtomicBoolean();

    Rpc(Connection connection) {
        this.connection = connection;
        Thread events = new Thread(this::takeEvents, "idletune-events");
        events.setDaemon(true);
        events.start();
    }

    /** What is told of an event's parameters, on the events' own thread; null for nobody. */
    void listen(String event, Consumer<JSONObject> listener) {
        if (listener == null) {
            listeners.remove(event);
        } else {
            listeners.put(event, listener);
        }
    }

    /** The result of a method. */
    JSONObject call(String method, Params params) throws IdleTuneException {
        return call(ids.incrementAndGet(), method, params);
    }

    /** The same; pieces of the text that is written meanwhile go to {@code onText}, on the events' own thread. */
    JSONObject call(String method, Params params, Consumer<String> onText) throws IdleTuneException {
        long id = ids.incrementAndGet();
        texts.put(id, onText);
        try {
            return call(id, method, params);
        } finally {
            texts.remove(id);
        }
    }

    void close() {
        if (closed.compareAndSet(false, true)) {
            connection.close();
        }
    }

    private JSONObject call(long id, String method, Params params) throws IdleTuneException {
        if (closed.get()) {
            throw new NotOpenException("this IdleTune is closed; open another");
        }
        try {
            JSONObject request = new JSONObject();
            request.put("jsonrpc", "2.0").put("id", id).put("method", method).put("params", params.json());
            byte[] response = connection.call(id, request.toString().getBytes(StandardCharsets.UTF_8));
            return result(new JSONObject(new String(response, StandardCharsets.UTF_8)));
        } catch (IllegalArgumentException e) { // over the connection's limit
            throw new UsageException(e.getMessage());
        } catch (IOException e) {
            throw closed.get() ? new NotOpenException("this IdleTune is closed; open another")
                    : new IdleTuneException(e.getMessage(), e);
        } catch (JSONException e) {
            throw new IdleTuneException("the runtime's answer to " + method + " is not what was agreed on", e);
        }
    }

    private static JSONObject result(JSONObject response) throws IdleTuneException, JSONException {
        JSONObject error = response.optJSONObject("error");
        if (error == null) {
            return response.getJSONObject("result");
        }
        JSONObject data = error.optJSONObject("data");
        throw IdleTuneException.of(data == null ? "" : data.optString("kind"), error.getString("message"));
    }

    private void takeEvents() {
        try {
            while (!closed.get()) {
                byte[] event = connection.poll(POLL_MILLISECONDS);
                if (event != null) {
                    tell(new JSONObject(new String(event, StandardCharsets.UTF_8)));
                    Thread.sleep(PAUSE_MILLISECONDS);
                }
            }
        } catch (IOException | JSONException | InterruptedException e) {
            return; // closed, or broken: then the next call tells it
        }
    }

    private void tell(JSONObject event) throws JSONException {
        String name = event.getString("method");
        JSONObject params = event.getJSONObject("params");
        if (name.equals("event.chat_text")) {
            tell(texts.get(params.optLong("request_id")), params.getString("text"));
        } else {
            tell(listeners.get(name), params);
        }
    }

    /** A listener that fails (its executor was shut down, say) keeps no other from being told. */
    private static <T> void tell(Consumer<T> listener, T told) {
        try {
            if (listener != null) {
                listener.accept(told);
            }
        } catch (RuntimeException e) {
            LOG.log(Level.WARNING, "a listener failed; the next event is told all the same", e);
        }
    }
}
