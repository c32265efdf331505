// What every part of the page does: draw its block again when it changes, and say loading, empty, no match or error in the same way.
const part = (draw, setup) => ({
  render({ model, el }) {
    const shell = mount(el, DASH_CSS);
    const tools = { model, shell, root: shell.root, state: {} };
    const again = () => draw(tools, model.get("block") || { state: "loading" });
    tools.again = again;
    model.on("change:block", again);
    const stop = setup ? setup(tools) : null;
    again();
    return () => {
      model.off("change:block", again);
      if (stop) stop();
      shell.dispose();
    };
  },
});

/** A panel with its head; the body is drawn only when there is something to draw. */
function panel(title, block, body, beside = null) {
  const sub = block.sub ? h("span", { class: block.partial ? "sub partial" : "sub" }, block.partial ? [glyph("partial", "partial"), " "] : null, block.sub) : null;
  const head = h("div", { class: "ph" }, h("h2", {}, title), sub, beside);
  return h("div", { class: "p" }, head, block.state === "ok" ? body() : blank(block));
}

/** Loading, empty, no match and error: always words, never a bare hole. */
function blank(block) {
  if (block.state === "loading") {
    const bones = [90, 70, 80, 46].map((width) => h("div", { class: "bone", style: `width:${width}%` }));
    return h("div", { class: "pb late", role: "status" }, bones, h("p", { class: "t2 sm" }, block.text || "Reading the cluster"));
  }
  const failed = block.state === "error";
  const title = failed ? h("p", { class: "m error" }, glyph("error", "error"), " ", block.title) : h("p", { class: "m" }, block.title);
  return h("div", { class: "pb blank", role: failed ? "alert" : "status" }, title, block.text ? h("p", { class: "t2 sm" }, block.text, " ", block.correlation ? h("code", {}, block.correlation) : null) : null);
}

/** A meter: grey below its limit. */
function bar(one) {
  const inner = h("b", { style: `width:${one.pct === null ? 0 : Math.min(100, one.pct)}%` });
  return h("div", { class: `mt ${one.tone}`, "aria-hidden": "true" }, inner);
}

const figure = (one) => h("span", { class: `tn ${one.tone}` }, one.text);

/** A table with a head row; every row is an array of cells. */
function table(caption, heads, rows, className = "c") {
  const th = (head) => h("th", { scope: "col", class: [head.right ? "r" : "", head.opt ? "opt" : ""].join(" ").trim() || null, "aria-sort": head.sorted ? "ascending" : null }, head.button || head.text);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: className }, h("caption", { class: "vh" }, caption), h("thead", {}, h("tr", {}, heads.map(th))), h("tbody", {}, rows)));
}
