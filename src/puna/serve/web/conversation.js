// The conversation on the page: what was said, the answer as it grows, and problems told kindly.

import { byId, element, icon, moving } from "./dom.js";

/** One question and its answer. `messages` is what of it goes into the history of the next request. */
export class Turn {
  constructor(text, items) {
    this.text = text;
    this.items = items; // pictures and videos, as Attachments keeps them
    this.answer = "";
    this.hasFailed = false;
  }

  get question() {
    const parts = this.items.map(({ url, isVideo }) => (isVideo ? { type: "video_url", video_url: { url } } : { type: "image_url", image_url: { url } }));
    return { role: "user", content: parts.length > 0 ? [...parts, { type: "text", text: this.text }] : this.text };
  }

  get messages() {
    return this.hasFailed || this.answer === "" ? [] : [this.question, { role: "assistant", content: this.answer }];
  }
}

export class Conversation {
  constructor() {
    this.log = byId("log");
    this.scroller = byId("scroller");
    this.announcer = byId("announcer");
    this.follows = true; // the newest words stay in sight, unless the reader has scrolled up
    this.scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.scroller;
      this.follows = scrollHeight - scrollTop - clientHeight < 80;
    });
    const observer = new ResizeObserver(() => this.follows && this.log.hasChildNodes() && this.scrollDown());
    observer.observe(this.log);
    observer.observe(this.scroller);
  }

  clear() {
    this.log.replaceChildren();
    this.announce("New chat");
  }

  /** For screen readers, whole sentences at a time: a word at a time would be noise. */
  announce(text) {
    this.announcer.textContent = text;
  }

  addQuestion(turn) {
    const bubble = element("div", { className: "said" }, element("h2", { className: "unseen" }, "You"));
    if (turn.items.length > 0) {
      const pictures = turn.items.map(({ shown, isVideo, name }) =>
        isVideo ? moving(shown, name, { controls: true, loop: true }) : element("img", { src: shown, alt: "Picture sent with this question" }),
      );
      bubble.append(element("div", { className: "pictures" }, ...pictures));
    }
    if (turn.text) {
      bubble.append(element("div", { className: "text", dir: "auto" }, turn.text));
    }
    this.log.append(bubble);
    this.scrollDown();
  }

  addAnswer() {
    const answer = new AnswerView(this);
    this.log.append(answer.root);
    this.scrollDown();
    return answer;
  }

  addProblem(message, detail, label, onPress) {
    const button = element("button", { type: "button" }, label);
    const text = element("p", {}, message, ...(detail ? [element("small", {}, detail)] : []));
    const box = element("div", { className: "problem", role: "alert" }, text, button);
    button.addEventListener("click", () => {
      box.remove();
      onPress();
    });
    this.log.append(box);
    this.scrollDown();
  }

  /** A problem can be acted upon until something else is asked. */
  settleProblems() {
    for (const button of this.log.querySelectorAll(".problem button")) {
      button.remove();
    }
  }

  scrollDown() {
    this.follows = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}

class AnswerView {
  constructor(conversation) {
    this.conversation = conversation;
    this.text = element("div", { className: "text", dir: "auto" });
    this.thinking = element("div", { className: "thinking", aria: { hidden: "true" } }, element("span"), element("span"), element("span"));
    this.notes = element("div", { className: "notes" });
    const logo = element("img", { className: "logo", src: "web/icon.svg", alt: "" });
    const body = element("div", { className: "body" }, element("h2", { className: "unseen" }, "Answer"), this.thinking, this.text);
    this.root = element("article", { className: "answer", aria: { busy: "true" } }, logo, body, this.notes);
    this.node = document.createTextNode("");
    this.text.append(this.node);
  }

  append(text) {
    this.thinking.remove();
    this.node.appendData(text);
  }

  finish(note, { onAgain }) {
    this.thinking.remove();
    this.root.setAttribute("aria-busy", "false");
    const copy = element("button", { type: "button", className: "plain", title: "Copy", aria: { label: "Copy this answer" } }, icon("copy"));
    copy.addEventListener("click", () => this.copy());
    const again = element("button", { type: "button", className: "plain", title: "Ask again", aria: { label: "Ask the same again" } }, icon("again"));
    again.addEventListener("click", onAgain);
    this.notes.replaceChildren(copy, again, element("span", {}, note));
    this.again = again;
    this.conversation.announce(this.node.data ? `Answer: ${this.node.data}` : "No answer.");
  }

  /** Only the last answer can be asked again. */
  settle() {
    this.again?.remove();
  }

  remove() {
    this.root.remove();
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.node.data);
      this.conversation.announce("Copied");
    } catch {
      getSelection().selectAllChildren(this.text); // no right to the clipboard: the text is at least selected
    }
  }
}
