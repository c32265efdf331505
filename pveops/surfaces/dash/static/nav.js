const GROUPS = [
  ["Observe", [["cluster", "cluster", "Cluster"], ["guests", "guests", "Guests"], ["storage", "storage", "Storage"], ["work", "task", "Tasks and backups"], ["activity", "pulse", "Activity"]]],
  ["Act", [["approvals", "approvals", "Approvals"]]],
];
const ON_PHONES = ["cluster", "guests", "approvals", "activity"];

export default part(({ root, state, again }, block) => {
  const go = (target) => (event) => {
    event.preventDefault();
    const place = document.getElementById(target);
    if (target === "cluster") document.querySelector(".main").scrollTo({ top: 0 });
    else if (place) place.scrollIntoView();
    state.at = target;
    again();
  };
  const at = state.at || "cluster";
  const count = (target) => (target === "approvals" && block.waiting ? h("span", { class: "n" }, String(block.waiting), hidden(" waiting")) : null);
  const link = ([target, picture, name]) => h("a", { href: `#${target}`, class: [at === target ? "on" : "", ON_PHONES.includes(target) ? "" : "wide"].join(" "), "aria-current": at === target ? "true" : null, onclick: go(target) },
    icon(picture, false), h("span", {}, name), count(target));
  const links = (block.links || []).map((one) => h("div", {}, glyph(one.glyph, one.tone), h("span", {}, one.name), h("span", {}, one.text)));
  fill(root, h("div", { class: "side" }, GROUPS.map(([title, entries]) => [h("h4", {}, title), entries.map(link)]), h("div", { class: "links", role: "group", "aria-label": "Connections" }, links)));
});
