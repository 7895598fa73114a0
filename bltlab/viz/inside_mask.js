/* bltlabMask: a boolean mask as a grid of bytes. A row may read the columns that are filled; beside them stand the latents.
   Positions are the clean text first, then the slots of blocks. What may be read comes from the data; only words and colours
   are added here. */
var bltlabMask = (() => {
  const { glyph, isHex, named, MASK, many, el } = bltlabBase, BOS = 1;
  const letter = id => id === BOS ? "BOS" : glyph(id), label = id => id === BOS ? "BOS" : named(id);
  const small = id => el("span", `small${isHex(id) ? " code" : ""}${id === MASK ? " hole" : ""}`, letter(id));

  // The rows of one mask: {id (fed to the decoder), byte (what stands there, or null), at, block (or -1), group (its name),
  // and for slots of a block slot and start}, reads: the latent.
  function layout({ ids, patches, clean, denoising, training, block_size }, view, starts) {
    const text = ids.map((id, at) => ({ id, byte: id, at, block: -1, group: "clean text", reads: patches.reads[at] }));
    const slots = (start, block, reads, fed, bytes) => Array.from({ length: block_size }, (_, slot) => ({ id: fed(slot),
      byte: bytes(slot), at: start + slot, block, slot, start, reads,
      group: view === "writing" ? "new block" : `block ${block + 1}` }));
    if (view === "clean") return { rows: text, mask: clean.mask, size: block_size };
    if (view === "writing") {
      const { start, reads, mask } = denoising;
      return { rows: [...text, ...slots(start, 0, reads, () => MASK, () => null)], mask, size: block_size };
    }
    const { starts: begins, ids: blocks, masked, reads, mask } = training[starts];
    return { mask, size: block_size, rows: [...text, ...begins.flatMap((start, b) => slots(start, b, reads[b],
      slot => masked[b][slot] || blocks[b][slot] < 0 ? MASK : blocks[b][slot],
      slot => blocks[b][slot] < 0 ? null : blocks[b][slot]))] };
  }
  function runs(rows, may) {                             // [start, end) of neighbours in one group for which may(i) holds
    const found = [];
    rows.forEach((row, i) => {
      if (!may(i)) return;
      found.at(-1)?.[1] === i && row.block === rows[i - 1].block ? found.at(-1)[1]++ : found.push([i, i + 1]);
    });
    return found;
  }
  // The clean bytes under a block, where its rows may not read them.
  const isAnswer = ({ rows, mask, size }, r, i) => rows[r].block >= 0 && rows[i].block < 0 && mask[r][i] === "0" &&
    rows[i].at >= rows[r].start && rows[i].at < rows[r].start + size;

  // ---- Words
  const place = row => row.block < 0 ? `position ${row.at}, ${label(row.id)},` :
    `slot ${row.slot} of ${row.group.replace(/^new/, "the new")},`;
  const over = row => row.block < 0 ? "" : row.byte === null ? " masked," : row.id === MASK ? ` over byte ${row.at} with ` +
    `${label(row.byte)} masked,` : ` over byte ${row.at} with ${label(row.byte)} left in sight,`;
  function range(rows) {
    const [first, last] = [rows[0], rows.at(-1)];
    if (first.block >= 0) return rows.length > 1 ? `all ${rows.length} slots of its block, both ways` : "itself";
    const end = row => `${row.at} (${label(row.id)})`;
    return rows.length > 1 ? `${rows.length} clean positions, ${end(first)} to ${end(last)}` : `clean position ${end(first)}`;
  }
  function sentence({ patches: { starts, lengths }, ids }, shape, r) {    // what a row may read, in two pieces
    const { rows, mask } = shape, row = rows[r];
    const read = runs(rows, i => mask[r][i] === "1").map(([start, end]) => range(rows.slice(start, end)));
    const hidden = rows.filter((_, i) => isAnswer(shape, r, i)).length, begin = starts[row.reads];
    const patch = ids.slice(begin, begin + lengths[row.reads]).map(letter).join("");
    const head = `${place(row)}${over(row)} may read `;
    return [head[0].toUpperCase() + head.slice(1), `${read.join(", and ") || "nothing"}. ` +
      (hidden ? `Not the ${many(hidden, "clean byte")} under its block: they are the answer. ` : "") +
      `Of the patches it reads latent ${row.reads}, \u201c${patch}\u201d.`];
  }

  class Mask {
    constructor(pick) {                                  // pick(row) is called where a row is pointed at or walked to
      this.grid = el("div", "mask", { role: "listbox", "aria-label": "positions, each with what it may read" });
      this.root = el("div", "scroll", this.grid);
      const told = ({ target }) => this.nodes.findIndex(node => node.contains(target));
      const focused = () => this.nodes.findIndex(node => node.matches(":focus"));
      const choose = r => { if (r !== this.row) pick(r); };
      let last = "";                                     // a page that scrolls under a still pointer chooses nothing
      this.grid.addEventListener("pointermove", event => {
        const here = `${event.clientX} ${event.clientY}`;
        if (here !== last && told(event) >= 0) choose(told(event));
        last = here;
      });
      this.grid.addEventListener("focusin", event => choose(told(event)));
      this.grid.addEventListener("pointerleave", () => choose(focused() < 0 ? null : focused()));
      this.grid.addEventListener("keydown", event => {
        const by = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
        if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        this.nodes[Math.min(Math.max(focused() + by, 0), this.nodes.length - 1)].focus();
      });
    }
    draw(data, view, starts) {
      const shape = layout(data, view, starts), { rows, mask } = shape, patches = data.patches.lengths.length;
      Object.assign(this, { data, shape, row: null });
      const space = (units, gaps) => `calc(${units} * var(--u) + ${gaps} * var(--gap))`;
      const at = i => space(i, rows[i].block + 1), latent = p => space(rows.length + p, rows.at(-1).block + 3);
      const right = (left, style = "") => ({ style: `left: calc(var(--left) + ${left}); ${style}` });
      const box = (name, [start, end]) => el("i", name, right(at(start), `width: ${space(end - start, 0)}`));
      const groups = runs(rows, () => true);
      this.heads = rows.map((row, i) => el("span", "column-head", small(row.id), right(at(i))));
      this.latents = data.patches.lengths.map((_, p) =>
        el("span", "column-head", el("span", "small code", String(p)), right(latent(p))));
      this.nodes = rows.map((row, r) => {
        const may = i => mask[r][i] === "1", kind = i => row.block < 0 ? "clean" : rows[i].block < 0 ? "before" : "own";
        return el("div", "position", { role: "option", "aria-label": sentence(data, shape, r).join(""),
                                       style: `top: calc(var(--top) + ${at(r)})` },
          el("span", "name", groups.some(([start]) => start === r) ? row.group : ""), small(row.id),
          ...groups.map(group => box("ground", group)), ...runs(rows, may).map(run => box(kind(run[0]), run)),
          ...runs(rows, i => isAnswer(shape, r, i)).map(run => box("answer", run)),
          el("i", "latent", right(latent(row.reads), "width: var(--u)")));
      });
      const names = [...groups.map(([start]) => [rows[start].group, at(start)]), ["latents", latent(0)]];
      this.grid.replaceChildren(...names.map(([text, left]) => el("span", "name", text, right(left))), ...this.heads,
                                ...this.latents, ...this.nodes);
      this.grid.style.width = `calc(var(--left) + ${latent(patches)} + 4px)`;
      this.grid.style.height = `calc(var(--top) + ${space(rows.length, rows.at(-1).block + 1)} + 4px)`;
    }
    choose(r) {                                          // light up a row and the columns that it may read
      const { rows, mask } = this.shape;
      this.row = r !== null && r in rows ? r : null;
      this.grid.classList.toggle("bltp-lit", this.row !== null);
      this.nodes.forEach((node, i) => {
        node.classList.toggle("bltp-here", i === this.row);
        Object.assign(node, { ariaSelected: String(i === this.row), tabIndex: i === (this.row ?? 0) ? 0 : -1 });
      });
      const read = (node, yes) => node.classList.toggle("bltp-read", this.row !== null && yes);
      this.heads.forEach((node, i) => read(node, mask[this.row]?.[i] === "1"));
      this.latents.forEach((node, p) => read(node, rows[this.row]?.reads === p));
    }
    words() { return this.row === null ? null : sentence(this.data, this.shape, this.row); }
  }

  const SQUARES = "repeating-linear-gradient(90deg, #000 0 calc(var(--u) - 1px), transparent calc(var(--u) - 1px) var(--u))";
  const CROSS = angle => `linear-gradient(${angle}deg, transparent 46%, var(--red) 46% 54%, transparent 54%)`;
  const CSS = `
.~scroll { overflow-x: auto; }
.~mask { --u: 17px; --gap: 9px; --left: 96px; --top: 40px; position: relative;
  font: calc(var(--u) * 0.7)/var(--u) var(--mono); }
.~mask > :is(.~column-head, .~name), .~position > * { position: absolute; }
.~mask > .~column-head { top: calc(var(--top) - var(--u) - 2px); }
.~name { font: 12px/17px system-ui, sans-serif; color: var(--soft); white-space: nowrap; }
.~small { display: inline-block; width: var(--u); height: var(--u); text-align: center; white-space: nowrap; }
.~small.~code { font-size: calc(var(--u) * 0.54); letter-spacing: -0.5px; }
.~hole { border: calc(var(--u) * 0.18) solid transparent; background: repeating-linear-gradient(135deg, var(--soft) 0 1px,
  transparent 1px 3px) padding-box; }
.~position { position: absolute; left: 0; right: 0; height: var(--u); cursor: default; border-radius: 3px; }
.~position > .~name { left: 0; } .~position > .~small { left: calc(var(--left) - var(--u) - 4px); }
.~position > i { top: 0; height: calc(var(--u) - 1px); mask: ${SQUARES}; } .~ground { background: var(--thin); opacity: 0.45; }
.~clean { background: var(--accent); } .~before { background: linear-gradient(var(--green) 0 25%,
  color-mix(in srgb, var(--green) 55%, transparent) 25%); }
.~own { background: repeating-linear-gradient(135deg, var(--orange) 0 4px,
  color-mix(in srgb, var(--orange) 60%, transparent) 4px 7px); }
.~answer { background: ${CROSS(45)} 0 0/var(--u) 100%, ${CROSS(-45)} 0 0/var(--u) 100%; opacity: 0.6; }
.~latent { background: radial-gradient(circle closest-side, var(--pink) 76%, transparent 84%); }
.~lit .~position:not(.~here) > i { opacity: 0.25; } .~lit > .~column-head:not(.~read) { opacity: 0.35; }
.~column-head.~read, .~here > .~small { font-weight: 700; } .~here { background: var(--thin); }
.~key { --u: 16px; flex: none; width: 16px; height: 16px; }
@container (max-width: 700px) { .~mask { --u: 9px; --gap: 6px; --left: 16px; } .~position > .~name { display: none; }
  .~position > .~small { left: 3px; } }
`;
  return { Mask, layout, sentence, letter, label, CSS };
})();
