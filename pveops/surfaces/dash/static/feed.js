const KINDS = [["all", "All"], ["proposals", "Proposals"], ["tasks", "Tasks"]];

export default part(({ root, state, again }, block) => {
  const chosen = state.kind || "all";
  const seg = h("div", { class: "seg", role: "group", "aria-label": "Show" }, KINDS.map(([key, name]) => h("button", { type: "button", class: chosen === key ? "on" : "", "aria-pressed": chosen === key ? "true" : "false", onclick: () => { state.kind = key; again(); } }, name)));
  const items = (block.items || []).filter((item) => chosen === "all" || item.kind === chosen);
  const line = (item) => h("li", {}, h("time", {}, item.at), icon(item.icon), h("div", {}, item.who ? h("b", { class: "m" }, item.who) : null, item.text, item.sub ? h("div", { class: `o ${item.tone || ""}` }, item.sub) : null));
  const lines = items.flatMap((item, index) => [item.day && item.day !== (items[index - 1] || {}).day ? h("li", { class: "day" }, item.day) : null, line(item)]);
  const held = root.querySelector(".scrolls");
  const top = held ? held.scrollTop : 0;
  fill(root, panel("Activity", block, () => [h("div", { class: "pb tight" }, seg), h("ul", { class: "fd scrolls", tabindex: "0", "aria-label": "Activity" }, items.length ? lines : h("li", {}, h("span", {}), h("span", {}), "None of these."))]));
  const list = root.querySelector(".scrolls");
  if (list) list.scrollTop = top;
});
