const SCHEMES = { dark: "moon", light: "sun" };

export default part(({ root, again }, block) => {
  const turn = () => {
    const next = scheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.pvScheme = next;
    localStorage.setItem("pveops-scheme", next);
    again();
  };
  const live = block.live || { glyph: "pending", tone: "t3", text: "Reading" };
  const actions = block.actions || { icon: "lock", tone: "t3", text: "" };
  const mark = svg([["path", { d: "M10 1.5 17.4 5.7v8.6L10 18.5 2.6 14.3V5.7z", fill: "none", stroke: "currentColor", "stroke-width": "1.6", "stroke-linejoin": "round" }],
    ["path", { d: "M6.2 10.2h2l1.3-3.2 1.8 6 1.2-2.8h1.6", fill: "none", stroke: "var(--pv-accent)", "stroke-width": "1.6", "stroke-linecap": "round", "stroke-linejoin": "round" }]], "0 0 20 20", "mark");
  fill(root, h("div", { class: "appbar" },
    h("div", { class: "brand" }, mark, h("span", {}, "pveops")),
    h("div", { class: "who" }, block.cluster ? h("span", { class: "sw" }, glyph(live.glyph, live.tone), h("span", { class: "cut" }, block.cluster)) : null, block.simulated ? h("span", { class: "chip" }, "simulated cluster") : null),
    h("span", { class: `st ${live.tone === "ok" ? "t2" : live.tone} sp`, role: "status" }, glyph(live.glyph, live.tone), live.text),
    h("span", { class: `st ${actions.tone || "t2"} wide` }, icon(actions.icon), actions.text),
    h("button", { type: "button", class: "ib", "aria-label": scheme() === "dark" ? "Use the light colours" : "Use the dark colours", onclick: turn }, icon(SCHEMES[scheme()], false)),
    block.principal ? h("span", { class: "row wide" }, icon("person", false), h("span", { class: "m" }, block.principal), h("span", { class: "t3 role nw" }, block.role)) : null));
});
