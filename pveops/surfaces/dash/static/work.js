export default part(({ root }, block) => {
  const failed = block.failed || { state: "loading" };
  const backups = block.backups || { state: "loading" };
  const chip = (one, tone) => (one.state === "ok" ? h("span", { class: `n ${tone}` }, String(one.count)) : null);
  const task = (one) => h("tr", {}, h("td", {}, h("span", { class: "st" }, glyph(one.tone, one.tone), h("time", {}, one.at))), h("td", {}, one.node), h("td", {}, one.what), h("td", { class: "why" }, one.why));
  const guest = (one) => h("tr", {}, h("td", {}, one.guest), h("td", {}, one.node), h("td", { class: "r" }, one.last));
  fill(root, h("div", { class: "two" },
    panel("Failed tasks", failed, () => table("Failed tasks", [{ text: "Started" }, { text: "Node" }, { text: "Task" }, { text: "Proxmox VE says" }], failed.rows.map(task)), chip(failed, "e")),
    panel("Backups", backups, () => table("Guests without a recent backup", [{ text: "Guest" }, { text: "Node" }, { text: "Last backup", right: true }], backups.rows.map(guest)), chip(backups, ""))));
});
