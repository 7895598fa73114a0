/* bltlabBase: what every viewer shares. Names of bytes, characters of UTF-8, and how a byte looks in each state.
   style(element, name, css) puts a viewer's rules into its document or shadow root, once; every "~" in them becomes the
   prefix of our classes, which el() adds too. The root of a viewer has the class "view": it carries colours and controls.
   A trace may hold any byte: its text goes into text nodes, never into markup. */
var bltlabBase = (() => {
  const OFFSET = 4, EOS = 2, MASK = 260, DASH = "\u2013", PREFIX = "bltp-";
  const STATES = { prompt: "prompt", masked: "masked", foreseen: "guessed ahead of the decoder", proposed: "proposed", accepted: "accepted by the model",
    replaced: "the model's, for a wrong guess", bonus: "the model's, after a full match", kept: "kept as proposed",
    dropped: "dropped by the decoder", rejected: "rejected by the model" };

  // ---- Bytes, characters and words
  // Covers ids with [start, end, kind]: a "whole" character, "pending" (it may still become one), "broken", "special".
  // from: where to begin, an edge of what was found before.
  function spans(ids, finished, from = 0) {
    const found = [], isByte = i => ids[i] >= OFFSET && ids[i] < MASK;
    const inside = (i, low = 0x80, high = 0xBF) => isByte(i) && ids[i] - OFFSET >= low && ids[i] - OFFSET <= high;
    for (let i = from; i < ids.length; i = found.at(-1)[1]) {
      if (!isByte(i)) { found.push([i, i + 1, "special"]); continue; }
      const b = ids[i] - OFFSET, n = b < 0x80 ? 1 : b < 0xC2 ? 0 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : b < 0xF5 ? 4 : 0;
      const second = [{ 0xE0: 0xA0, 0xF0: 0x90 }[b], { 0xED: 0x9F, 0xF4: 0x8F }[b]];
      let have = 1, back = i - 1;
      while (have < n && inside(i + have, ...have === 1 ? second : [])) have++;
      while (inside(i) && back > i - 3 && inside(back)) back--;
      const open = n ? ids[i + have] === MASK || i + have >= ids.length && !finished : inside(i) && ids[back] === MASK;
      found.push(n && have === n ? [i, i + n, "whole"] : open ? [i, i + have, "pending"] : [i, i + 1, "broken"]);
    }
    return found;
  }
  const hex = n => n.toString(16).toUpperCase().padStart(2, "0");
  const isHex = id => id < OFFSET + 32 || id >= OFFSET + 127;
  const glyph = id => id === MASK ? "" : id === EOS ? "EOS" : id < OFFSET ? `<${id}>` : isHex(id) ? hex(id - OFFSET) :
    id === OFFSET + 32 ? "\u2423" : String.fromCharCode(id - OFFSET);
  const named = id => id === MASK ? "a masked byte" : isHex(id) && id !== EOS ? `byte ${glyph(id)}` : `'${glyph(id)}'`;
  const shown = p => !Number.isFinite(p) ? DASH : p > 0.995 && p < 1 ? "> 0.99" : p < 0.005 && p > 0 ? "< 0.01" : p.toFixed(2);
  const many = (n, word) => `${n} ${word}${n === 1 ? "" : /(s|ch)$/.test(word) ? "es" : "s"}`;
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });                      // that is: U+FEFF is a character like others
  const text = bytes => utf8.decode(Uint8Array.from(bytes));
  const stops = ({ stop }) => [stop ?? []].flat().map(one => text(Array.from(String(one), c => c.charCodeAt(0))));
  function character(ids) {                              // a whole character, or its code point where it has no picture
    const own = text(ids.map(id => id - OFFSET)), code = hex(own.codePointAt(0));
    if (/^[\p{C}\p{Z}\ufffd]/u.test(own) && own !== " ") return `U+${code.padStart(4, "0")}`;
    return /^\p{M}/u.test(own) ? `\u25cc${own}` : own;
  }
  const odds = p => shown(p).replace(/^(?=\d)/, "= ");

  // ---- Nodes
  function el(tag, name, ...parts) {                     // parts: children, strings, or one plain object of attributes
    const node = document.createElement(tag);
    if (name) node.className = name.replace(/(^| )/g, `$1${PREFIX}`);
    for (const part of parts)
      if (typeof part === "string" || part instanceof Node) node.append(part);
      else for (const key in part) node.setAttribute(key, part[key]);
    return node;
  }
  const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const cell = (id, state) => el("span", `cell ${state}${isHex(id) ? " hex" : ""}`, glyph(id));
  const pair = ([key, value]) => el("div", "", el("dt", "", key), el("dd", "", value));
  const group = label => ({ role: "group", "aria-label": label });
  const button = (text, label) => el("button", "", text, { type: "button", "aria-label": label ?? text });
  const choose = (label, choices, value) => el("label", "choose", label,             // choices: [value, text] each
    el("select", "", ...choices.map(([key, text]) => new Option(text, key, false, String(key) === String(value)))));
  function style(element, name, css) {
    const top = element.getRootNode(), home = top instanceof ShadowRoot ? top : document.head;
    for (const [key, rules] of [["base", CSS], [name, css]])
      if (![...home.querySelectorAll("style")].some(node => node.dataset.bltp === key))
        home.append(el("style", "", rules.replaceAll("~", PREFIX), { "data-bltp": key }));
  }

  // bltlabColours comes from colours.py: a colour for each state. Each has a second cue too, which survives greyscale;
  // all else is the text's colour, thinned.
  // --accent is the blue that reads on the page's ground, light or dark; --second another colour beside it.
  const CSS = `
.~view { ${bltlabColours} --accent: var(--blue); --second: var(--sky); --on: #fff;
  --thin: color-mix(in srgb, currentColor 14%, transparent);
  --soft: color-mix(in srgb, currentColor 65%, transparent); --line: 1px solid var(--thin);
  --w: 25px; --h: 31px; --type: 17px; --mono: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  outline: none; container-type: inline-size; direction: ltr; text-align: left; font: 14px/1.45 system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
@media (prefers-color-scheme: dark) { .~view { --accent: var(--sky); --second: var(--yellow); --on: #08131c; } }
.dark .~view { --accent: var(--sky); --second: var(--yellow); --on: #08131c; }
.light .~view { --accent: var(--blue); --second: var(--sky); --on: #fff; }
.~view :where(*, ::before, ::after) { box-sizing: border-box; } .~view :where(dl, dd, dt, p, ol) { margin: 0; padding: 0; }
.~view.~view :is(button, select) { font: inherit; line-height: 1; color: inherit; background-color: transparent;
  border: 1px solid var(--soft); border-radius: 6px; height: 30px; min-width: 30px; padding: 0 8px; }
.~view.~view button { cursor: pointer; &:hover { background-color: var(--thin); } }
.~view.~view .~main-button { background-color: var(--accent); border-color: var(--accent); color: var(--on); font-weight: 600;
  &:hover { background-color: color-mix(in srgb, var(--accent) 85%, currentColor); } }
.~view option { color: CanvasText; background: Canvas; } .~view input[type=range] { margin: 0; padding: 0;
  accent-color: var(--accent); } .~view :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.~spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.~choose, .~item, .~char, .~word, .~cell { display: inline-flex; align-items: center; } .~choose, .~item { gap: 6px; }
.~char { position: relative; } .~over { position: absolute; inset: -3px 3px auto; height: 20px; text-align: center;
  line-height: 15px; white-space: nowrap; unicode-bidi: isolate; }
.~over::after { inset: auto 0 0 0; height: 4px; border: solid; border-width: 1.5px 1.5px 0; border-radius: 3px; }
.~pending .~over::after { border-style: dashed; border-right: 0; }
.~over::after, .~rail::after, .~opens::before { content: ""; position: absolute; }
.~broken .~cell { outline: 2px dashed var(--red); outline-offset: 1px; }
.~cell { --c: currentColor; --b: 1px; --low: var(--b); position: relative; justify-content: center; flex: none;
  width: var(--w); height: var(--h); margin: 0 2px; border: var(--b) solid transparent; border-radius: 4px;
  border-bottom-width: var(--low); font: var(--type)/1 var(--mono);
  background-color: color-mix(in srgb, var(--c) var(--fill, 15%), transparent); }
.~hex { font-size: calc(var(--type) * 0.65); letter-spacing: -0.3px; } .~prompt { --fill: 0%; }
.~view :is(.~prompt, .~rejected, .~dropped) { color: var(--soft); }
.~proposed { --c: var(--proposed); border-style: dashed; border-color: var(--c); font-style: italic; }
.~cell.~foreseen { --c: var(--foreseen); border: var(--b) dotted var(--c); border-top: 4px solid var(--c); font-style: italic; }
.~masked { border: var(--b) dotted var(--soft); --fill: 4%;
  background-image: repeating-linear-gradient(135deg, var(--thin) 0 2px, transparent 2px 6px); }
.~accepted { --c: var(--accepted); --low: 4px; border-color: var(--c); }
.~bonus { --c: var(--bonus); --b: 4px; border: var(--b) double var(--c); }
.~replaced { --c: var(--replaced); --b: 2px; border-color: var(--c); font-weight: 700;
  background-image: linear-gradient(225deg, var(--c) 6px, transparent 6.5px); }
.~kept { --c: var(--kept); --low: 2px; border-bottom-color: var(--c); border-radius: 4px 4px 0 0; }
.~rejected { --fill: 0%; border-color: var(--thin); text-decoration: line-through 1.5px var(--rejected); }
.~dropped { --c: var(--dropped); --fill: 0%; border: var(--b) dotted var(--soft); background-image: linear-gradient(to top left,
  transparent calc(50% - 1px), var(--c) calc(50% - 0.9px) calc(50% + 0.9px), transparent calc(50% + 1px)); }
.~linked { box-shadow: calc(var(--w) / -2 - 2px) 0 0 calc(2.5px - var(--w) / 2) var(--c); }
.~rail::after { height: 2px; background: var(--soft);
  inset: auto calc(-2px - var(--b)) calc(-6px - var(--low)) calc(-3px - var(--b)); }
.~rail.~opens::after { left: calc(1px - var(--b)); }
.~opens::before { width: 2px; background: currentColor;
  inset: calc(-4px - var(--b)) auto calc(-6px - var(--low)) calc(-3px - var(--b)); }
`;
  return { OFFSET, EOS, MASK, DASH, STATES, spans, text, stops, character, hex, isHex, glyph, named, shown, odds, many,
           el, write, cell, pair, group, button, choose, style };
})();
