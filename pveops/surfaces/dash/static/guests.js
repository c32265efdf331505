const STATES = [["all", "All"], ["running", "Running"], ["stopped", "Stopped"], ["other", "Other"]];
const HEADS = [["vmid", "Guest"], ["node", "Node"], ["status", "Status"], ["cpu", "CPU"], ["mem", "RAM"], ["", "Up"], ["", "Tags"]];

function setup(tools) {
  const { model, state } = tools;
  state.query = { q: "", state: "all", sort: "vmid", page: 0 };
  tools.ask = (change) => {
    state.query = { page: 0, ...state.query, ...(change.page === undefined ? { page: 0 } : {}), ...change };
    model.set("query", { ...state.query });
    model.save_changes();
  };
  let wait = 0;
  const input = h("input", { class: "inp find", type: "search", placeholder: "id, name, node, tag", "aria-label": "Search guests", autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => tools.ask({ q: input.value }), 150); });
  input.addEventListener("keydown", (event) => { if (event.key === "Escape") { input.value = ""; tools.ask({ q: "" }); } event.stopPropagation(); });
  tools.segments = new Slot(h("div", { class: "seg", role: "group", "aria-label": "Status" }), ([counts, chosen]) => STATES.map(([key, name]) =>
    h("button", { type: "button", class: chosen === key ? "on" : "", "aria-pressed": chosen === key ? "true" : "false", onclick: () => tools.ask({ state: key }) }, `${name} `, h("span", { class: "t3" }, String(counts[key] ?? "")))));
  tools.body = h("div", {});
  tools.sub = h("span", { class: "sub" });
  const search = h("label", { class: "search" }, icon("search"), input, h("kbd", {}, "/"));
  fill(tools.root, h("div", { class: "p" }, h("div", { class: "ph wrap" }, h("h2", {}, "Guests"), tools.sub, h("div", { class: "sp row wrap" }, tools.segments.node, search)), tools.body));
  const find = () => { input.focus(); input.scrollIntoView({ block: "nearest" }); };
  addEventListener("pveops-find", find);
  return () => removeEventListener("pveops-find", find);
}

function row(one) {
  const meter = (value) => (value ? h("span", { class: "mini" }, bar(value), figure(value)) : h("span", { class: "t3" }, ""));
  return h("tr", {},
    h("td", {}, h("span", { class: "m tn" }, String(one.vmid)), " ", one.name, " ", h("span", { class: "tag" }, one.kind)),
    h("td", {}, one.node), h("td", {}, h("span", { class: "st" }, glyph(one.glyph, one.tone), one.kind === "template" ? "template" : one.status, one.lock ? h("span", { class: "warn" }, ` locked: ${one.lock}`) : null)),
    h("td", {}, meter(one.cpu)), h("td", {}, meter(one.mem)), h("td", { class: "r t2 opt" }, one.up), h("td", { class: "opt" }, one.tags.map((tag) => [h("span", { class: "tag" }, tag), " "])));
}

export default part((tools, block) => {
  const asked = block.query || tools.state.query;
  tools.segments.update([block.counts || {}, asked.state]);
  fill(tools.sub, block.partial ? [glyph("partial", "partial"), " "] : null, block.sub || "");
  tools.sub.className = block.partial ? "sub partial" : "sub";
  if (block.state !== "ok") {
    const clear = block.state === "no_match" ? h("button", { type: "button", class: "btn s", onclick: () => { tools.root.querySelector("input").value = ""; tools.ask({ q: "", state: "all" }); } }, "Show all") : null;
    fill(tools.body, blank(block), clear ? h("div", { class: "pb" }, clear) : null);
    return;
  }
  const heads = HEADS.map(([key, name]) => ({ text: name, right: name === "Up", opt: name === "Up" || name === "Tags", sorted: key && asked.sort === key, button: key ? h("button", { type: "button", class: "sort", "data-sort": key, onclick: () => tools.ask({ sort: key }) }, name) : null }));
  const pager = h("div", { class: "pager" }, h("span", { class: "t3 tn", role: "status" }, `${block.found} of ${block.total}, page ${block.page + 1} of ${block.pages}`),
    h("button", { type: "button", class: "btn s", disabled: block.page === 0, onclick: () => tools.ask({ page: block.page - 1 }) }, "Previous"),
    h("button", { type: "button", class: "btn s", disabled: block.page + 1 >= block.pages, onclick: () => tools.ask({ page: block.page + 1 }) }, "Next"));
  const held = tools.shell.shadow.activeElement;
  const focus = held && tools.body.contains(held) ? held.textContent : null;
  fill(tools.body, table("Guests", heads, block.rows.map(row)), block.pages > 1 || block.page ? pager : null);
  if (focus) [...tools.body.querySelectorAll("button")].find((one) => one.textContent === focus && !one.disabled)?.focus({ preventScroll: true });
}, setup);
