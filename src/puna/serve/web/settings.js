// The settings dialog and the light or dark switch. What is chosen is remembered by the browser, never sent anywhere but with a question.

import { byId } from "./dom.js";

const { remembered, remember, applyTheme } = window.puna;

const DEFAULTS = { temperature: "0", "max-tokens": "256", "api-key": "" };

export class Settings {
  constructor() {
    const dialog = byId("settings");
    this.dialog = dialog;
    byId("open-settings").addEventListener("click", () => dialog.showModal());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // the backdrop
    for (const [id, fallback] of Object.entries(DEFAULTS)) {
      const input = byId(id);
      input.value = remembered(id, fallback);
      input.addEventListener("input", () => {
        this.showTemperature();
        if (input.validity.valid && (input.value !== "" || fallback === "")) {
          remember(id, input.value.trim());
        }
      });
      input.addEventListener("change", () => {
        if (!input.validity.valid || (input.value === "" && fallback !== "")) {
          input.value = remembered(id, fallback);
        }
      });
    }
    this.showTemperature();
    this.wireTheme();
  }

  /** The sampling fields of a request. */
  get sampling() {
    return { temperature: Number(byId("temperature").value), max_tokens: Number(byId("max-tokens").value) };
  }

  /** Opens the dialog where the key is typed. */
  askForKey() {
    this.dialog.showModal();
    byId("api-key").focus();
  }

  showTemperature() {
    byId("temperature-shown").value = Number(byId("temperature").value).toFixed(1);
  }

  wireTheme() {
    const select = byId("appearance");
    const choose = (theme) => {
      remember("theme", theme);
      select.value = theme;
      applyTheme();
    };
    select.value = remembered("theme", "system");
    select.addEventListener("change", () => choose(select.value));
    byId("theme").addEventListener("click", () => choose(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  }
}
