// The server's door: methods by POST, answers by a stream, notifications by server-sent events.
import { pageKey } from "./page_key";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: number,
    message: string,
  ) {
    super(message);
  }

  /** The link was not opened in this browser, or its session has ended. */
  get isLocked(): boolean {
    return this.status === 401 || this.status === 403;
  }

  /** The server does not answer: it has ended, or is starting. */
  get isOffline(): boolean {
    return this.status === 0;
  }
}

export const BUSY = -32004;
export const CANCELLED = -32005;

/** The result of a method (docs/rpc.md). ApiError with the server's own sentence otherwise. */
export async function call<Result>(method: string, params: object = {}): Promise<Result> {
  const response = await post("/api/rpc", { method, params });
  const body = await response.json().catch(() => ({}));
  if (body.error) throw new ApiError(response.status, body.error.code, body.error.message);
  if (!response.ok) throw new ApiError(response.status, 0, `the server answers ${response.status}`);
  return body.result as Result;
}

export async function post(path: string, body: object, signal?: AbortSignal): Promise<Response> {
  try {
    return await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-IdleTune-Page": pageKey() },
      credentials: "same-origin",
      body: JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 0, "IdleTune does not answer. Is it still running?");
  }
}

export type Turn = { role: "user" | "assistant"; content: string };

export type Piece = { content?: string; reasoning_content?: string }; // of the answer, or of thoughts before it

/** Answers the conversation as a stream of pieces; returns the completion's id. An abort ends it. Asked for the same
 * once more, the server gives another answer, unless the most likely words are wanted. */
export async function complete(
  messages: Turn[],
  onPiece: (piece: Piece) => void,
  signal: AbortSignal,
  sampling: { temperature?: number } = {},
): Promise<string> {
  const asked = { model: "idletune", messages, stream: true, ...sampling };
  const response = await post("/v1/chat/completions", asked, signal);
  if (!response.ok || !response.body) throw await failure(response);
  let id = "";
  for await (const data of lines(response.body)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(response.status, 0, chunk.error.message);
    id = chunk.id ?? id;
    const piece = chunk.choices?.[0]?.delta;
    if (piece) onPiece(piece);
  }
  return id;
}

export type Rating = "up" | "never_ask" | { text: string } | { better_than: string };

/** Says of a completion that it was good, what would have been better, that it is better than another one to the same
 * message, or never to ask about it. */
export async function rate(completion: string, rating: Rating): Promise<void> {
  const said = typeof rating === "string" ? { rating } : rating;
  const response = await post("/v1/feedback", { completion_id: completion, ...said });
  if (!response.ok) throw await failure(response);
}

/** The data of each server-sent event in a body. */
async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += decoder.decode(value, { stream: true });
    const parts = held.split("\n");
    held = parts.pop() ?? "";
    for (const part of parts) if (part.startsWith("data:")) yield part.slice(5).trim();
  }
}

async function failure(response: Response): Promise<ApiError> {
  const body = await response.json().catch(() => ({}));
  const message = body.error?.message ?? `the server answers ${response.status}`;
  return new ApiError(response.status, Number(body.error?.code) || 0, message);
}
