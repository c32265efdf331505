// The confirm card: draws what Python says and sends what was pressed. It decides nothing and holds no authority: a press is a wish with the
// digest of the plan that was on the screen, and Python (then the executor) decides what becomes of it.
// Works on two kinds of model: anywidget's (which can send) and Panel's AnyWidgetComponent (which sets a property).
const SILENT_MS = 4000;
const BEAT_MS = 15000;
const HELLO_AGAIN_MS = [400, 1000, 2000, 3000]; // JupyterLab opens the way past a busy cell a moment after the card: what was sent before waits behind that cell
const OPEN = new Set(["draft", "waiting", "running", "unknown"]);
const SPOKEN_AT_S = [300, 60];
const MANY_CHANGES = 8;
const STILL_MS = 30000;
const FONTS = Symbol.for("pveops.fonts");
let made = 0;

class Card {
  constructor(desk, key) {
    this.desk = desk;
    this.key = key;
    this.busy = null;
    this.typed = "";
    this.spoken = new Set();
    this.build(`pv${(made += 1)}`);
  }

  build(id) {
    const slot = (tag, attributes, draw) => new Slot(h(tag, attributes), draw.bind(this));
    this.mark = slot("span", { id: `${id}-s`, class: "st" }, (view) => this.drawMark(view));
    this.chips = slot("span", { style: "display:contents" }, (view) => this.drawChips(view));
    this.right = h("span", { class: "sp t2" });
    this.title = h("h3", { id: `${id}-t`, tabindex: "-1" });
    this.lead = slot("p", { class: "lead" }, (view) => [view.icon ? [icon(view.icon), " "] : null, spans(view.lead)]);
    this.note = slot("div", {}, (note) => note && h("div", { class: `sec note ${note.tone}` }, h("b", { class: "m" }, note.strong), " ", note.text));
    this.silent = slot("div", {}, (text) => text && h("div", { class: "sec note stale" }, glyph("stale", "stale"), " ", text));
    this.steps = h("div", {});
    this.duo = slot("div", {}, (view) => this.drawDuo(view));
    this.checks = slot("div", {}, (view) => this.drawChecks(view));
    this.rehearsal = slot("div", {}, (report) => report && this.drawRehearsal(report));
    this.message = slot("div", {}, (message) => message && this.drawMessage(message));
    this.ask = slot("div", {}, (phrase) => phrase && this.drawPhrase(phrase));
    this.actions = slot("div", {}, (view) => this.drawActions(view));
    this.record = slot("div", {}, (rows) => this.drawRecord(rows));
    this.foot = slot("div", { class: "foot" }, (lines) => lines.map((pieces) => h("span", {}, spans(pieces))));
    this.polite = h("div", { class: "vh", role: "status", "aria-live": "polite" });
    this.loud = h("div", { class: "vh", role: "alert", "aria-live": "assertive" });
    this.timer = h("div", { class: "vh", role: "status", "aria-live": "polite" });
    this.line = new Slot(h("button", { type: "button", class: "fl", "aria-expanded": "false", onclick: () => this.desk.unfold(this.key) }), (view) => this.drawLine(view));
    const body = [this.title, this.lead, this.silent, this.note, this.steps, this.duo, this.checks, this.rehearsal, this.message, this.ask, this.actions, this.record];
    this.node = h(
      "section",
      { class: "card", "aria-labelledby": `${id}-t ${id}-s`, onkeydown: (event) => this.onKey(event) },
      this.line.node,
      h("div", { class: "chd" }, this.mark.node, this.chips.node, this.right),
      h("div", { class: "cb0" }, body.map((part) => part.node || part)),
      this.foot.node, this.polite, this.loud, this.timer,
    );
  }

  update(view) {
    const first = this.view === undefined;
    const before = this.view;
    this.view = view;
    this.node.setAttribute("data-s", view.state);
    this.mark.node.className = `st ${view.tone}`;
    this.mark.update([view.glyph, view.word]);
    this.chips.update([view.risk, view.id, view.simulated]);
    if (this.title.textContent !== view.title) this.title.textContent = view.title;
    this.lead.update({ lead: view.lead, icon: view.lead_icon });
    this.note.update(view.note);
    this.updateSteps(view);
    this.duo.update({ changes: view.changes, facts: view.facts });
    this.checks.update({ title: view.checks_title, checks: view.checks });
    this.rehearsal.update(view.rehearsal);
    this.message.update(view.message);
    this.ask.update(view.phrase);
    this.record.update(view.record);
    this.foot.update(view.foot);
    if (before && before.digest !== view.digest) this.typed = "";
    this.tick();
    if (!first && before.says !== view.says) (view.state === "failed" || view.state === "unknown" ? this.loud : this.polite).textContent = view.says;
  }

  /** What changes with time alone: the countdown, the buttons that go with it, and whether Python answers. */
  tick() {
    const view = this.view;
    const right = view.right;
    const passed = this.desk.secondsSince();
    let over = false;
    if (right.countdown_s !== undefined) {
      const left = right.countdown_s - passed;
      over = left <= 0;
      if (this.desk.mute) this.put(right.text, "", `expires ${right.at}`);
      else this.put(over ? "Time is over" : right.text, over ? "" : countdown(left));
      this.speakTime(left);
    } else if (right.elapsed_s !== undefined) this.put("", this.desk.mute ? "" : duration(right.elapsed_s + passed));
    else this.put(right.text, "");
    if (this.busy && this.desk.acked(this.busy.seq)) this.busy = null;
    this.silent.update(this.desk.silence(view));
    this.drawActionsKeepingFocus({ actions: view.actions, hint: view.hint, busy: this.busy && this.busy.type, mute: this.desk.mute, off: this.desk.quiet, over });
    this.updateLine();
  }

  /** Where many wait, one line stands for a card until somebody opens it. */
  fold(on) {
    this.folded = on;
    this.node.toggleAttribute("data-folded", on);
    this.updateLine();
  }

  updateLine() {
    const { glyph: shape, tone, word, title, risk } = this.view;
    this.line.update(this.folded ? { shape, tone, word, title, risk, right: this.right.textContent } : null);
  }

  drawLine(line) {
    if (!line) return null;
    const { shape, tone, word, title, risk, right } = line;
    return [h("span", { class: `st ${tone}` }, glyph(shape), word), riskChip(risk), h("span", { class: "m el" }, title), h("span", { class: "sp t2" }, right), icon("chevron-right")];
  }

  put(words, figures, instead = "") {
    const text = instead || words + (words && figures ? " " : "") + figures;
    if (this.right.textContent === text) return;
    fill(this.right, instead || [words, words && figures ? " " : "", figures ? h("b", { class: "m" }, figures) : null]);
  }

  speakTime(left) {
    for (const at of SPOKEN_AT_S) {
      if (left > at || left < at - 20 || this.spoken.has(at)) continue;
      this.spoken.add(at);
      this.timer.textContent = `${at / 60} ${at > 60 ? "minutes" : "minute"} left to decide: ${this.view.title}`;
    }
  }

  drawMark([shape, word]) {
    return [glyph(shape, "", shape === "run" ? "spin" : ""), word];
  }

  drawChips([risk, id, simulated]) {
    return [riskChip(risk), h("span", { class: "mono t3" }, id || "draft"), simulated ? h("span", { class: "chip" }, "simulated cluster") : null];
  }

  updateSteps(view) {
    if (!this.rows || this.rows.length !== view.steps.length) {
      this.rows = view.steps.map(() => new StepRow());
      this.list = h("ol", { class: "stp" }, this.rows.map((row) => row.node));
      this.heading = new Slot(h("div", { style: "display:contents" }), (title) => (title ? h("h4", {}, title) : null));
      this.calls = new Slot(h("div", { class: "calls" }), (calls) => calls.length ? h("details", {}, h("summary", {}, `Wire calls, ${calls.length}`), calls.map((call) => h("code", {}, call))) : null);
      fill(this.steps, view.steps.length ? h("div", { class: "sec" }, this.heading.node, this.list, this.calls.node) : null);
    }
    this.heading.update(view.steps_title);
    this.calls.update(view.steps.filter((step) => step.call).map((step) => `${step.verb} ${step.call}`));
    view.steps.forEach((step, index) => this.rows[index].update(step));
  }

  drawDuo({ changes, facts }) {
    const said = (fact) => (fact.tone ? h("span", { class: `st ${fact.tone}` }, glyph(fact.glyph, fact.tone), h("span", {}, spans(fact.v))) : spans(fact.v));
    const list = facts.length ? h("dl", { class: "kv sec" }, facts.map((fact) => [h("dt", {}, fact.k), h("dd", {}, said(fact))])) : null;
    if (!changes.length) return list;
    return h("div", { class: list ? "duo" : "" }, h("div", { class: "sec" }, h("h4", {}, "Expected change"), this.drawChanges(changes)), list);
  }

  drawChanges(changes) {
    const row = (change) => h("tr", {},
      h("td", {}, change.what), h("td", { class: "old r" }, change.before),
      h("td", { class: "ar" }, icon("chevron-right"), hidden("becomes")), h("td", { class: "new" }, change.after), h("td", { class: "t3 sm r" }, change.by));
    const many = changes.length > MANY_CHANGES; // a box that scrolls keeps the buttons in reach
    return h("div", { class: many ? "box many" : "box", tabindex: many ? "0" : null }, h("table", { class: "df" }, h("tbody", {}, changes.map(row))));
  }

  drawNotes(notes, kind) {
    const items = notes.map((note) => h("li", {}, glyph(note.glyph, note.tone), h("span", {}, hidden(`${note.word}: `), note.text)));
    return h("ul", { class: kind }, items);
  }

  /** What the plan did on a simulated copy: what filled up there, what to mind, what the copy could not know. */
  drawRehearsal({ title, changes, notes }) {
    return h("div", { class: "sec reh" }, h("h4", {}, title), changes.length ? this.drawChanges(changes) : null, notes.length ? this.drawNotes(notes, "ck one") : null);
  }

  drawChecks({ title, checks }) {
    if (!checks.length) return null;
    return h("div", { class: "sec" }, h("h4", {}, title), this.drawNotes(checks, "ck"));
  }

  drawMessage(message) {
    const shapes = { error: "error", warn: "warn", ok: "ok", unknown: "unknown" };
    const tail = [message.hint ? ` ${message.hint}` : "", message.correlation ? [" ", h("span", { class: "mono t3" }, message.correlation)] : null];
    return h("div", { class: `sec note ${message.tone}`, role: message.tone === "error" ? "alert" : "status" },
      glyph(shapes[message.tone] || "info", message.tone), " ", message.kind ? h("b", { class: "m" }, `${message.kind}. `) : null, message.text, tail);
  }

  drawPhrase(phrase) {
    const count = h("span", { class: "t3 sm", "aria-live": "polite" });
    const input = h("input", { class: "inp", value: this.typed, autocomplete: "off", spellcheck: "false", "aria-label": `Type ${phrase} to enable the confirm button` });
    const tell = () => {
      const left = phrase.startsWith(this.typed) ? phrase.length - this.typed.length : -1;
      count.textContent = left < 0 ? "does not match" : left === 0 ? "matches" : `${left} ${left === 1 ? "character" : "characters"} to go`;
    };
    input.addEventListener("input", () => { this.typed = input.value; tell(); this.tick(); });
    tell();
    return h("div", { class: "phr" }, h("span", {}, "Type ", h("code", {}, phrase)), input, count);
  }

  drawActionsKeepingFocus(data) {
    const inside = this.desk.shell.shadow.activeElement;
    const held = inside && this.actions.node.contains(inside) ? inside.getAttribute("data-type") : null;
    const typed = Boolean(this.view.phrase) && this.typed === this.view.phrase;
    if (!this.actions.update({ ...data, typed }) || held === null) return;
    (this.actions.node.querySelector(`[data-type="${held}"]`) || this.title).focus({ preventScroll: true });
  }

  drawActions({ actions, hint, busy, mute, off, over, typed }) {
    if (!actions.length || mute) return hint && !mute ? h("div", { class: "actions" }, h("span", { class: "hint" }, hint)) : null;
    const reasons = [];
    const buttons = actions.map((action) => {
      const untyped = action.type === "approve" && this.view.phrase && !typed;
      const late = over && (action.type === "approve" || action.type === "deny" || action.type === "withdraw");
      if (action.off && action.off !== hint) reasons.push(action.off);
      const disabled = Boolean(busy || off || action.off || untyped || late);
      const pressed = busy === action.type;
      return h("button", {
        type: "button", class: `btn ${action.kind}`, "data-type": action.type, "aria-disabled": disabled ? "true" : null, "aria-busy": pressed ? "true" : null,
        title: action.off || null, onclick: (event) => { if (!disabled && event.isTrusted) this.press(action.type); }, // a script that clicks is no person
      }, pressed ? [glyph("run"), action.type === "rehearse" ? "Rehearsing" : "Sending"] : [action.icon ? icon(action.icon) : null, action.label]);
    });
    const beside = [hint, ...new Set(reasons)].filter(Boolean).join(" ");
    return h("div", { class: "actions" }, buttons, beside ? h("span", { class: "hint" }, beside) : null);
  }

  drawRecord(rows) {
    if (!rows || !rows.length) return null;
    const row = (line) => h("tr", {}, h("td", { class: "mono t3" }, line.seq), h("td", {}, line.at), h("td", {}, line.kind), h("td", {}, line.actor), h("td", {}, line.text));
    const head = h("tr", {}, ["Audit", "Time", "What", "Who", "Details"].map((name) => h("th", { scope: "col" }, name)));
    return h("div", { class: "sec" }, h("h4", {}, "Record"), h("div", { class: "box scroll" }, h("table", { class: "df rec" }, h("thead", {}, head), h("tbody", {}, rows.map(row)))));
  }

  press(type) {
    if (this.busy) return;
    const said = type === "approve" ? { phrase: this.typed } : {}; // never a key without a value: Panel cannot send one, and says nothing
    const seq = this.desk.send({ type, card: this.key, digest: this.view.digest, ...said });
    this.busy = { type, seq };
    this.tick();
  }

  onKey(event) {
    const typing = event.target instanceof HTMLInputElement;
    if (typing) event.stopPropagation();
    if (typing && event.key === "Enter") event.preventDefault();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const button = { a: "approve", d: "dry_run" }[event.key];
    const found = button && this.actions.node.querySelector(`[data-type="${button}"]`);
    if (!found) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "a") found.focus();
    else if (event.isTrusted && found.getAttribute("aria-disabled") !== "true") this.press(button);
  }
}

class StepRow {
  constructor() {
    this.node = h("li", {});
    this.no = new Slot(h("span", { class: "no" }), ([shape, tone, number]) => (shape ? glyph(shape, tone) : String(number)));
    this.what = new Slot(h("span", { class: "what" }), ([word, text, note]) => [word ? hidden(`${word}: `) : null, spans(text), note ? h("span", { class: "t3" }, ` ${note}`) : null]);
    this.right = h("span", { class: "e" });
    this.call = new Slot(h("span", { class: "w" }), ([verb, call]) => [h("span", { class: "verb" }, verb), ` ${call}`]);
    this.bar = h("div", { class: "pgs", "aria-hidden": "true" }, h("b", {}));
    this.log = h("div", { class: "log" });
    this.node.append(this.no.node, this.what.node, this.right);
  }

  update(step) {
    this.no.update([step.glyph, step.tone, step.n]);
    this.what.update([step.word, step.text, step.note]);
    if (this.right.textContent !== (step.right || "")) this.right.textContent = step.right || "";
    if (step.current) this.node.setAttribute("aria-current", "step");
    else this.node.removeAttribute("aria-current");
    if (step.call) this.call.update([step.verb, step.call]);
    this.show(this.call.node, Boolean(step.call));
    this.show(this.bar, step.progress !== undefined);
    if (step.progress !== undefined) this.bar.firstChild.style.width = `${Math.round(step.progress * 100)}%`;
    const lines = (step.log || []).join("\n");
    if (this.log.textContent !== lines) this.log.textContent = lines;
    this.show(this.log, lines !== "");
  }

  show(node, wanted) {
    if (wanted && node.parentNode !== this.node) this.node.append(node);
    if (!wanted && node.parentNode === this.node) node.remove();
  }
}

/** All cards of one model: the proposal and what followed from it. */
class Desk {
  constructor(model, el) {
    this.model = model;
    this.shell = mount(el);
    this.cards = new Map();
    this.wanted = new Set();
    this.client = Math.random().toString(36).slice(2, 10);
    this.seq = 0;
    this.skew = 0;
    this.heard = false;
    this.waiting = new Map();
    this.pressed = new Set();
    this.touched = 0;
    for (const kind of ["pointermove", "pointerdown", "keydown"]) this.shell.root.addEventListener(kind, () => { this.touched = Date.now(); });
    this.onView = () => this.redraw(true);
    this.onAcks = () => { this.collect(); this.tickAll(); };
    model.on("change:view", this.onView);
    model.on("change:acks", this.onAcks);
    model.on("msg:custom", (message, buffers) => this.onMessage(message, buffers));
    this.redraw(false);
    this.onConfirmKey = () => this.focusConfirm();
    addEventListener("pveops-confirm", this.onConfirmKey);
    this.greet();
    this.clock = setInterval(() => this.tickAll(), 1000);
    this.beat = setInterval(() => { if (!document.hidden && [...this.cards.values()].some((card) => OPEN.has(card.view.state))) this.send({ type: "hello" }); }, BEAT_MS);
  }

  dispose() {
    this.gone = true;
    clearInterval(this.clock);
    clearInterval(this.beat);
    removeEventListener("pveops-confirm", this.onConfirmKey);
    this.model.off("change:view", this.onView);
    this.model.off("change:acks", this.onAcks);
    this.shell.dispose();
  }

  send(message) {
    this.seq += 1;
    const whole = { ...message, client: this.client, seq: this.seq, at_ms: Math.round(Date.now() + this.skew) };
    this.waiting.set(this.seq, Date.now());
    if (message.type !== "hello") this.pressed.add(this.seq);
    setTimeout(() => this.tickAll(), SILENT_MS + 50);
    if (this.model.send) this.model.send(whole);
    else {
      this.model.set("press", whole);
      this.model.save_changes();
    }
    return this.seq;
  }

  collect() {
    const mine = `${this.client}:`;
    for (const ack of this.model.get("acks") || []) {
      if (!ack.startsWith(mine)) continue;
      this.answered(Number(ack.slice(mine.length)));
    }
  }

  /** Python answers now. Greetings that were sent before are of no more interest; a press is, until it is answered itself. */
  answered(seq) {
    if (!this.heard) this.askForFonts();
    this.heard = true;
    this.waiting.delete(seq);
    for (const other of [...this.waiting.keys()]) if (other < seq && !this.pressed.has(other)) this.waiting.delete(other);
  }

  acked(seq) {
    return !this.waiting.has(seq);
  }

  /** Whether something was sent that nobody answered in time. */
  get quiet() {
    return [...this.waiting.values()].some((at) => Date.now() - at > SILENT_MS);
  }

  /** Whether nobody ever answered: a saved card. */
  get mute() {
    return this.quiet && !this.heard;
  }

  silence(view) {
    if (!this.quiet || !OPEN.has(view.state)) return "";
    const elsewhere = view.state === "waiting" && view.id ? ` Elsewhere: pveops proposals approve ${view.id}` : "";
    if (this.mute) return `Python does not answer this card, so it shows what it was told last and confirms nothing.${elsewhere}`;
    return `Python no longer answers this card: it is busy, was restarted or is gone. What you see may be old. A confirmation that arrives more than a minute late is not taken.${elsewhere}`;
  }

  secondsSince() {
    const view = this.model.get("view") || {};
    return (Date.now() + this.skew - (view.now_ms || Date.now())) / 1000;
  }

  redraw(fresh) {
    const view = this.model.get("view") || {};
    if (fresh && view.now_ms) this.skew = view.now_ms - Date.now();
    this.collect();
    const seen = new Set();
    for (const card of view.cards || []) {
      seen.add(card.key);
      if (!this.cards.has(card.key)) {
        this.cards.set(card.key, new Card(this, card.key));
        this.shell.root.append(this.cards.get(card.key).node);
      }
      this.cards.get(card.key).update(card);
    }
    for (const [key, card] of this.cards) {
      if (seen.has(key)) continue;
      card.node.remove();
      this.cards.delete(key);
    }
    this.foldAll();
    dispatchEvent(new CustomEvent("pveops-cards", { detail: this.cards.size }));
  }

  /** Only so many stand open: those that ask for something first. Nothing that is open moves or closes under somebody's hands. */
  foldAll() {
    const most = (this.model.get("view") || {}).unfolded;
    if (!most) return;
    const still = Date.now() - this.touched > STILL_MS;
    const asks = (card) => OPEN.has(card.view.state);
    const cards = [...this.cards.values()];
    const room = new Set([...cards.filter(asks), ...cards.filter((card) => !asks(card)).reverse()].slice(0, most));
    for (const card of cards) {
      const open = room.has(card) || this.wanted.has(card.key);
      if (card.folded === undefined || (still && card.folded === open)) card.fold(!open);
    }
  }

  unfold(key) {
    const card = this.cards.get(key);
    this.wanted.add(key);
    card.fold(false);
    card.title.focus({ preventScroll: true });
  }

  /** The page's key for it: puts the focus on the first Confirm, never presses it. */
  focusConfirm() {
    const found = this.shell.root.querySelector('.card:not([data-folded]) [data-type="approve"]');
    if (found) found.focus();
  }

  tickAll() {
    for (const card of this.cards.values()) card.tick();
    this.foldAll();
  }

  greet() {
    this.send({ type: "hello" });
    for (const wait_ms of HELLO_AGAIN_MS) setTimeout(() => { if (!this.heard && !this.gone) this.send({ type: "hello" }); }, wait_ms);
  }

  askForFonts() {
    if (!this.model.send || globalThis[FONTS]) return;
    globalThis[FONTS] = "asked";
    this.model.send({ type: "fonts", client: this.client, seq: 0 });
  }

  async onMessage(message, buffers) {
    if (!message || message.type !== "fonts" || !buffers || globalThis[FONTS] === "there") return;
    globalThis[FONTS] = "there";
    const faces = message.faces.map((face, index) => new FontFace(face.family, buffers[index], { weight: face.weight }));
    for (const face of await Promise.all(faces.map((one) => one.load()))) document.fonts.add(face);
  }
}

export default {
  render({ model, el }) {
    const desk = new Desk(model, el);
    return () => desk.dispose();
  },
};
