// The starter pictures and the questions that go with them, in the language that the visitor chose.

import { byId, element } from "./dom.js";

const LANGUAGES = {
  en: "English",
  es: "Español",
  fr: "Français",
  de: "Deutsch",
  pt: "Português",
  ru: "Русский",
  ar: "العربية",
  hi: "हिन्दी",
  id: "Bahasa Indonesia",
  ja: "日本語",
  ko: "한국어",
  zh: "中文",
};

const { remembered, remember } = window.puna;

/** `onChoose(starter | null, url)` when a picture is picked or let go, `onAsk(question)` when one of its questions is. */
export class Gallery {
  constructor({ onChoose, onAsk }) {
    this.onChoose = onChoose;
    this.onAsk = onAsk;
    this.chosen = null;
    this.buttons = new Map();
    this.isEmpty = true;
    this.language = byId("language");
    this.language.append(...Object.entries(LANGUAGES).map(([code, name]) => element("option", { value: code, lang: code }, name)));
    this.language.value = remembered("language", preferredLanguage());
    this.language.addEventListener("change", () => {
      remember("language", this.language.value);
      this.renderQuestions();
    });
  }

  fill(starters) {
    starters.forEach((starter, index) => this.buttons.set(starter, this.thumbnail(starter, index)));
    byId("thumbnails").replaceChildren(...[...this.buttons.values()].map((button) => element("li", {}, button)));
    this.isEmpty = starters.length === 0;
    byId("gallery").hidden = this.isEmpty;
  }

  /** Marks `starter` as chosen (null: none) and offers its questions. */
  show(starter) {
    this.chosen = starter;
    for (const [other, button] of this.buttons) {
      button.setAttribute("aria-pressed", String(other === starter));
    }
    this.renderQuestions();
  }

  thumbnail(starter, index) {
    const title = starter.title || `Picture ${index + 1}`;
    const url = `web/starters/${starter.file}`;
    const picture = element("img", { src: url, alt: title, loading: "lazy", decoding: "async" });
    const button = element("button", { type: "button", title, aria: { pressed: "false" } }, picture);
    button.addEventListener("click", () => (this.chosen === starter ? this.onChoose(null, "") : this.onChoose(starter, url)));
    return button;
  }

  renderQuestions() {
    const code = this.chosen?.questions[this.language.value] ? this.language.value : "en";
    const questions = this.chosen?.questions[code] ?? [];
    const chips = questions.map((question) => {
      const chip = element("button", { type: "button", dir: "auto", lang: code }, question);
      chip.addEventListener("click", () => this.onAsk(question));
      return chip;
    });
    byId("suggestions").replaceChildren(...chips);
    byId("suggestions").hidden = chips.length === 0;
  }
}

function preferredLanguage() {
  return navigator.languages.map((tag) => tag.slice(0, 2)).find((code) => code in LANGUAGES) ?? "en";
}
