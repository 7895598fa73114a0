/* bltlabPatchText: the patch rule, and a text cut by it. Text draws the entropy over its bytes with the threshold across
   each row; Strip draws the same text on a few lines. Both change only what a new cut changes, so a drag stays smooth. */
var bltlabPatchText = (() => {
  const { OFFSET, spans, character, glyph, named, hex, isHex, shown, many, el, write, group } = bltlabBase;
  const HEIGHT = 104, ABOVE = 14, LEFT = 44, WIDTH = 29; // pixels: a row's plot, what is above and left of it, and a byte
  const MOST = 6;                                        // nats at the top; no byte model is less sure than ln 260, 5.6

  // ---- The rule: `surprising` and `next_opens` of bltlab.patching, for one text
  const isWord = byte => byte >= 48 && byte < 58 || (byte | 32) >= 97 && (byte | 32) < 123 || byte >= 128;
  // Does each byte open a patch? The first does; another, where the rule finds a reason or the open patch is full.
  function rule({ bytes, entropies }, { patcher, threshold, stride, max_patch_length }) {
    const limit = patcher === "stride" ? stride : max_patch_length ?? Infinity, opens = [];
    const reason = { entropy: i => entropies[i] > threshold, space: i => !isWord(bytes[i - 1]), stride: () => false }[patcher];
    let length = 0;
    for (let i = 0; i < bytes.length; i++) {
      opens.push(i === 0 || length >= limit || reason(i));
      length = opens[i] ? 1 : length + 1;
    }
    return opens;
  }
  function numbers(opens) {                              // the patches' lengths and what they come to
    const lengths = [], starts = [];
    opens.forEach((open, i) => open ? (lengths.push(1), starts.push(i)) : lengths[lengths.length - 1]++);
    const longest = Math.max(0, ...lengths), counts = Array(Math.max(longest, 8)).fill(0);
    for (const length of lengths) counts[length - 1]++;
    return { lengths, starts, count: lengths.length, mean: opens.length / lengths.length, longest, counts };
  }

  // ---- Drawing
  const idsOf = bytes => Array.from(bytes, byte => byte + OFFSET), tint = length => `long${Math.min(length, 8)}`;
  const down = nats => HEIGHT * (1 - Math.min(Math.max(nats, 0), MOST) / MOST);          // pixels from the top
  const picture = ids => ids.length > 1 ? character(ids) : glyph(ids[0]);
  const read = bytes => spans(idsOf(bytes), true).map(([start, end, kind]) =>            // bytes in words, broken ones as hex
    kind === "whole" ? character(idsOf(bytes.slice(start, end))) : `[${hex(bytes[start])}]`).join("");

  // A page holds no address, so that SVG's namespace is asked of the parser; it reads this constant and nothing else.
  const space = () => new DOMParser().parseFromString("<svg>", "text/html").querySelector("svg").namespaceURI;
  const assign = (node, attributes) => { for (const key in attributes) node.setAttribute(key, attributes[key]); return node; };
  let SVG = null;
  const svg = (tag, name) => assign(document.createElementNS(SVG ??= space(), tag), name ? { class: `bltp-${name}` } : {});

  class Text {
    // view: {at, set(state), soon(state), point(how, byte)}; at is the state.
    constructor(survey, view) {
      Object.assign(this, { survey, view, rows: [], keys: [], current: 0, root: el("div", "text", group(
        "bytes; left and right arrows go from byte to byte")) });
      const ids = idsOf(survey.bytes);
      this.bytes = ids.map((id, i) => {
        const cell = el("span", "", glyph(id), { role: "img" });
        return { id, i, cell, column: el("span", "column", el("span", "plot"), cell), under: svg("path"), mark: svg("circle") };
      });
      this.chars = spans(ids, true).map(([start, end, kind]) => ({ start, end, node: el("span", `char ${kind}`,
        ...end - start > 1 ? [el("span", "over", character(ids.slice(start, end)))] : [],
        ...this.bytes.slice(start, end).map(byte => byte.column)) }));
      for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel", "pointerleave", "focusin", "focusout",
                          "keydown"]) this.root.addEventListener(kind, event => this[kind](event));
      new ResizeObserver(() => this.fit()).observe(this.root);
    }
    fit() {                                              // lay characters in rows; a browser skips rows that are out of sight
      const room = Math.max(4, Math.floor((this.root.clientWidth - LEFT - 4) / WIDTH)), rows = [];
      if (room === this.room) return;
      this.room = room;
      for (const char of this.chars) {
        if (!rows.length || char.end - rows.at(-1)[0].start > room) rows.push([]);
        rows.at(-1).push(char);
      }
      const focused = this.root.contains(this.root.getRootNode().activeElement) && this.root.getRootNode().activeElement;
      this.rows = (rows.length ? rows : [[]]).map(chars => this.row(chars));
      this.slider = this.rows[0].lastChild;
      const aria = { role: "slider", tabindex: 0, "aria-label": "patch threshold in nats", "aria-valuemin": 0,
                     "aria-valuemax": MOST, "aria-orientation": "vertical" };
      this.slider.removeAttribute("aria-hidden");
      for (const key in aria) this.slider.setAttribute(key, aria[key]);
      this.root.replaceChildren(...this.rows);
      if (focused) (focused.isConnected ? focused : this.slider).focus({ preventScroll: true });
      this.level();
    }
    row(chars) {
      const bytes = chars.length ? this.bytes.slice(chars[0].start, chars.at(-1).end) : [], drawing = svg("svg", "drawing");
      const { entropies } = this.survey, y = i => down(entropies[Math.min(Math.max(i, 0), entropies.length - 1)]);
      const curve = bytes.map(({ i, under, mark }, n) => {               // over a byte: from half-way before to half-way after
        const x = n * WIDTH, start = `${x} ${(y(i - 1) + y(i)) / 2}`, end = `${x + WIDTH} ${(y(i) + y(i + 1)) / 2}`;
        const line = `${start}L${x + WIDTH / 2} ${y(i)}L${end}`;
        assign(under, { d: `M${line}V${HEIGHT}H${x}Z` });
        assign(mark, { cx: x + WIDTH / 2, cy: y(i) });
        return (n ? "L" : "M") + line;
      });
      drawing.ariaHidden = "true";
      drawing.append(...bytes.map(byte => byte.under), assign(svg("path", "curve"), { d: curve.join("") }),
                     ...bytes.map(byte => byte.mark));
      const ticks = [[0, "0"], [2, "2"], [4, "4"], [MOST, "nats"]].map(([nats, text]) =>
        el("span", "tick", text, { style: `top: ${ABOVE + down(nats)}px` }));
      return el("div", "row", drawing, ...ticks, ...chars.map(char => char.node),
                el("div", "line", el("span", "grip"), { "aria-hidden": true }));
    }
    level() {                                            // the line where the threshold is
      const { at } = this.view, nats = at.threshold.toFixed(2);
      this.root.classList.toggle("bltp-fixed", at.patcher !== "entropy");
      for (const { lastChild: line } of this.rows) {
        line.style.transform = `translateY(${ABOVE + down(at.threshold)}px)`;
        write(line.firstChild, nats);
      }
      const words = `${nats} nats, ${many(this.count, "patch")}`;
      if (this.slider) Object.assign(this.slider, { ariaValueNow: nats, ariaValueText: words });
    }
    show(opens) {
      const { at } = this.view, { entropies } = this.survey, { lengths, count } = numbers(opens);
      let patch = -1;
      opens.forEach((open, i) => {
        patch += open;
        const why = !open ? "inside" : at.patcher === "entropy" && entropies[i] > at.threshold ? "above" : "other";
        const shade = tint(lengths[patch]), key = `${why} ${shade}`, { id, cell, column, under, mark } = this.bytes[i];
        if (this.keys[i] === key) return;
        this.keys[i] = key;
        column.className = `bltp-column bltp-${why}`;
        cell.className = `bltp-cell bltp-patch bltp-rail bltp-opens bltp-${shade}${isHex(id) ? " bltp-hex" : ""}`;
        assign(under, { class: `bltp-under bltp-${shade}` });
        assign(mark, { class: `bltp-mark bltp-${why}` });
        cell.ariaLabel = `byte ${i}: ${named(id)}, ${shown(entropies[i])} nats before it${open ? ", opens a patch" : ""}`;
        cell.tabIndex = i === this.current ? 0 : -1;
      });
      this.count = count;
      this.level();
    }
    mark(i) {
      this.marked?.classList.remove("bltp-marked");
      this.marked = this.bytes[i]?.cell;
      this.marked?.classList.add("bltp-marked");
    }
    // ---- Hands: the line is dragged by any pointer; a mouse may also press anywhere in the plot
    pointerdown(event) {
      const line = event.target.closest(".bltp-line"), row = event.target.closest(".bltp-row");
      const pressed = line || event.pointerType === "mouse" && event.target.closest(".bltp-plot");
      if (event.button || this.view.at.patcher !== "entropy" || !pressed) return;
      event.preventDefault();
      this.held = { row, by: 0 };                        // a line that is taken keeps its place in the hand
      if (line) this.held.by = down(this.view.at.threshold) - this.height(event);
      this.root.setPointerCapture(event.pointerId);
      this.slider.focus({ preventScroll: true });
      this.pointermove(event);
    }
    height(event) { return event.clientY - this.held.row.getBoundingClientRect().top - ABOVE + this.held.by; }
    pointermove(event) {
      if (this.held) this.view.soon({ threshold: MOST * (1 - this.height(event) / HEIGHT) });
      else this.view.point("pointed", this.indexOf(event.target));
    }
    pointerup() { this.held = null; }
    pointercancel() { this.held = null; }
    pointerleave() { this.view.point("pointed", -1); }
    focusin({ target }) {
      const i = this.indexOf(target);
      if (i < 0) return;
      [this.current, i].forEach((at, n) => { this.bytes[at].cell.tabIndex = n - 1; });   // one tab stop, which arrows move
      this.current = i;
      this.view.point("focused", i);
    }
    focusout() { this.view.point("focused", -1); }
    indexOf(target) { return this.bytes.findIndex(({ column }) => column.contains(target)); }
    keydown(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const by = nats => () => this.view.set({ threshold: this.view.at.threshold + nats });
      const go = i => () => this.bytes[Math.min(Math.max(i, 0), this.bytes.length - 1)]?.cell.focus();
      const act = (event.target === this.slider ?
        { ArrowUp: by(0.05), ArrowRight: by(0.05), ArrowDown: by(-0.05), ArrowLeft: by(-0.05), PageUp: by(0.5),
          PageDown: by(-0.5), Home: by(-MOST), End: by(MOST) } :
        { ArrowRight: go(this.current + 1), ArrowLeft: go(this.current - 1), Home: go(0), End: go(Infinity) })[event.key];
      if (act) { event.preventDefault(); act(); }
    }
  }

  class Strip {
    constructor(survey) {
      const ids = idsOf(survey.bytes);
      this.chars = spans(ids, true).map(([start, end]) => ({ node: el("span", ""), ids: ids.slice(start, end), start, end }));
      this.root = el("div", "strip", ...this.chars.map(char => char.node));
    }
    show(opens) {                                        // a character that a patch cuts shows as its bytes
      for (const char of this.chars) {
        const cuts = opens.slice(char.start, char.end), key = String(cuts), split = cuts.slice(1).includes(true);
        if (char.key === key) continue;
        char.key = key;
        const parts = split ? char.ids.map(id => [id]) : [char.ids];
        const kind = ids => split ? "split" : ids.length < 2 && isHex(ids[0]) ? "plain-code" : "plain";
        char.node.replaceChildren(...parts.map((ids, i) =>
          el("span", `part ${kind(ids)}${cuts[i] ? " cut" : ""}`, picture(ids))));
      }
    }
  }

  const CSS = `
.~row { position: relative; display: flex; height: 202px; padding: ${ABOVE}px 0 0 ${LEFT}px; content-visibility: auto;
  contain-intrinsic-size: auto 202px; --rule: linear-gradient(var(--thin), var(--thin)) ${LEFT}px; background: var(--rule) 14px,
  var(--rule) 48.7px, var(--rule) 83.3px, var(--rule) 118px; background-size: 100% 1px; background-repeat: no-repeat; }
.~text .~char { height: 166px; align-items: stretch; } .~text .~over { top: 109px; }
.~column { display: flex; flex-direction: column; justify-content: space-between; width: ${WIDTH}px; cursor: default; }
.~plot { height: ${HEIGHT}px; border-left: 1px solid color-mix(in srgb, currentColor 35%, transparent); cursor: ns-resize; }
.~fixed .~plot { cursor: default; } .~inside .~plot { border-left-color: transparent; }
.~inside .~cell::before { background: none; } .~inside .~cell.~rail::after { left: calc(-3px - var(--b)); }
.~drawing { position: absolute; left: ${LEFT}px; top: ${ABOVE}px; width: calc(100% - ${LEFT}px); height: ${HEIGHT}px;
  overflow: visible; pointer-events: none; }
.~curve { fill: none; stroke: var(--accent); stroke-width: 1.5; stroke-linejoin: round; stroke-linecap: round; }
.~under { fill: color-mix(in srgb, var(--accent) var(--tint), transparent); } .~mark { fill: var(--accent); r: 2.5px; }
.~mark.~above { fill: var(--red); r: 5px; } .~mark.~other { fill: none; stroke: currentColor; stroke-width: 2; r: 4px; }
.~swatch, .~bin i { background: color-mix(in srgb, var(--accent) var(--tint), transparent); }
.~patch { --c: var(--accent); --fill: var(--tint); } .~marked { box-shadow: 0 0 0 2px currentColor; z-index: 1; }
.~long1 { --tint: 7%; } .~long2 { --tint: 13%; } .~long3 { --tint: 19%; } .~long4 { --tint: 25%; } .~long5 { --tint: 31%; }
.~long6 { --tint: 37%; } .~long7 { --tint: 43%; } .~long8 { --tint: 49%; }
.~tick { position: absolute; left: 0; width: 36px; text-align: right; font-size: 11px; line-height: 0; color: var(--soft); }
.~line { position: absolute; left: 0; right: 0; top: -14px; height: 28px; cursor: ns-resize;
  pointer-events: auto; touch-action: none; } .~fixed .~line { display: none; }
.~line::after { content: ""; position: absolute; inset: 13px 0 auto 44px; border-top: 2px dashed var(--red); }
.~grip { position: absolute; left: 0; top: 4px; width: 42px; height: 20px; border-radius: 10px 4px 4px 10px; color: #000;
  background: var(--red); font: 600 12px/20px system-ui, sans-serif; text-align: center; }
.~line:focus-visible { outline: none; & .~grip { outline: 2px solid currentColor; outline-offset: 2px; } }
.~strip { font: 14px/24px var(--mono); max-height: 122px; overflow-y: auto; overflow-wrap: anywhere; }
.~part { display: inline-block; border-bottom: 2px solid var(--soft); line-height: 18px; white-space: pre; min-width: 8px;
  text-align: center; } .~cut { border-left: 2px solid currentColor; margin-left: 3px; padding-left: 2px; }
.~split, .~plain-code { font-size: 11px; padding-right: 2px; }
.~split { background: color-mix(in srgb, var(--red) 20%, transparent); }
`;
  return { rule, numbers, isWord, read, tint, MOST, Text, Strip, CSS };
})();
