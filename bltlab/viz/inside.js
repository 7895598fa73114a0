/* bltlabInside(element, data, options) shows what a BLT-D does with one short text: who may read whom, how training blocks
   are made, one block denoised step by step, and which rows of the hash tables each byte hits. data is what
   bltlab.inspection.describe returns. Options and state: view "training" | "writing" | "clean", starts "anywhere" |
   "patches", row (of the mask, or null), step (of denoising, from 0), hit ([position, column] of the hash table, or null);
   and onChange(state). Returns {update(data), state(), set(state)}. */
var bltlabInside = (() => {
  const { MASK, el, write, group, many, shown, isHex, odds, style, button } = bltlabBase;
  const { pills, CSS: PARTS_CSS } = bltlabParts;
  const { Mask, letter, label, CSS: MASK_CSS } = bltlabMask;
  const VIEWS = {
    training: ["training", "In training the decoder sees the clean text and, behind it, copies of pieces of it in which " +
      "bytes are masked: blocks. A block must guess them, so it reads the clean text before it and all of itself, both ways, " +
      "but never the clean bytes under it. The clean text reads no block, so next bytes are learnt in the same pass."],
    writing: ["writing", "When it writes, one block of masks stands behind the text. Its slots read the whole text and each " +
      "other, just as a block in training. The keys of the clean text are kept from earlier steps."],
    clean: ["reading", "Without blocks each byte reads itself and what is before it, as in any causal model. This is how a " +
      "prompt is read, and how guesses are verified."] };
  const MAKING = "Each block copies the clean bytes under it. One rate t is drawn for each block, and each of its bytes is " +
    "masked with probability t. Only masked bytes carry loss; it is divided by t, so that a rare mask counts more.";
  const STARTS = { anywhere: "blocks begin anywhere", patches: "at patch starts (the paper)" };
  const byteCell = (id, state) => el("span", `cell ${state}${isHex(id) ? " hex" : ""}`, letter(id));
  const section = (title, ...parts) => el("section", "sheet", el("h3", "", title), ...parts);
  const list = numbers => numbers.length < 2 ? numbers.join("") : `${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)}`;

  const slotState = ({ block, revealed }, slot) =>
    revealed.includes(slot) ? "proposed fresh" : block[slot] === MASK ? "masked" : "kept";
  function card(step, before, slot) {                    // what a step believes about one slot
    const { block, masked, revealed, entropies, candidates } = step, id = block[slot];
    const bar = ([guess, p]) => el("div", "guess", byteCell(guess, guess === id ? "pick" : "other"), el("span", "gauge",
      el("i", "", { style: `width: ${100 * Math.min(Math.max(p, 0), 1)}%` })), el("span", "", shown(p)));
    const note = !masked[slot] ? "revealed before" : revealed.includes(slot) ? "revealed now" : "still masked";
    return el("div", `card${masked[slot] ? "" : " done"}`, group(`slot ${slot}`),
      el("div", "card-head", byteCell(id, slotState(step, slot)),
         el("span", "", el("b", "", `slot ${slot}`), el("small", "", note))),
      el("div", "nats", `${entropies[slot].toFixed(2)} nats`,
         el("small", "", before ? `, was ${before.entropies[slot].toFixed(2)}` : "")), ...candidates[slot].map(bar));
  }

  class View {
    constructor(element, data, options) {
      style(element, "inside", `${PARTS_CSS}.~inside-view { ${MASK_CSS}${CSS} }`);
      Object.assign(this, { options, at: { view: "training", starts: "anywhere", row: null, step: 0, hit: null } });
      this.views = pills("what the mask is for", Object.entries(VIEWS).map(([key, [text]]) => [key, text]),
                         view => this.set({ view, row: null }));
      this.starts = pills("where training blocks begin", Object.entries(STARTS), starts => this.set({ starts, row: null }));
      this.intro = el("p", "intro");
      this.said = el("p", "words");
      this.mask = new Mask(row => this.set({ row }));
      this.strip = el("div", "strip-rows");
      this.making = section("How training blocks are made", el("p", "intro", MAKING), el("div", "scroll", this.strip));
      [this.back, this.next] = [button("\u2039", "one step back"), button("\u203a", "one step forward")];
      this.slider = el("input", "stepper", { type: "range", min: 0, step: 1, "aria-label": "denoising step" });
      this.count = el("output", "");
      this.told = el("p", "words");
      this.line = el("div", "line-cells");
      this.slots = el("div", "slots");
      this.table = el("table", "hits");
      this.hitSaid = el("p", "words");
      this.hashIntro = el("p", "intro");
      const keys = { clean: "clean reads clean", before: "block reads the text before it", own: "block reads itself, both ways",
                     answer: "the answer, never read", latent: "the one latent read" };
      const legend = Object.entries(keys).map(([name, text]) => el("span", "item", el("i", `key ${name}`), text));
      element.replaceChildren(el("div", "view sheet inside-view", group("inside the model"),
        section("Who may read whom", el("div", "tools", this.views.root, this.starts.root), this.intro, this.said,
                this.mask.root, el("div", "keys", group("legend"), ...legend)),
        this.making,
        this.denoised = section("One block, denoised", el("div", "tools", this.back, this.slider, this.next, this.count), this.told,
                this.line, this.slots),
        section("What each byte hits in the hash tables", this.hashIntro, this.hitSaid, el("div", "scroll", this.table))));
      this.back.addEventListener("click", () => this.set({ step: this.at.step - 1 }));
      this.next.addEventListener("click", () => this.set({ step: this.at.step + 1 }));
      this.slider.addEventListener("input", () => this.set({ step: Number(this.slider.value) }));
      for (const kind of ["pointermove", "focusin"]) this.table.addEventListener(kind, ({ target }) => {
        const { hit } = target.closest("td") ?? {};
        if (hit && String(hit) !== String(this.at.hit)) this.set({ hit });
      });
      this.table.addEventListener("keydown", event => this.walk(event));
      this.update(data, options);
    }
    update(data, state = {}) {
      Object.assign(this, { data, drawn: null });
      this.drawHashes();
      this.views.root.hidden = this.denoised.hidden = !data.denoising;             // a plain BLT has no blocks
      if (data.denoising) this.slider.max = data.denoising.steps.length - 1;
      this.set(state);
    }
    set(state) {
      const { at, data } = this;
      for (const key in at) if (state[key] !== undefined) at[key] = state[key];
      if (!VIEWS[at.view]) at.view = "training";
      if (!data.denoising) at.view = "clean";
      if (!STARTS[at.starts]) at.starts = "anywhere";
      if (at.hit && !this.cells[at.hit[0]]?.[at.hit[1]]) at.hit = null;
      at.step = Math.min(Math.max(Number(at.step) || 0, 0), (data.denoising?.steps.length ?? 1) - 1);
      const drawn = `${at.view} ${at.starts}`;
      if (this.drawn !== drawn) {
        this.drawn = drawn;
        this.mask.draw(data, at.view, at.starts);
        this.drawStrip();
        this.views.choose(at.view);
        this.starts.choose(at.starts);
        this.starts.root.hidden = at.view !== "training";
        write(this.intro, VIEWS[at.view][1]);
      }
      this.mask.choose(at.row);
      at.row = this.mask.row;
      const words = this.mask.words();
      this.said.replaceChildren(...words ? [el("b", "", words[0]), ...words.slice(1)] :
        ["Point at a row, or walk to it with Tab and the arrow keys: it says what that position may read."]);
      for (const node of this.strip.querySelectorAll(".bltp-slot")) node.classList.toggle("bltp-marked", node.row === at.row);
      if (data.denoising) this.drawStep();
      this.drawHit();
      this.options.onChange?.(this.state());
    }
    state() { return { ...this.at }; }

    // ---- Training blocks, aligned with the clean bytes
    drawStrip() {
      const { data: { ids, patches, training }, at } = this, { starts, t, masked, ids: blocks, reads } = training[at.starts] ?? {};
      this.making.hidden = at.view !== "training";
      if (!starts) return;
      const row = (name, note, offset, cells) => el("div", "strip-row", el("span", "strip-name", name, el("small", "", note)),
        el("span", "strip-cells", ...cells, { style: `padding-left: ${offset * 29}px` }));
      const clean = ids.map((id, i) => byteCell(id, `prompt rail${patches.starts.includes(i) ? " opens" : ""}`));
      this.strip.replaceChildren(row("clean text", "with its patches", 0, clean), ...starts.map((start, b) => {
        const real = blocks[b].filter(id => id >= 0).length, hides = masked[b].reduce((x, y) => x + y);
        return row(`block ${b + 1}`, `t ${odds(t[b])}, masks ${hides} of ${real}, reads latent ${reads[b]}`, start,
                   blocks[b].map((id, slot) => this.slot(id, masked[b][slot], ids.length + b * blocks[b].length + slot)));
      }));
    }
    slot(id, masked, row) {
      const past = id < 0, state = past ? "masked off" : masked ? "masked" : "plain";
      const node = byteCell(past || masked ? MASK : id, `slot ${state}`);
      node.title = past ? "past the end: fed as a mask, no loss" : `${label(id)}, ${masked ? "masked" : "left in sight"}`;
      node.addEventListener("pointerenter", () => this.set({ row }));
      return Object.assign(node, { row });
    }

    // ---- Denoising
    drawStep() {
      const { data: { ids, denoising: { steps, threshold } }, at } = this, step = steps[at.step], { revealed, block } = step;
      Object.assign(this.slider, { value: at.step, ariaValueText: `step ${at.step + 1} of ${steps.length}` });
      [this.back.disabled, this.next.disabled] = [at.step === 0, at.step === steps.length - 1];
      write(this.count, `step ${at.step + 1} of ${steps.length}`);
      const sure = step.candidates[revealed[0]][0][1] > threshold, left = block.filter(id => id === MASK).length;
      const slots = `slot${revealed.length > 1 ? "s" : ""} ${list(revealed)}`, bar = `p > ${threshold}`;
      write(this.told, (sure ? `All slots are predicted at once. Where the best byte has ${bar}, it is revealed: ${slots}. ` :
        `No masked slot has a byte with ${bar}, so the surest one is revealed: ${slots}. `) +
        (left ? `${many(left, "slot")} stay${left === 1 ? "s" : ""} masked for the next step.` : "The block is full."));
      const cells = block.map((id, slot) => byteCell(id, slotState(step, slot)));
      this.line.replaceChildren(...ids.slice(1).map(id => byteCell(id, "prompt")), ...cells);
      this.slots.replaceChildren(...block.map((_, slot) => card(step, steps[at.step - 1], slot)));
    }

    // ---- Hash tables
    drawHashes() {
      const { ids, hashes: { sizes, rows, shared, n_rows } } = this.data;
      write(this.hashIntro, "For each n, the n ids that end at a byte are hashed to one of " +
        `${n_rows.toLocaleString("en")} rows of a table, and the vectors found there are added to the byte's own: so a byte ` +
        "knows the letters before it. The same window hits the same row again (=). Two different windows in one row are a " +
        "collision (\u2260).");
      this.shared = new Map(shared.flatMap(share => share.at.map(t => [`${share.size} ${t}`, share])));
      this.windows = rows.map((_, t) => sizes.map(n => ids.slice(Math.max(0, t - n + 1), t + 1).map(letter).join("")));
      this.cells = rows.map((row, t) => row.map((hit, column) => {
        const { again, clash } = this.others(t, column), kind = clash.length ? "clash" : again.length ? "same" : "";
        const sign = { clash: "\u2260", same: "=" }[kind] ?? "";
        const parts = [el("code", "", this.windows[t][column]), el("small", "", String(hit)), el("b", "", sign)];
        const node = el("td", kind, el("span", "", ...parts), { tabindex: t || column ? -1 : 0 });
        return Object.assign(node, { hit: [t, column] });
      }));
      const head = ["byte", ...sizes.map(n => `n = ${n}`)].map(text => el("th", "", text, { scope: "col" }));
      const line = (row, t) => el("tr", "", el("th", "", el("span", "", byteCell(ids[t], "prompt"), el("small", "", String(t))),
                                               { scope: "row" }), ...row);
      this.table.replaceChildren(el("thead", "", el("tr", "", ...head)), el("tbody", "", ...this.cells.map(line)));
    }
    others(t, column) {                                  // who else hits the row: with the same window, and with another
      const share = this.shared.get(`${this.data.hashes.sizes[column]} ${t}`);
      const kind = share?.kinds[share.at.indexOf(t)], found = { again: [], clash: [] };
      share?.at.forEach((other, i) => other !== t && found[share.kinds[i] === kind ? "again" : "clash"].push(other));
      return found;
    }
    walk(event) {
      const by = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
      const { hit } = event.target;
      if (!by || !hit || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.cells[hit[0] + by[0]]?.[hit[1] + by[1]]?.focus();
    }
    drawHit() {
      const { data: { hashes: { sizes, rows } }, at: { hit } } = this, [t, column] = hit ?? [];
      const { again, clash } = hit ? this.others(t, column) : { again: [], clash: [] };
      for (const { classList, hit: [other, at] } of this.cells.flat()) {
        classList.toggle("bltp-here", other === t && at === column);
        classList.toggle("bltp-with", at === column && [...again, ...clash].includes(other));
      }
      if (!hit) return write(this.hitSaid, "Point at a window, or walk through the table with Tab and the arrow keys.");
      const n = sizes[column], zeros = Math.max(0, n - 1 - t), name = at => `\u201c${this.windows[at][column]}\u201d`;
      const rivals = list(clash.map(at => `${name(at)} at ${at}`)), behind = zeros ? ` behind ${many(zeros, "zero")}` : "";
      const more = [again.length && `The same window stands again at ${list(again)}.`,
                    clash.length && `So do ${rivals}: a collision, which this table cannot tell apart.`,
                    !again.length && !clash.length && "No other window of this text does."];
      write(this.hitSaid, [`The ${n} ids that end at position ${t}, ${name(t)}${behind}, hit row ${rows[t][column]} of the ` +
        `table for n = ${n}.`, ...more.filter(Boolean)].join(" "));
    }
  }

  const CSS = `
& > section + section { margin-top: 18px; } .~intro { max-width: 86ch; }
.~strip-rows { display: grid; gap: 12px; padding: 6px 2px 12px; width: max-content; }
.~strip-row { display: flex; align-items: center; flex-wrap: wrap; }
.~strip-name { width: 250px; display: grid; line-height: 1.25; position: sticky; left: 0; }
.~strip-cells { display: flex; padding: 4px 0 8px; } .~strip-cells .~cell { cursor: default; }
.~plain { --c: var(--accent); --fill: 12%; border-color: color-mix(in srgb, var(--accent) 45%, transparent); }
.~off { opacity: 0.4; } .~marked { box-shadow: 0 0 0 2px currentColor; z-index: 1; }
.~stepper { flex: 0 1 260px; min-width: 120px; } & button:disabled { opacity: 0.4; cursor: default; }
.~line-cells { display: flex; flex-wrap: wrap; gap: 8px 0; } .~fresh { --fill: 42%; }
.~slots { display: grid; grid-template-columns: repeat(auto-fill, minmax(136px, 1fr)); gap: 18px 16px; }
.~card { display: grid; gap: 4px; align-content: start; border-top: var(--line); padding-top: 10px; }
.~done > :not(.~card-head) { opacity: 0.45; } .~nats { font-weight: 600; padding-top: 4px; & small { font-weight: 400; } }
.~card-head { display: flex; gap: 8px; align-items: center; & > :last-child { display: grid; line-height: 1.25; } }
.~guess { display: grid; grid-template-columns: 25px 1fr 3.6em; align-items: center; gap: 6px; font-size: 12px; }
.~guess .~cell { height: 21px; margin: 0; font-size: 14px; --fill: 0%; } & :is(.~guess, .~hits) .~hex { font-size: 10px; }
.~guess .~pick { border-color: currentColor; font-weight: 700; }
.~gauge { height: 8px; background: var(--thin); border-radius: 4px; overflow: hidden;
  & i { display: block; height: 8px; background: var(--accent); } }
.~hits { border-collapse: collapse; & :is(th, td) { padding: 0; text-align: left; font-weight: 400; border: 0;
  border-bottom: var(--line); } & thead th { color: var(--soft); padding: 2px 8px; } & .~cell { height: 25px; font-size: 14px; }
  & :is(th, td) > span { display: flex; align-items: center; gap: 8px; min-height: 28px; padding: 0 8px; white-space: nowrap; }
  & code { flex: 1; font: 13px/1.4 var(--mono); color: inherit; background: none; padding: 0; } & b { width: 10px; } }
.~same b { color: var(--soft); } .~clash { background: color-mix(in srgb, var(--red) 18%, transparent); }
.~hits td { outline-offset: -2px; &.~with { outline: 2px dashed currentColor; } &.~here { outline: 2px solid currentColor; } }
@container (max-width: 700px) { .~strip-name { width: 330px; } .~strip-cells { flex-basis: 100%; } }
`;
  function inside(element, data, options = {}) {
    const view = new View(element, data, options);
    return { update: data => view.update(data), state: () => view.state(), set: state => view.set(state) };
  }
  return inside;
})();
if (typeof module !== "undefined") module.exports = bltlabInside;
