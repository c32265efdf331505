// Parts that the card and the pages share: DOM without markup strings, icons, chips, colour scheme. LOOK is filled in from tokens.json, icons.json and the style sheets.
const LOOK = {};

/** An element. Attribute values and children are data; a string becomes a text node, never markup. */
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  return fill(node, ...children);
}

/** Replace the children of a node. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return node;
}

function svg(shapes, box, className) {
  const space = "http://www.w3.org/2000/svg";
  const root = document.createElementNS(space, "svg");
  root.setAttribute("viewBox", box);
  root.setAttribute("class", className);
  root.setAttribute("aria-hidden", "true");
  for (const [tag, attributes] of shapes || []) {
    const shape = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    root.append(shape);
  }
  return root;
}

/** A status shape, hidden from screen readers: the word beside it is read. */
export const glyph = (name, tone = "", more = "") => svg(LOOK.glyph[name], "0 0 14 14", `g ${tone} ${more}`.trim());
export const icon = (name, small = true) => svg(LOOK.icon[name], "0 0 16 16", small ? "i s" : "i");

/** Pieces of a line: {t: text, s: "b" strong, "q" quiet, "m" monospaced}. */
export function spans(pieces) {
  const looks = { b: ["b", "m"], q: ["span", "t3"], m: ["span", "mono"] };
  return (pieces || []).map((piece) => (piece.s ? h(looks[piece.s][0], { class: looks[piece.s][1] }, piece.t) : piece.t));
}

export function riskChip(risk) {
  const bars = [0, 1, 2, 3].map((number) => h("b", { class: number < risk.steps ? "f" : null }));
  return h("span", { class: `risk ${risk.tier}` }, h("span", { class: "steps4", "aria-hidden": "true" }, bars), risk.word, " ", h("i", {}, risk.means));
}

/** Words for screen readers only. */
export const hidden = (text) => h("span", { class: "vh" }, text);

/** Which scheme the surroundings have: our own page says so, then JupyterLab, then a dark class, then the reader's preference. */
export function scheme() {
  const page = document.documentElement;
  if (page.dataset.pvScheme) return page.dataset.pvScheme;
  const lab = document.body && document.body.dataset.jpThemeLight;
  if (lab) return lab === "true" ? "light" : "dark";
  if (page.classList.contains("dark") || page.classList.contains("mui-dark")) return "dark";
  if (page.classList.contains("light") || page.classList.contains("mui-light")) return "light";
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Call back at every change of scheme; returns how to stop. */
export function onScheme(callback) {
  const watch = new MutationObserver(callback);
  const options = { attributes: true, attributeFilter: ["class", "data-pv-scheme", "data-jp-theme-light"] };
  watch.observe(document.documentElement, options);
  if (document.body) watch.observe(document.body, options);
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", callback);
  return () => {
    watch.disconnect();
    media.removeEventListener("change", callback);
  };
}

/** A shadow root of our own inside `el`, with the style sheet and the scheme; returns {root, dispose}. */
export function mount(el, extraCss = "") {
  const host = h("div", { "data-lm-suppress-shortcuts": "true" });
  const shadow = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(LOOK.css + extraCss);
  shadow.adoptedStyleSheets = [sheet];
  const root = h("div", { class: "pv", "data-scheme": scheme() });
  shadow.append(root);
  el.append(host);
  const stop = onScheme(() => root.setAttribute("data-scheme", scheme()));
  return { root, shadow, dispose: () => { stop(); host.remove(); } };
}

/** A slot that is redrawn only when its data has changed. */
export class Slot {
  constructor(node, draw) {
    this.node = node;
    this.draw = draw;
    this.key = undefined;
  }

  update(data) {
    const key = JSON.stringify(data === undefined ? null : data);
    if (key === this.key) return false;
    this.key = key;
    fill(this.node, this.draw(data));
    return true;
  }
}

/** `13:42`, or `1 h 2 min` from an hour on. */
export function countdown(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole >= 3600) return `${Math.floor(whole / 3600)}\u00a0h ${Math.floor((whole % 3600) / 60)}\u00a0min`;
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** `54 s`, `1 min 36 s`, `2 h 5 min`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole}\u00a0s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}\u00a0min` + (whole % 60 ? ` ${whole % 60}\u00a0s` : "");
  return `${Math.floor(whole / 3600)}\u00a0h ${Math.floor((whole % 3600) / 60)}\u00a0min`;
}
