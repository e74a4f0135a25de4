package io.idletune;

import org.json.JSONObject;

/**
 * The base model in use ({@link IdleTune#model}).
 *
 * <p>Threads: immutable.
 */
public final class ModelInfo {
    private final String name;
    private final String architecture;
    private final String quantization;
    private final long parameters;
    private final long bytes;
    private final int contextTokens;
    private final boolean trains;
    private final String verdict;

    private ModelInfo(JSONObject told) {
        name = told.optString("name");
        architecture = told.optString("architecture");
        quantization = told.optString("quantization");
        parameters = told.optLong("parameters");
        bytes = told.optLong("bytes");
        contextTokens = told.optInt("context_tokens");
        trains = told.optBoolean("trains");
        verdict = told.optString("verdict");
    }

    static ModelInfo of(JSONObject told) {
        return new ModelInfo(told);
    }

    /** Its name, as its file says. */
    public String name() {
        return name;
    }

    /** Its architecture in GGUF. */
    public String architecture() {
        return architecture;
    }

    /** The type that most of its weights are stored in. */
    public String quantization() {
        return quantization;
    }

    /** How many weights it has. */
    public long parameters() {
        return parameters;
    }

    /** The size of its file. */
    public long bytes() {
        return bytes;
    }

    /** Tokens a conversation may hold. */
    public int contextTokens() {
        return contextTokens;
    }

    /** Whether it can learn on this device. */
    public boolean trains() {
        return trains;
    }

    /** How it would train and in what memory, or why it cannot, in words. */
    public String verdict() {
        return verdict;
    }

    @Override
    public String toString() {
        return name + ", " + quantization + (trains ? "" : ": " + verdict);
    }
}
