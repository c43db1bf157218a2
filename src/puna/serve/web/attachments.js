// The pictures and videos that go with the next question: chosen from the starters, or brought by button, paste or drop.

import { byId, element, icon, moving } from "./dom.js";

const PICTURES = ["image/png", "image/jpeg", "image/webp", "image/gif"];
const VIDEOS = ["video/mp4", "video/webm", "video/quicktime", "video/x-m4v"];
const MAX_BYTES = 20_000_000; // the server's own bound for one picture; a video of this size still fits into one request
const MAX_ITEMS = 4;

/** Calls `onChange` when the list changes and `onProblem(text)` for a file that cannot be taken. */
export class Attachments {
  constructor({ onChange, onProblem }) {
    this.items = []; // {url: data URL, shown: what the page shows of it, isVideo, name, starter: null | object}
    this.onChange = onChange;
    this.onProblem = onProblem;
    this.list = byId("attachments");
    this.wireButton();
    this.wirePaste();
    this.wireDrop();
  }

  get starter() {
    return this.items.find((item) => item.starter)?.starter ?? null;
  }

  async addFiles(files) {
    for (const file of files) {
      const isVideo = VIDEOS.includes(file.type);
      if (!isVideo && !PICTURES.includes(file.type)) {
        const known = "PNG, JPEG, WebP and GIF pictures work, and mp4 and webm videos";
        this.onProblem(`“${file.name}” cannot be read here: ${known}.`);
      } else if (file.size === 0) {
        this.onProblem(`“${file.name}” is empty.`);
      } else if (file.size > MAX_BYTES) {
        this.onProblem(`“${file.name}” is larger than 20 MB. Please bring a smaller copy${isVideo ? ", or a shorter clip" : ""}.`);
      } else if (this.items.length >= MAX_ITEMS) {
        this.onProblem(`${MAX_ITEMS} pictures or videos are as many as one question can take.`);
        return;
      } else {
        const url = await dataUrl(file);
        if (isVideo) {
          // Not every browser plays a video from a data: URL. One that this browser cannot play at all may still be read by the server.
          this.add({ url, shown: URL.createObjectURL(file), isVideo, name: file.name, starter: null });
        } else if (await canBeShown(url)) {
          this.add({ url, shown: url, isVideo, name: file.name, starter: null });
        } else {
          this.onProblem(`“${file.name}” seems to be damaged: the browser cannot open it.`);
        }
      }
    }
  }

  /** A starter picture takes the place of the one chosen before. */
  async chooseStarter(starter, url) {
    const response = await fetch(url);
    if (!response.ok) {
      this.onProblem("This picture could not be loaded from the server.");
      return;
    }
    const shown = await dataUrl(await response.blob());
    const item = { url: shown, shown, isVideo: false, name: starter.title || "starter picture", starter };
    this.items = this.items.filter((other) => !other.starter);
    this.add(item);
  }

  dropStarter() {
    this.items = this.items.filter((item) => !item.starter);
    this.render();
  }

  /** Empties the list and returns what it held. */
  take() {
    const taken = this.items;
    this.items = [];
    this.render();
    return taken;
  }

  add(item) {
    this.items = [...this.items, item];
    this.render();
  }

  render() {
    this.list.replaceChildren(...this.items.map((item) => this.thumbnail(item)));
    this.list.hidden = this.items.length === 0;
    this.onChange();
  }

  thumbnail(item) {
    const remove = element("button", { type: "button", title: "Remove", aria: { label: `Remove ${item.name}` } }, icon("remove"));
    remove.addEventListener("click", () => {
      this.items = this.items.filter((other) => other !== item);
      forget(item);
      this.render();
      byId("question").focus();
    });
    const shown = item.isVideo ? moving(item.shown, item.name, {}) : element("img", { src: item.shown, alt: item.name });
    const badge = item.isVideo ? [element("span", { className: "badge" }, icon("film"))] : [];
    return element("li", {}, shown, ...badge, remove);
  }

  wireButton() {
    const input = byId("file");
    byId("attach").addEventListener("click", () => input.click());
    input.addEventListener("change", async () => {
      await this.addFiles([...input.files]);
      input.value = ""; // so that the same file can be chosen again
      byId("question").focus();
    });
  }

  wirePaste() {
    document.addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files];
      if (files.length > 0) {
        event.preventDefault();
        this.addFiles(files);
      }
    });
  }

  wireDrop() {
    const veil = byId("drop");
    let depth = 0; // enter and leave come for every element on the way
    const show = (entering) => {
      depth = Math.max(0, depth + (entering ? 1 : -1));
      veil.hidden = depth === 0;
    };
    const carriesFiles = (event) => event.dataTransfer.types.includes("Files");
    document.addEventListener("dragenter", (event) => carriesFiles(event) && show(true));
    document.addEventListener("dragleave", (event) => carriesFiles(event) && show(false));
    document.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
    document.addEventListener("drop", (event) => {
      if (carriesFiles(event)) {
        event.preventDefault();
        depth = 0;
        veil.hidden = true;
        this.addFiles([...event.dataTransfer.files]);
      }
    });
  }
}

/** Lets go of the memory behind a video that will not be shown again. */
export function forget({ shown, isVideo }) {
  if (isVideo) {
    URL.revokeObjectURL(shown);
  }
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}

function canBeShown(url) {
  return new Promise((resolve) => {
    const picture = new Image();
    picture.addEventListener("load", () => resolve(true));
    picture.addEventListener("error", () => resolve(false));
    picture.src = url;
  });
}
