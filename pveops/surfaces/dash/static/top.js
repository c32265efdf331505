const MOST = 4;

export default part(({ root, state, again }, block) => {
  const facts = (block.facts || []).map((fact) => h("div", {}, h("dt", {}, fact.k),
    h("dd", {}, h("span", { class: `st ${fact.tone}` }, fact.glyph ? glyph(fact.glyph, fact.tone) : null, fact.v), fact.of ? h("span", { class: "t3" }, ` ${fact.of}`) : null)));
  const all = block.banners || [];
  const shown = state.all ? all : all.slice(0, MOST);
  const banner = (one) => h("div", { class: `al ${one.tone}` }, glyph(one.tone, one.tone),
    h("div", { class: "grow" }, h("div", { class: "b" }, one.title), h("p", {}, one.text, one.correlation ? [" ", h("code", {}, one.correlation)] : null)));
  const more = all.length > shown.length ? h("button", { type: "button", class: "btn s", onclick: () => { state.all = true; again(); } }, `${all.length - shown.length} more`) : null;
  fill(root, h("div", { class: "head" }, h("h1", {}, "Cluster"), facts.length ? h("dl", { class: "facts" }, facts) : null),
    block.state === "loading" ? h("p", { class: "t2 late", role: "status" }, "Reading the cluster") : null,
    h("div", { class: "alerts", role: "region", "aria-label": "What needs attention" }, shown.map(banner), more));
});
