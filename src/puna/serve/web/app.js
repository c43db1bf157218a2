// The page: puts its parts together and runs one chat at a time.

import { ApiError, servedModel, starters, streamAnswer } from "./api.js";
import { Attachments, forget } from "./attachments.js";
import { Conversation, Turn } from "./conversation.js";
import { byId } from "./dom.js";
import { Gallery } from "./gallery.js";
import { Settings } from "./settings.js";

const question = byId("question");
const send = byId("send");
const settings = new Settings();
const conversation = new Conversation();
const attachments = new Attachments({ onChange: followAttachments, onProblem: tellProblem });
const gallery = new Gallery({ onChoose: choosePicture, onAsk: (text) => ask(text) });

let model = null;
let turns = [];
let lastAnswer = null;
let running = null; // the AbortController of the answer that is being written

// --- Asking -------------------------------------------------------------------------------------------------------------

async function ask(text) {
  text = text.trim();
  if (running || (text === "" && attachments.items.length === 0)) {
    return;
  }
  const turn = new Turn(text, attachments.take());
  question.value = "";
  resize();
  turns.push(turn);
  hideNotice();
  conversation.settleProblems();
  showChat();
  conversation.addQuestion(turn);
  await answer(turn);
}

async function answer(turn) {
  running = new AbortController();
  turn.answer = "";
  turn.hasFailed = false;
  lastAnswer?.settle();
  const history = turns.slice(0, turns.indexOf(turn)).flatMap((earlier) => earlier.messages);
  const view = conversation.addAnswer();
  conversation.announce("Answering");
  followState();
  const started = performance.now();
  try {
    await ensureModel();
    const body = { model: model.id, messages: [...history, turn.question], ...settings.sampling };
    const onText = (piece) => {
      turn.answer += piece;
      view.append(piece);
    };
    const { finishReason, usage } = await streamAnswer(body, { signal: running.signal, onText });
    view.finish(note(finishReason, usage, performance.now() - started, body.max_tokens), { onAgain: () => askAgain(turn, view) });
    lastAnswer = view;
  } catch (error) {
    if (running?.signal.aborted) {
      view.finish("Stopped", { onAgain: () => askAgain(turn, view) });
      lastAnswer = view;
    } else {
      fail(error, turn, view);
    }
  } finally {
    running = null;
    followState();
    focusQuestion();
  }
}

function askAgain(turn, view) {
  if (!running) {
    view.remove();
    answer(turn);
  }
}

function note(finishReason, usage, elapsedMs, limit) {
  const parts = [];
  if (usage) {
    parts.push(`${usage.completion_tokens} ${usage.completion_tokens === 1 ? "token" : "tokens"} in ${(elapsedMs / 1000).toFixed(1)} s`);
  }
  if (finishReason === "length") {
    parts.push(`cut off at ${limit} tokens (see Settings)`);
  }
  if (finishReason === "tool_calls") {
    parts.push("the model tried to call a tool, and this page has none");
  }
  if (finishReason === "content_filter") {
    parts.push("the server let no more of this answer through");
  }
  return parts.join(" · ");
}

function fail(error, turn, view) {
  turn.hasFailed = true;
  if (turn.answer === "") {
    view.remove();
  } else {
    view.finish("Broke off", { onAgain: () => {} });
    view.settle();
  }
  const again = () => {
    view.remove();
    answer(turn);
  };
  const [message, detail, label, onPress] = kindly(error, again);
  conversation.addProblem(message, detail, label, onPress);
  if (!(error instanceof ApiError)) {
    console.error(error);
  }
}

/** What a person is told: [message, detail, label of the button, what it does]. */
function kindly(error, again) {
  if (!(error instanceof ApiError)) {
    return ["Something went wrong in this page.", error.message, "Try again", again];
  }
  if (error.status === 0) {
    setModelState("away");
    return [error.message, "Is it still running? Start it again, then try once more.", "Try again", again];
  }
  if (error.status === 401 || error.status === 403) {
    const askForKey = () => settings.askForKey();
    return ["This server asks for a key.", `${error.message}. Type one in Settings, then ask again.`, "Type a key", askForKey];
  }
  if (error.code === "content_filter") {
    return ["The server does not answer this.", error.message, "All right", focusQuestion];
  }
  if (error.status === 429) {
    return ["Others are being answered right now.", `Please try again in ${error.retryAfter ?? "a few"} seconds.`, "Try again", again];
  }
  if (error.code === "context_length_exceeded") {
    return ["This chat has grown longer than the model can read.", error.message, "New chat", newChat];
  }
  if (error.status === 413) {
    return ["The pictures and videos of this chat are too large together.", error.message, "New chat", newChat];
  }
  if (error.code === "invalid_image" || error.code === "invalid_video") {
    const what = error.code === "invalid_image" ? "picture" : "video";
    return [`This ${what} cannot be read.`, error.message, "All right", focusQuestion];
  }
  if (error.code === "too_many_images" || error.code === "too_many_videos") {
    return ["This chat holds more pictures or videos than the server takes.", error.message, "New chat", newChat];
  }
  if (error.status >= 500) {
    return ["The server stumbled over this request.", error.message, "Try again", again];
  }
  return ["The server did not take this request.", error.message, "Try again", again];
}

function newChat() {
  running?.abort();
  turns.flatMap((turn) => turn.items).forEach(forget);
  turns = [];
  lastAnswer = null;
  conversation.clear();
  attachments.take().forEach(forget);
  hideNotice();
  question.value = "";
  resize();
  byId("welcome").hidden = false;
  byId("welcome-slot").append(byId("gallery"));
  byId("tray-slot").hidden = true;
  followState();
  focusQuestion();
}

// --- Pictures -----------------------------------------------------------------------------------------------------------

function choosePicture(starter, url) {
  if (starter) {
    attachments.chooseStarter(starter, url);
  } else {
    attachments.dropStarter();
  }
}

function followAttachments() {
  gallery.show(attachments.starter);
  followState();
}

function tellProblem(message) {
  byId("notice-text").textContent = message;
  byId("notice").hidden = false;
}

function hideNotice() {
  byId("notice").hidden = true;
}

// --- The state of the page ----------------------------------------------------------------------------------------------

/** Leaves the welcome: from here on the starter pictures are in a tray above the question. */
function showChat() {
  byId("welcome").hidden = true;
  byId("tray-slot").append(byId("gallery"));
  setTray(false);
}

function setTray(isOpen) {
  byId("tray-slot").hidden = !isOpen;
  byId("open-tray").setAttribute("aria-expanded", String(isOpen));
}

function followState() {
  const hasSomething = question.value.trim() !== "" || attachments.items.length > 0;
  send.toggleAttribute("data-busy", running !== null);
  send.setAttribute("aria-label", running ? "Stop" : "Send");
  send.title = running ? "Stop (Esc)" : "Send (Enter)";
  send.disabled = running === null && !hasSomething;
  byId("open-tray").hidden = gallery.isEmpty || !byId("welcome").hidden;
  for (const chip of byId("suggestions").children) {
    chip.disabled = running !== null;
  }
}

function resize() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

function focusQuestion() {
  // On a touch screen the focus would open the keyboard over the answer.
  if (matchMedia("(pointer: fine)").matches) {
    question.focus();
  }
}

// --- The model ----------------------------------------------------------------------------------------------------------

async function ensureModel() {
  if (model === null) {
    model = await servedModel();
  }
  byId("model-name").textContent = model.id;
  byId("model").title = `${model.context_length.toLocaleString("en")} tokens of context`;
  setModelState("ready");
  byId("about").textContent = about(model);
  byId("attach").hidden = !model.input_modalities.includes("image");
}

function setModelState(state) {
  byId("model").dataset.state = state;
}

function about({ id }) {
  return id.endsWith("-nano")
    ? `${id} is a tiny model. It names emoji and flags in 12 languages, counts a few objects, says what came first or which way something ` +
        "moves in a short video, and does small sums. It knows little else, cannot look anything up, and makes mistakes."
    : `${id} can make mistakes. Check what matters.`;
}

async function start() {
  followState();
  const [found] = await Promise.allSettled([ensureModel(), starters().then((list) => gallery.fill(list))]);
  if (found.status === "rejected") {
    setModelState("away");
    byId("model-name").textContent = "not connected";
  }
  followState();
  focusQuestion();
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) {
    running.abort();
  } else {
    ask(question.value);
  }
});
question.addEventListener("keydown", (event) => {
  // While a word is being composed (Japanese, Chinese, Korean), Enter picks the word.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    ask(question.value);
  }
});
question.addEventListener("input", () => {
  resize();
  followState();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !byId("settings").open) {
    running?.abort();
  }
});
byId("hide-notice").addEventListener("click", hideNotice);
byId("new-chat").addEventListener("click", newChat);
byId("open-tray").addEventListener("click", () => setTray(byId("tray-slot").hidden));

start();
