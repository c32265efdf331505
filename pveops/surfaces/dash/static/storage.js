export default part(({ root }, block) => {
  const heads = [{ text: "Storage" }, { text: "Type", opt: true }, { text: "Used" }, { text: "", right: true }, { text: "Capacity", right: true }, { text: "Content", opt: true }];
  const row = (one) => h("tr", {},
    h("td", {}, h("span", { class: "st" }, glyph(one.glyph, one.tone), hidden(`${one.word || one.glyph}: `), one.name)), h("td", { class: "t2 opt" }, one.type, one.word ? h("span", { class: "unknown" }, `, ${one.word}`) : null),
    h("td", { class: "w90" }, bar(one.used)), h("td", { class: "r m" }, figure(one.used)), h("td", { class: "r" }, one.capacity), h("td", { class: "t3 cut opt" }, one.content));
  fill(root, panel("Storage", block, () => table("Storage", heads, block.rows.map(row))));
});
