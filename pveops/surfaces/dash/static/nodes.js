function spark(points) {
  const width = 54, height = 30;
  const known = points.map((value, index) => [index, value]).filter((pair) => pair[1] !== null);
  if (known.length < 2) return null;
  const x = (index) => (index / (points.length - 1)) * width;
  const y = (value) => height - 1 - Math.min(1, Math.max(0, value)) * (height - 3);
  let line = "", before = -2;
  for (const [index, value] of known) {
    line += `${index === before + 1 ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    before = index;
  }
  const last = known[known.length - 1];
  return svg([["path", { d: `M0 ${height - 1}H${width}`, stroke: "var(--pv-line)", "stroke-width": "1" }],
    ["path", { d: line, fill: "none", stroke: "var(--pv-meter)", "stroke-width": "1.3", "stroke-linejoin": "round" }],
    ["circle", { cx: String(x(last[0])), cy: String(y(last[1])), r: "1.8", fill: "var(--pv-meter)" }]], `0 0 ${width} ${height}`, "spark");
}

function node(one) {
  const row = (name, meter) => h("div", { class: "k" }, h("span", {}, name), bar(meter), figure(meter));
  const head = h("div", { class: "row nh" }, glyph(one.glyph, one.tone), hidden(`${one.word}: `), h("h3", {}, one.name), h("span", { class: "xs t3 nw" }, one.guests), one.note ? h("span", { class: "xs unknown m sp" }, one.word) : null);
  if (one.note) return h("article", { class: "nd unknown" }, head, h("p", { class: "xs t2" }, one.note));
  const line = spark(one.spark || []);
  const label = one.spark && one.spark.length ? hidden(`CPU in the last hour up to ${Math.round(Math.max(...one.spark.map((value) => value || 0)) * 100)} percent`) : null;
  return h("article", { class: `nd ${one.tone}` }, head,
    h("div", { class: "nb" }, h("div", {}, row("CPU", one.cpu), row("RAM", one.mem), row("Disk", one.disk)), h("div", { class: "up" }, h("div", { class: "xs t3 r nw" }, one.up), line, label)));
}

export default part(({ root }, block) => {
  fill(root, panel("Nodes", block, () => h("div", { class: "nodes" }, h("div", { class: "nhead", "aria-hidden": "true" }, ["", "Node", "CPU", "RAM", "Disk"].map((name) => h("span", {}, name))), block.items.map(node))));
});
