/* bltlabLane: one trace drawn as bytes in their states, with rejected drafts below. Long texts stay quick: only nodes that
   changed are written (`low` is the first position that the latest events may have touched), and the bytes stand in lines of
   our own making, so that the browser lays out and paints the lines in view and no others. */
var bltlabLane = (() => {
  const { OFFSET, MASK, DASH, isHex, glyph, named, odds, spans, stops, character, many, el, write, cell, group } = bltlabBase;
  const { blank, apply, reach, touched, totals, alone, CLOCKS, phase, sentence, headline, keeping, boast } = bltlabFold;
  const STATS = { "new bytes": s => s.bytes, "patcher passes": s => s.nfe[0], "encoder passes": s => s.nfe[1],
    "global passes": s => s.nfe[2], "decoder passes": s => s.nfe[3],
    "bytes a round": s => s.rounds ? (s.bytes / s.rounds).toFixed(2) : DASH,
    acceptance: s => s.guessed ? `${Math.round(100 * s.accepted / s.guessed)} %` : DASH,
    "foreseen right": s => s.foreseen ? `${Math.round(100 * s.agreed / s.foreseen)} %` : DASH,
    "GB, paper": (s, size) => CLOCKS.paper.read(s, size).toPrecision(3), "GB, measured": s => (s.traffic / 1e9).toPrecision(3),
    seconds: s => s.seconds.toFixed(2) };
  const ROUNDS = 50;                                     // whose rejected drafts are listed; the rest is a step back
  const phrase = value => typeof value === "object" ? JSON.stringify(value) : String(value);

  class Lane {
    // tell(kind, lane, position): a byte is pointed at ("over"), has the focus ("focus"), or is clicked ("pin").
    constructor(index, tell) {
      Object.assign(this, { index, canvas: blank(), events: [], at: -1, low: 1, bytes: [], chars: [], lines: [], falls: [],
                            rows: [], first: 0, current: 1, pinned: 0, across: 24, pitch: 48, fit: 4, scrolled: 0 });
      this.head = el("div", "head");
      this.line = ["b", "span", "b", "span", "em", "span", "em"].map(tag => el(tag, ""));
      this.phase = el("b", "phase");
      this.said = el("span", "");
      this.grid = el("div", "grid", { role: "listbox", "aria-orientation": "horizontal" });
      [this.waste, this.keeps] = [el("p", "waste"), el("p", "keeps")];
      this.ghosts = el("div", "ghosts", group("guesses thrown away, newest first"), { tabindex: 0 });
      this.values = Object.keys(STATS).map(() => [el("dd", ""), el("td", "")]);      // in a list, and in the race's table
      const stats = Object.keys(STATS).map((key, i) => el("div", "", el("dt", "", key), this.values[i][0]));
      this.stats = el("dl", "stats", ...stats);
      this.root = el("section", "lane", this.head, el("p", "headline", ...this.line),
                     el("p", "said", this.phase, this.said), this.grid, this.waste, this.keeps, this.ghosts, this.stats);
      const of = event => event.target.closest(".bltp-cell")?.position;
      for (const [event, kind] of [["pointerover", "over"], ["focusin", "focus"], ["click", "pin"]])
        this.grid.addEventListener(event, e => of(e) && tell(kind, this, of(e)));
      for (const [event, kind] of [["pointerleave", "over"], ["focusout", "focus"]])
        this.grid.addEventListener(event, () => tell(kind));
      for (const event of ["wheel", "touchmove"])        // whoever scrolls back is not pulled to the newest byte again
        this.grid.addEventListener(event, () => { this.strayed = true; }, { passive: true });
      this.grid.addEventListener("scroll", () => { this.scrolled = this.grid.scrollTop; }, { passive: true });
      this.point = (kind, position) => tell(kind, position && this, position);
      new ResizeObserver(() => requestAnimationFrame(() => this.measure())).observe(this.grid);
    }
    get text() { return this.canvas.cells; }
    get finished() { return this.events.at(-1)?.type === "Finished"; }
    load(trace) {                                        // true where it goes on with what is drawn already
      const { name, ...fields } = trace.method, { events } = trace, old = this.events.length, last = JSON.stringify;
      this.facts = Object.entries({ ...fields, ...trace.settings, stop: stops(trace.settings), model: trace.model.name ?? "" })
        .map(([key, value]) => [key.replace(/_+/g, " "), phrase(value ?? "")]).filter(([, value]) => value && value !== "[]");
      const goesOn = old > 0 && old <= events.length && last(this.events[old - 1]) === last(events[old - 1]);
      if (!goesOn) {
        Object.assign(this, { at: -1, low: 1, sums: undefined, touching: [], longest: 0, multibyte: false, fallen: "" });
        this.rows = [];
        this.ghosts.replaceChildren();
      }
      Object.assign(this, { events, name, model: trace.model.name, size: trace.model.parameters, prompt: (events[0]?.ids?.length ?? 1) - 1,
                            alone: alone(trace), sums: totals(trace, this.sums),
                            budget: Number(trace.settings.max_new_bytes) || 0 });
      events.slice(goesOn ? old : 0).forEach((e, i) => this.index_(e, i + (goesOn ? old : 0)));
      for (const [node, label] of [[this.root, `lane ${this.index + 1}: ${name}`],
        [this.grid, `bytes of ${name}; left and right arrows go from byte to byte, Enter pins one`]]) node.ariaLabel = label;
      this.root.role = "group";
      this.grid.classList.toggle("bltp-tall", this.multibyte);
      this.ghosts.hidden = this.waste.hidden = this.keeps.hidden = !events.some(e => e.accepted < e.drafted?.length);
      write(this.keeps, keeping(trace.settings));
      const foreseen = Object.keys(STATS).indexOf("foreseen right");       // only where anything is guessed ahead
      this.stats.children[foreseen].hidden = !events.some(e => e.type === "Foreseen");
      return goesOn;
    }
    index_(e, step) {                                    // which events speak of which position; how long the text gets
      const n = reach(e);
      for (let i = 0; i < n; i++) (this.touching[e.position + i] ??= []).push(step);
      this.longest = Math.max(this.longest, e.position + n - 1);
      this.multibyte ||= (e.ids ?? e.block ?? [e.id]).some(id => id >= OFFSET + 0x80 && id < MASK);
    }
    measure() {                                          // how many bytes fit across, and room for the whole text at once
      const { grid } = this, css = getComputedStyle(grid), px = name => parseFloat(css.getPropertyValue(`--${name}`));
      if (!grid.clientWidth) return;
      const across = Math.max(Math.floor((grid.clientWidth - 10) / (px("w") + 4)), 4), moved = across !== this.across;
      Object.assign(this, { across, pitch: px("h") + px("over") + px("gap") });
      grid.style.setProperty("--rows", Math.ceil(this.longest / across));
      this.fit = Math.max(Math.floor((grid.clientHeight - 26) / this.pitch), 1);
      if (moved) this.arrange(0);
      this.follow();
    }
    branch(position) {                                   // where the last byte of its prompt was taken by hand, 0 where none was
      this.branched = position;
      this.hand = position ? `${named(this.events[0].ids[position])} taken at byte ${position - 1}` : "";
    }
    introduce(shared) {                                  // name and settings, without what all lanes share
      const facts = this.facts.filter(([key]) => !shared.has(key)), hand = this.hand ? [el("span", "by-hand", this.hand)] : [];
      this.head.replaceChildren(el("b", "", el("bdi", "", this.name)), ...hand,
                                ...facts.map(([key, value]) => el("span", "", `${key} `, el("bdi", "", value))));
    }
    headline(clock, ar, pace) {                          // as fold.js says
      const { texts, main, time } = headline(this, this.at, clock, ar, pace);
      this.line.forEach((node, i) => write(node, texts[i]));
      for (const [at, sign] of [[4, main], [6, time]])
        this.line[at].className = sign > 0 ? "bltp-saved" : sign < 0 ? "bltp-lost" : "";
    }
    show(step, before) {                                 // before: the step at the last tick, for the sentence
      if (step === this.at) return;
      if (step < this.at || this.at < 0) Object.assign(this, { canvas: blank(), at: 0, low: 1 });
      for (; this.at < step; this.at++) {
        const { position } = this.events[this.at], end = this.canvas.cells.length + 1;
        this.low = Math.min(this.low, Math.max(position, 1), end);
        apply(this.canvas, this.events[this.at], this.at);
      }
      const sum = this.sums[step], event = this.events[step - 1];
      const numbers = Object.values(STATS).map(read => String(read(sum, this.size)));
      this.values.forEach((nodes, i) => nodes.forEach(node => write(node, numbers[i])));
      const told = [[sum.guessed, sum.accepted, "thrown away"], [sum.foreseen, sum.agreed, "dropped by the decoder"]]
        .filter(([of]) => of).map(([of, kept, how]) => `${of - kept} of ${many(of, "guess")} ${how}`);
      write(this.waste, `\u2717 ${told.join(", ") || "no guess thrown away yet"}` +
        (this.canvas.ghosts.length > ROUNDS ? `, here those of the last ${ROUNDS} rounds that had any` : ""));
      const news = [step - 2, step - 1].filter(i => i >= 0 && (i >= before || i === step - 1));
      write(this.said, news.map(i => sentence(this.events, i)).join("; ") || sentence([]));
      write(this.phase, phase(this.events, step - 1));
      this.phase.className = `bltp-phase bltp-${event?.type.toLowerCase() ?? "nothing"}`;
      this.arrange(Math.min(this.drawCells(event), this.drawFalls(event)));
      this.drawGhosts();
      this.low = Math.max(event?.position ?? 1, 1);      // its marks are taken away by the next step
    }
    drawCells(event) {
      const cells = this.text, now = new Set(touched(event)), together = now.size > 1 && event.type !== "Committed";
      const from = this.chars.findIndex(char => char.end >= this.low - 3), j0 = Math.max(from, 0);
      const start0 = from > 0 ? this.chars[from].start : 0;                        // a character may have grown in front of it
      for (let i = Math.min(start0, this.low - 1); i < cells.length; i++) this.drawCell(i, cells, now.has(i + 1), together);
      const found = spans(cells.map(({ id }) => id), event?.type === "Finished", start0);
      found.forEach(([start, end, kind], k) => {
        const j = j0 + k, char = this.chars[j] ??= { node: el("span", "", { role: "presentation" }),
                                                     over: el("span", "over", { "aria-hidden": "true" }) };
        const bracket = end - start > 1 || kind === "pending", key = `${start} ${end} ${kind}`;
        if (bracket) write(char.over, kind === "pending" ? "\u2026" : character(cells.slice(start, end).map(({ id }) => id)));
        if (char.key === key) return;
        Object.assign(char, { key, start, end, kind });
        char.node.className = `bltp-char bltp-${kind}`;
        char.node.replaceChildren(...bracket ? [char.over] : [], ...this.bytes.slice(start, end).map(byte => byte.node));
      });
      for (const { node } of this.chars.splice(j0 + found.length)) node.remove();
      this.bytes.length = cells.length;
      if (this.current > cells.length) this.stop(1);
      return j0;
    }
    // Characters from the j0-th on, and what falls behind them, go into lines of `across` bytes; none is cut in two.
    arrange(j0) {
      let { line, used } = this.chars[j0 - 1] ?? { line: 0, used: 0 }, last = this.chars[j0 - 1]?.node;
      const items = [...this.chars.slice(j0), ...this.falls];
      for (const item of items) {
        const size = item.size ?? item.end - item.start;
        if (used + size > this.across && used) [line, used, last] = [line + 1, 0, undefined];
        Object.assign(item, { line, used: used += size });
        const row = this.lines[line] ??= this.grid.appendChild(el("div", "bytes", { role: "presentation" }));
        if (item.node.parentNode !== row || item.node.previousSibling !== (last ?? null))
          last ? last.after(item.node) : row.prepend(item.node);
        last = item.node;
      }
      for (const row of this.lines.splice(items.length || j0 ? line + 1 : 0)) row.remove();
    }
    drawCell(i, cells, now, together) {
      const { id, state, opens, step } = cells[i], [pinned, taken] = [this.pinned, this.branched].map(at => at === i + 1);
      const linked = i > 0 && step === cells[i - 1].step && state !== "prompt" && id !== MASK && cells[i - 1].id !== MASK;
      const byte = this.bytes[i] ??= { node: el("span", "", { role: "option" }) };
      const key = `${id} ${state} ${opens} ${linked} ${now} ${together} ${pinned}`;
      if (byte.key === key) return;
      byte.key = key;
      byte.node.className = ["cell", state, isHex(id) && "hex", linked && "linked", now && "now", now && together && "together",
        opens != null && "rail", opens && "opens", pinned && "pinned", taken && "taken"].filter(Boolean).map(name => `bltp-${name}`).join(" ");
      Object.assign(byte.node, { position: i + 1, tabIndex: i + 1 === this.current ? 0 : -1, textContent: glyph(id),
        ariaSelected: String(pinned), ariaLabel: `byte ${i}: ${named(id)}, ${state}${taken ? ", taken by hand" : ""}${opens ? ", opens a patch" : ""}` });
    }
    drawFalls(event) {                                   // what happened to several bytes at once; rejected ones fall
      const ghost = this.canvas.ghosts.at(-1), age = this.at - 1 - ghost?.step;
      const fresh = ghost?.state === "dropped" ? age < 1 : /Verified|Committed/.test(event?.type) && age < 2;
      const [said, type] = boast(this.events, this.at - 1), key = `${fresh && ghost.step} ${said}`;
      if (key === this.fallen) return this.falls.length ? this.chars.length : Infinity;
      this.fallen = key;
      for (const { node } of this.falls) node.remove();
      const ids = fresh ? ghost.ids : [], over = fresh && ghost.position === this.text.length;  // its replacement's place
      const item = (size, ...parts) => ({ size, node: el("span", ...parts, { "aria-hidden": "true" }) });
      this.falls = ids.map((id, i) => item(i || !over ? 1 : 0, `char fall${i || !over ? "" : " first"}`, cell(id, ghost.state)));
      if (said) this.falls.push(item(Math.ceil(said.length / 3) + 1, `char boast ${type.toLowerCase()}`, said));
      return this.chars.length;
    }
    drawGhosts() {                                       // the latest of them: rows are those from the `first` ghost on
      const { rows, canvas } = this, end = canvas.ghosts.length, start = Math.max(end - ROUNDS, 0);
      while (rows.length && this.first + rows.length > end) rows.pop().remove();
      for (; rows.length && this.first < start; this.first++) rows.shift().remove();
      if (!rows.length) this.first = start;
      while (this.first > start) {
        rows.unshift(this.ghostRow(--this.first));
        this.ghosts.append(rows[0]);
      }
      while (this.first + rows.length < end) {
        rows.push(this.ghostRow(this.first + rows.length));
        this.ghosts.prepend(rows.at(-1));
      }
      this.newest?.classList.remove("bltp-newest");
      (this.newest = rows.at(-1))?.classList.add("bltp-newest");
    }
    ghostRow(i) {
      const { step, position, ids, probs, state } = this.canvas.ghosts[i];
      const { accepted, target_probs: target, replacement } = this.events[step], byModel = state === "rejected";
      const row = el("div", `ghost by-${byModel ? "model" : "decoder"}`,
                     el("span", "round", `round ${this.sums[step].rounds + 1}, byte ${position - 1}`),
                     el("span", "who-threw", byModel ? "model" : "decoder"),
                     el("span", "word", ...ids.map(id => cell(id, state))),
                     el("span", "instead", el("span", "where", byModel ? `drafter p ${odds(probs[0])}, model p ` +
                       `${odds(target[accepted])}, it wrote` : `block p ${odds(probs[0])}, not what the decoder writes`),
                        ...byModel ? [cell(replacement, "replaced")] : []));
      row.addEventListener("pointerenter", () => this.point("over", position));
      row.addEventListener("pointerleave", () => this.point("over"));
      return row;
    }
    // The newest byte stays in view inside the grid, whole lines at a time. Only the grid is scrolled, never the page.
    follow() {
      const newest = touched(this.events[this.at - 1]).at(-1) ?? this.text.length;
      const line = this.chars.findLast(char => char.start < newest)?.line ?? 0, top = Math.round(this.scrolled / this.pitch);
      const last = newest < this.text.length ? line : this.lines.length - 1;       // with what falls behind it
      if (this.strayed || line >= top && last < top + this.fit) return;
      this.scrolled = Math.max(line < top ? line : last - this.fit + 1, 0) * this.pitch;
      this.grid.scrollTop = this.scrolled;
    }
    stop(position) {                                     // a grid is one tab stop, which arrow keys move
      [this.current, position].forEach((at, i) => { if (this.bytes[at - 1]) this.bytes[at - 1].node.tabIndex = i - 1; });
      this.current = position;
    }
    pin(position) {
      const old = this.pinned;
      this.pinned = position;
      for (const at of [old, position]) if (this.bytes[at - 1]) this.drawCell(at - 1, this.text, false, false);
    }
  }

  const CSS = `
.~lane { min-width: 0; display: flex; flex-direction: column; } .~one :is(.~head, .~stats) { order: 1; }
.~one .~head { padding-top: 8px; }
.~head, .~stats, .~ghost, .~said { display: flex; flex-wrap: wrap; align-items: center; }
.~head { gap: 2px 14px; align-items: baseline; & b { font-size: 18px; } }
.~view :is(.~head span, .~stats dt, .~where, .~hint, .~bars, .~facts dt, small, .~headline span) { color: var(--soft); }
.~stats { gap: 6px 16px; padding: 14px 0 2px; & dt { font-size: 12px; } & dd { font-size: 15px; min-width: 2.4em; } }
.~headline.~headline { font-size: 16px; line-height: 1.3; min-height: 62px; padding: 6px 0 2px; & b { font-size: 26px; }
  & span:nth-of-type(3):not(:empty)::before { content: "\\a"; white-space: pre; } & :is(span, em) { font-size: 14px; } }
.~headline em { font-style: normal; font-weight: 600; } .~saved, .~lost { font-style: normal; font-weight: 600; white-space: nowrap; border-bottom: 3px solid var(--green); }
.~lost { border-color: var(--red); }
.~said.~said { gap: 2px 10px; min-height: 26px; padding: 6px 0; }
.~phase { display: inline-block; min-width: 6.4em; padding: 1px 8px; border-radius: 99px; border: 1.5px solid var(--c);
  --c: var(--soft); text-align: center; font-size: 12px; background: color-mix(in srgb, var(--c) 16%, transparent);
  &:empty { visibility: hidden; } }
.~drafted, .~unmasked { --c: var(--proposed); } .~guessed, .~foreseen { --c: var(--foreseen); } .~verified { --c: var(--accepted); } .~committed { --c: var(--kept); }
.~phase:is(.~drafted, .~unmasked) { border-style: dashed; } 
.~phase:is(.~guessed, .~foreseen) { border-style: dotted; }
.~grid { --over: 0px; --gap: 17px; --most: 6; --row: calc(var(--h) + var(--over) + var(--gap)); position: relative;
  padding: 2px 0 24px 4px; contain: layout paint; overflow: hidden auto; scrollbar-width: thin; & .~cell { cursor: pointer; }
  height: calc(min(var(--rows, 1), var(--most)) * var(--row) + 26px); }
.~bytes { display: flex; height: var(--row); padding: 6px 0 0 2px; align-items: flex-start; contain: layout paint style;
  &:nth-last-child(-n+3) { contain: layout style; } }            /* something may fall out of the last lines */
.~tall { --over: 20px; --most: 5; } .~grid .~char { padding-top: var(--over); }
.~fall { pointer-events: none; & .~cell { translate: 0 calc(var(--h) + 2px); rotate: -4deg; border: 0; } }
.~fall.~first { margin-left: calc(-4px - var(--w)); }
.~grid .~boast { font-weight: 600; height: calc(var(--h) + var(--over)); padding: var(--over) 10px 0; white-space: nowrap;
  &::before { content: ""; width: 4px; height: 20px;
  margin-right: 8px; border-radius: 2px; background: var(--c); } }
.~boast.~verified:first-child { translate: 0 24px; }         /* on a line of its own: below what fell there */
.~grid .~now:not(.~prompt) { --fill: 42%; }
.~grid :is(.~pinned, .~pointed) { outline: 2px solid; outline-offset: 1px; z-index: 1; }
.~grid .~pinned { outline-width: 3px; }
.~grid .~taken { --c: var(--accent); --fill: 30%; color: inherit; border: 2px solid var(--c); font-weight: 700; }
.~view .~head .~by-hand { color: inherit; border-bottom: 3px solid var(--accent); }
.~ghosts { overflow-y: auto; contain: layout paint; height: 98px; scrollbar-width: thin; }
.~ghost { --w: 19px; --h: 22px; --type: 14px; gap: 2px 8px; min-height: 31px;
  padding: 2px 8px; font-size: 13px; & .~word .~cell { margin: 0 1px; } }
.~ghost { --by: var(--rejected); } .~by-decoder { --by: var(--dropped); } .~who-threw { min-width: 3.8em; font-weight: 600; }
.~instead { display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }
.~view .~keeps { padding-bottom: 4px; font-size: 13px; color: var(--soft); } .~newest { background-color: color-mix(in srgb, var(--by) 9%, transparent); border-left: 3px solid var(--by);
  padding-left: 5px; } .~by-decoder.~newest { border-left-style: dotted; } .~round { min-width: 8.6em; }
.~word { flex-wrap: wrap; } .~view .~waste { padding: 4px 0; border-top: var(--line); font-weight: 600; }
@media (prefers-reduced-motion: no-preference) {
  .~together { animation: ~pop 0.5s ease-out; } .~boast { animation: ~pop 0.35s ease-out; }
  .~fall .~cell { animation: ~fall 0.45s ease-in; } .~newest { animation: ~land 0.6s ease-out; }
  .~brisk :is(.~together, .~boast, .~newest, .~fall .~cell) { animation: none; } }
@keyframes ~pop { 0% { scale: 0.6; } 45% { scale: 1.18; background-color: var(--c); } }
@keyframes ~fall { 0% { translate: 0 0; rotate: 0deg; } }
@keyframes ~land { 0% { background-color: color-mix(in srgb, var(--by) 40%, transparent); } }
`;
  return { Lane, STATS, CSS };
})();
