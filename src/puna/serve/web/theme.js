// Sets the colours before the page is painted. Not a module: those wait, and the page would flash.
"use strict";

window.puna = {
  /** A setting that the browser remembers; `fallback` if it has none, or may not keep any. */
  remembered(key, fallback) {
    try {
      return localStorage.getItem("puna." + key) ?? fallback;
    } catch {
      return fallback;
    }
  },

  remember(key, value) {
    try {
      localStorage.setItem("puna." + key, value);
    } catch {
      // Storage is switched off: the setting holds until the page is left.
    }
  },

  applyTheme() {
    const theme = window.puna.remembered("theme", "system");
    const dark = theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  },
};

window.puna.applyTheme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", window.puna.applyTheme);
