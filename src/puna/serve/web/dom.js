// Building elements. Text always goes in as text: nothing that a model writes is ever read as HTML.

/** An element with properties, `data` and `aria` attributes and children (elements or strings). */
export function element(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(aria)) {
    made.setAttribute(`aria-${name}`, value);
  }
  made.append(...children);
  return made;
}

const PATHS = {
  copy: "M9 9h9.500v9.500H9zM6 15H5.500V5.500H15V6",
  again: "M5 12a7 7 0 1 0 2.200-5.100M5 4.500V8h3.500",
  remove: "M6 6l12 12M18 6L6 18",
  film: "M4 6.500A1.500 1.500 0 0 1 5.500 5h13A1.500 1.500 0 0 1 20 6.500v11a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 4 17.500zM10 9l5 3-5 3z",
};

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", "0 0 24 24");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", PATHS[name]);
  picture.append(path);
  return picture;
}

/** A video without sound that starts by itself, unless less motion was asked for; its name instead, if this browser cannot play it. */
export function moving(url, name, properties) {
  const autoplay = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const video = element("video", { src: url, title: name, muted: true, autoplay, playsInline: true, aria: { label: name }, ...properties });
  video.addEventListener("error", () => video.replaceWith(element("span", { className: "unplayed", title: name }, icon("film"), name)));
  return video;
}

export const byId = (id) => document.getElementById(id);
