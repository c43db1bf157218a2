// The public API of this server, as the page needs it. Knows nothing of the page.

/** What went wrong, with the server's own error object if it sent one. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = null, retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** The model that is served: {id, context_length, input_modalities}. */
export async function servedModel() {
  const response = await request("v1/models");
  return (await response.json()).data[0];
}

/** The starter pictures: [{file, kind, title, questions}]. */
export async function starters() {
  const response = await request("web/starters.json");
  return (await response.json()).starters;
}

/**
 * Streams one answer. Calls `onText` for each piece of text; returns {finishReason, usage}.
 * Throws `ApiError`, or the signal's AbortError when the user stops it.
 */
export async function streamAnswer(body, { signal, onText }) {
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  const result = { finishReason: null, usage: null };
  for await (const data of eventData(response.body, signal)) {
    if (data === "[DONE]") {
      return result;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) {
      throw new ApiError(chunk.error.message, { status: 500, code: chunk.error.code });
    }
    const choice = chunk.choices[0];
    if (choice?.delta.content) {
      onText(choice.delta.content);
    }
    result.finishReason = choice?.finish_reason ?? result.finishReason;
    result.usage = chunk.usage ?? result.usage;
  }
  throw new ApiError("The connection ended in the middle of the answer.");
}

async function request(url, options = {}) {
  const key = window.puna.remembered("api-key", "");
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(url, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) {
      throw error;
    }
    throw new ApiError("The server does not answer.");
  }
  if (!response.ok) {
    const error = await errorObject(response);
    throw new ApiError(error.message, { status: response.status, code: error.code, retryAfter: response.headers.get("Retry-After") });
  }
  return response;
}

async function errorObject(response) {
  try {
    return (await response.json()).error;
  } catch {
    return { message: `The server answered ${response.status} ${response.statusText}.`, code: null };
  }
}

/** The `data` of each server-sent event. */
async function* eventData(stream, signal) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      const events = (pending + value).split("\n\n");
      pending = events.pop();
      for (const event of events) {
        if (event.startsWith("data: ")) {
          yield event.slice("data: ".length);
        }
      }
    }
  } catch (error) {
    if (signal?.aborted || error instanceof ApiError) {
      throw error;
    }
    throw new ApiError("The connection broke in the middle of the answer.");
  } finally {
    reader.cancel().catch(() => {}); // of a stream that is broken already
  }
}
