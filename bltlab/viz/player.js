/* bltlabPlayer(element, traces, options) plays recorded decoding runs: one lane a trace, all lanes on one clock.
   options: clock "event" | "passes" | "decoder" | "global" | "seconds", step, speed, autoplay, onStep(step).
   Returns {show(step), play(), pause(), step, length, canvas(step, lane)}. A step is a tick of the clock; on the clock
   "event" it is the number of events shown. A trace may hold any byte: its text goes into text nodes, never into markup. */
var bltlabPlayer = (() => {
  const OFFSET = 4, EOS = 2, MASK = 260, DASH = "\u2013", NFE = [0, 0, 0, 0];
  const CLOCKS = {                                       // name, and what it reads off the totals after so many events
    event: ["events", (sum, n) => n], seconds: ["seconds", sum => sum.seconds], decoder: ["decoder passes", sum => sum.nfe[3]],
    global: ["global passes", sum => sum.nfe[2]], passes: ["decoder + global passes", sum => sum.nfe[3] + sum.nfe[2]] };
  const STATES = { prompt: "prompt", masked: "masked", proposed: "proposed", accepted: "accepted by the model",
    replaced: "the model's, for a wrong guess", bonus: "the model's, after a full match", kept: "kept as proposed" };
  const REASONS = { eos: "the model ended the text", budget: "the budget is used up", stop: "a stop string is complete" };
  // ---- The fold: Canvas.apply of trace.py, case by case
  const blank = () => ({ cells: [], ghosts: [], bonusAt: null });
  function apply(canvas, event, step) {
    const { cells, ghosts } = canvas, first = event.position;
    const at = position => position <= cells.length ? cells.at(position - 1) : undefined;
    const put = (position, id, state, prob = null, opens = null) =>                // overwrite, or append at the end
      cells.splice(position - 1, 1, { id, state, prob, step, opens });
    if (event.type === "Prefilled") {
      cells.length = 0;
      event.opens.slice(1).forEach((opens, i) => put(i + 1, event.ids[i + 1], "prompt", null, opens));
    } else if (event.type === "Drafted") {
      const known = at(first), state = first === canvas.bonusAt ? "bonus" : "proposed";
      if (known?.state === "replaced") known.prob ??= event.prob; else put(first, event.id, state, event.prob);
    } else if (event.type === "Unmasked") {
      event.block.forEach((id, slot) => {
        if (id === MASK) put(first + slot, id, "masked", event.probs[slot]);
        else if (event.revealed.includes(slot)) put(first + slot, id, "proposed", event.probs[slot]);
      });
    } else if (event.type === "Verified") {
      const end = first + event.accepted, rejected = event.drafted.slice(event.accepted);
      for (const cell of cells.slice(first - 1, end - 1)) cell.state = "accepted";
      cells.splice(end - 1), canvas.bonusAt = rejected.length ? null : end;
      if (rejected.length) {
        ghosts.push({ step, position: end, ids: rejected, probs: event.draft_probs.slice(event.accepted) });
        put(end, event.replacement, "replaced", new Map(event.candidates[event.accepted]).get(event.replacement));
      }
    } else if (event.type === "Committed") {
      const end = first + event.ids.length;
      event.ids.forEach((id, i) => {
        if (at(first + i)?.id !== id) put(first + i, id, first + i === canvas.bonusAt ? "bonus" : "kept");
        const cell = at(first + i) ?? cells.at(-1);
        cell.opens = event.opens[i];
        if (cell.state === "proposed") cell.state = "kept";
      });
      cells.splice(at(end)?.state === "replaced" ? end : end - 1);
    } else if (event.type === "Finished") cells.splice(first - 1);
    return canvas;
  }
  const fold = ({ events }, step) => (({ bonusAt, ...rest }) => rest)(events.slice(0, step).reduce(apply, blank()));
  // Running totals after 0, 1, ... events, the prompt's prefill apart; they never fall, so that they can be a clock.
  function totals({ events }) {
    const start = events.findLast(e => e.type === "Prefilled") ?? { nfe: NFE, seconds: 0 };
    const sums = [{ bytes: 0, rounds: 0, accepted: 0, guessed: 0, nfe: NFE, seconds: 0 }];
    for (const e of events) {
      const { bytes, rounds, accepted, guessed, nfe, seconds } = sums.at(-1), done = e.type === "Committed";
      sums.push({ bytes: bytes + (done && e.ids.length), rounds: rounds + done, accepted: accepted + (e.accepted ?? 0),
                  guessed: guessed + (e.drafted?.length ?? 0), seconds: Math.max(seconds, e.seconds - start.seconds),
                  nfe: nfe.map((n, part) => Math.max(n, e.nfe[part] - start.nfe[part])) });
    }
    return sums;
  }

  // ---- Bytes, characters and words
  // Covers ids with [start, end, kind]: a "whole" character, "pending" (it may still become one), "broken", "special".
  function spans(ids, finished) {
    const found = [], isByte = i => ids[i] >= OFFSET && ids[i] < MASK;
    const inside = (i, low = 0x80, high = 0xBF) => isByte(i) && ids[i] - OFFSET >= low && ids[i] - OFFSET <= high;
    for (let i = 0; i < ids.length; i = found.at(-1)[1]) {
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
  const many = (n, word) => `${n} ${word}${n === 1 ? "" : /s$/.test(word) ? "es" : "s"}`;
  function character(ids) {                              // a whole character, or its code point where it has no picture
    const text = new TextDecoder().decode(Uint8Array.from(ids, id => id - OFFSET)), code = hex(text.codePointAt(0));
    if (/^[\p{C}\p{Z}\ufffd]/u.test(text) && text !== " ") return `U+${code.padStart(4, "0")}`;
    return /^\p{M}/u.test(text) ? `\u25cc${text}` : text;
  }
  // Is a byte the model's own? It opens a round, and drafts follow it.
  const isOwn = (events, i) => events[i].type === "Drafted" && /Prefilled|Committed/.test(events[i - 1]?.type);
  function sentence(events, i) {
    const e = events[i], hidden = e?.block?.filter(id => id === MASK).length, n = e?.drafted?.length;
    return {
      Prefilled: () => `read the prompt, ${many(e.ids.length - 1, "byte")}`,
      Drafted: () => `${isOwn(events, i) ? "the model's own next byte is" : "drafted"} ${named(e.id)} (p ${odds(e.prob)})`,
      Unmasked: () => `denoising revealed ${e.revealed.length} of ${many(e.block.length, "byte")}` +
        `${e.revealed.length > 1 ? " at once" : ""}, ${hidden ? `${hidden} still masked` : "the block is full"}`,
      Verified: () => "verify: " + (n === 0 ? "nothing was guessed" : n === 1 && e.accepted ? "the guess accepted" :
        e.accepted >= n ? `all ${n} guesses accepted` : `${e.accepted} of ${many(n, "guess")} accepted, ` +
        `${named(e.drafted[e.accepted])} replaced by ${named(e.replacement)}`),
      Committed: () => `committed ${many(e.ids.length, "byte")}`,
      Finished: () => `finished: ${REASONS[e.reason] ?? e.reason}`,
    }[e?.type]?.() ?? "nothing has been read yet";
  }

  function touched(e) {                                  // the positions that an event is about
    if (e?.type === "Unmasked") return e.revealed.map(slot => e.position + slot);
    if (e?.type === "Prefilled") return [e.ids.length - 1];
    const n = { Drafted: 1, Committed: e?.ids?.length, Verified: e?.accepted + (e?.accepted < e?.drafted?.length) }[e?.type];
    return Array.from({ length: n ?? 0 }, (_, i) => e.position + i);
  }

  // ---- Drawing
  function el(tag, name, ...parts) {                     // parts: children, strings, or one plain object of attributes
    const node = document.createElement(tag);
    if (name) node.className = name.replace(/(^| )/g, "$1bltp-");
    for (const part of parts)
      if (typeof part === "string" || part instanceof Node) node.append(part);
      else for (const key in part) node.setAttribute(key, part[key]);
    return node;
  }
  const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const small = (id, state) => el("span", `cell ${state}${isHex(id) ? " hex" : ""}`, glyph(id));
  const pair = ([key, value]) => el("div", "", el("dt", "", key), el("dd", "", value));
  const group = label => ({ role: "group", "aria-label": label }), odds = p => shown(p).replace(/^(?=\d)/, "= ");
  class Lane {
    constructor(trace, index, inspect) {
      const { name, ...fields } = trace.method, { events } = trace, model = el("span", "model", trace.model.name ?? "");
      Object.assign(this, { inspect, events, name, sums: totals(trace), canvas: blank(), at: -1,
                            bytes: [], chars: [], rows: [], current: 1 });         // nodes, and the byte that Tab leads to
      const settings = Object.entries({ ...fields, ...trace.settings }).filter(([, value]) => String(value ?? ""));
      const most = events.filter(e => e.accepted < e.drafted?.length).length;
      this.stats = el("dl", "stats", ...["new bytes", "patcher passes", "encoder passes", "global passes", "decoder passes",
                                         "acceptance", "seconds"].map(key => pair([key, ""])));
      this.said = el("p", "said", { role: "status" });
      this.grid = el("div", "grid", group("bytes; left and right arrows go from byte to byte"));
      this.ghosts = el("div", "ghosts", group("rejected drafts, newest first"), { tabindex: 0 });
      Object.assign(this.ghosts, { hidden: !most }).style.height = `${Math.min(most, 4) * 32 + 4}px`;
      this.root = el("section", "lane", group(`lane ${index + 1}: ${name}`), el("div", "head", el("b", "", name),
        ...settings.map(([key, value]) => el("span", "", `${key.replace(/_+/g, " ")} ${value}`)), model),
        this.stats, this.said, this.grid, this.ghosts);
      for (const [kind, end] of [["pointerover", "pointerleave"], ["focusin", "focusout"]]) {
        const tell = position => position && inspect(kind, this, position);
        this.grid.addEventListener(kind, event => tell(event.target.closest(".bltp-cell")?.position));
        this.grid.addEventListener(end, () => inspect(kind));
      }
    }
    show(step, before) {                                 // before: the step at the last tick, for the sentence
      if (step === this.at) return;
      if (step < this.at) Object.assign(this, { canvas: blank(), at: 0 });
      for (let i = Math.max(this.at, 0); i < step; i++) apply(this.canvas, this.events[i], i);
      this.at = step;
      const { bytes, nfe, accepted, guessed, seconds } = this.sums[step];
      const values = [bytes, ...nfe, guessed ? `${Math.round(100 * accepted / guessed)} %` : DASH, seconds.toFixed(2)];
      this.stats.querySelectorAll("dd").forEach((node, i) => write(node, String(values[i])));
      const news = [step - 2, step - 1].filter(i => i >= 0 && (i >= before || i === step - 1));
      write(this.said, `step ${step}: ${news.map(i => sentence(this.events, i)).join("; ") || sentence([])}`);
      this.drawCells(this.events[step - 1]);
      this.drawGhosts();
    }
    drawCells(event) {
      const { cells } = this.canvas, now = new Set(touched(event));
      this.spans = spans(cells.map(cell => cell.id), event?.type === "Finished");
      cells.forEach((cell, i) => this.drawCell(i, cell, now.has(i + 1)));
      this.spans.forEach(([start, end, kind], j) => {
        const char = this.chars[j] ??= { node: el("span", "char"), over: el("span", "over") }, key = `${start} ${end} ${kind}`;
        const bracket = end - start > 1 || kind === "pending", ids = cells.slice(start, end).map(cell => cell.id);
        if (bracket) write(char.over, kind === "pending" ? "\u2026" : character(ids));
        if (char.key === key) return;
        char.key = key;
        char.node.className = `bltp-char bltp-${kind}`;
        char.node.replaceChildren(...bracket ? [char.over] : [], ...this.bytes.slice(start, end).map(byte => byte.node));
        if (!char.node.parentNode) this.grid.append(char.node);
      });
      for (const { node } of this.chars.splice(this.spans.length)) node.remove();
      this.bytes.length = cells.length;
      if (this.current > cells.length) this.stop(1);
    }
    drawCell(i, { id, state, opens }, now) {
      const byte = this.bytes[i] ??= { node: el("span", "", { role: "img" }) }, key = `${id} ${state} ${opens} ${now}`;
      if (byte.key === key) return;
      byte.key = key;
      byte.node.className = ["cell", state, isHex(id) && "hex", now && "now", opens != null && "rail", opens && "opens"]
        .filter(Boolean).map(name => `bltp-${name}`).join(" ");
      Object.assign(byte.node, { position: i + 1, tabIndex: i + 1 === this.current ? 0 : -1, textContent: glyph(id),
                                 ariaLabel: `byte ${i}: ${named(id)}, ${state}${opens ? ", opens a patch" : ""}` });
    }
    drawGhosts() {
      for (const row of this.rows.splice(this.canvas.ghosts.length)) row.remove();
      for (const { step, position, ids, probs } of this.canvas.ghosts.slice(this.rows.length)) {
        const row = el("div", "ghost", el("span", "round", `round ${this.sums[step].rounds + 1} rejected:`),
                       el("span", "word", ...ids.map(id => small(id, "rejected"))),
                       el("span", "where", `at byte ${position - 1}, drafted with p ${odds(probs[0])}`));
        for (const [kind, ...at] of [["enter", this, position], ["leave"]])
          row.addEventListener(`pointer${kind}`, () => this.inspect("pointerover", ...at));
        this.rows.push(row);
        this.ghosts.prepend(row);
      }
    }
    stop(position) {                                     // a grid is one tab stop, which arrow keys move
      [this.current, position].forEach((at, i) => { if (this.bytes[at - 1]) this.bytes[at - 1].node.tabIndex = i - 1; });
      this.current = position;
    }
    guesses(position) {                                  // what was said about it so far, by drafter or model
      return this.events.slice(0, this.at).flatMap((e, step) => {
        const slot = position - e.position, model = e.type === "Verified";
        const both = `${shown(e.draft_probs?.[slot])} / ${shown(e.target_probs?.[slot])}`;
        if (e.type === "Drafted" && slot === 0) return { step, model: isOwn(this.events, step), candidates: e.candidates };
        if (!(slot in (e.drafted ?? e.block ?? []))) return [];
        return { step, model, candidates: e.candidates[slot], guess: e.drafted?.[slot], both };
      });
    }
    details(position) {                                  // what is known about one byte at this step
      const { cells, ghosts } = this.canvas, cell = cells[position - 1], guesses = this.guesses(position);
      if (!cell) return [el("p", "hint", "Point at a byte, or walk to it with Tab and the arrow keys.")];
      const commit = at => this.events.slice(0, this.at).findLastIndex(e => at - e.position in (e.entropies ?? []));
      const entropy = (at, e = this.events[commit(at)]) => e ? `${shown(e.entropies[at - e.position])} nats` : DASH;
      const [start, end, kind] = this.spans.find(span => span[1] >= position), ids = cells.slice(start, end).map(c => c.id);
      const checked = guesses.findLast(guess => guess.guess === cell.id);
      const rejected = ghosts.map(ghost => guesses.find(guess => guess.step === ghost.step && position >= ghost.position))
        .filter(Boolean).slice(-3).map(guess => `${named(guess.guess)} (${guess.both})`);
      const facts = [
        ["byte", kind === "special" ? DASH : `${cell.id - OFFSET}, hex ${hex(cell.id - OFFSET)}`],
        ["character", { special: DASH, pending: "not complete yet", broken: "broken UTF-8" }[kind] ??
          character(ids) + (ids.length > 1 ? `, its byte ${position - start} of ${ids.length}` : "")],
        ["offset", String(position - 1)], ["state", STATES[cell.state]], ["written", `step ${cell.step + 1}`],
        ["fixed", commit(position) < 0 ? "not yet" : `step ${commit(position) + 1}`], ["probability", shown(cell.prob)],
        ...checked ? [["drafter / model", checked.both]] : [], ["entropy before", entropy(position - 1)],
        ["entropy after", entropy(position)], ["opens a patch", { true: "yes", false: "no" }[cell.opens] ?? "not known yet"],
        ...rejected.length ? [["rejected here", rejected.join(", ")]] : []];
      const bar = ([id, p]) => el("div", "bar", small(id, id === cell.id ? "chosen" : "other"), el("span", "track",
        el("i", "", { style: `width: ${100 * Math.min(Math.max(p, 0), 1)}%` })), el("span", "", shown(p)));
      const bars = ["drafter", "model"].map((who, model) => {
        const { step, candidates } = guesses.findLast(guess => guess.model == model && guess.candidates?.length) ?? {};
        return candidates ? el("div", "bars", `${who}'s candidates, step ${step + 1}`, ...candidates.slice(0, 5).map(bar)) : "";
      });
      return [el("div", "title", small(cell.id, cell.state), `byte ${position - 1}`, el("small", "", this.name)),
              el("dl", "facts", ...facts.map(pair)), ...bars];
    }
  }

  function player(element, traces, options = {}) {
    const top = element.getRootNode(), home = top instanceof ShadowRoot ? top : document.head;
    if (!home.querySelector("style[data-bltp]")) home.append(el("style", "", CSS, { "data-bltp": "" }));
    let clock = CLOCKS[options.clock] ? options.clock : "event", longest = 0, length = 0, step = 0, playing = 0;
    const chosen = {};                                   // by "pointerover" and "focusin": the lane and the position
    const choose = (label, choices, value) => el("label", "choose", label,
      el("select", "", ...choices.map(([key, text]) => new Option(text, key, false, key === value))));
    const [button, back, next] = ["Play", "\u2039", "\u203a"].map(text => el("button", "", text, { type: "button" }));
    const slider = el("input", "slider", { type: "range", min: 0, step: 1, "aria-label": "step" });
    const readout = el("output", "readout"), panel = el("aside", "panel", { "aria-label": "one byte in detail" });
    const clockBox = choose("clock", Object.entries(CLOCKS).map(([key, [text]]) => [key, text]), clock);
    const speedBox = choose("speed", [0.5, 1, 2, 4, 8].map(x => [x, `${x}\u00d7`]), options.speed ?? 1);
    [back.ariaLabel, next.ariaLabel] = ["one step back", "one step forward"];
    const lanes = traces.map((trace, i) => new Lane(trace, i, (kind, lane, position) => {
      chosen[kind] = lane && { lane, position };
      if (lane && kind === "focusin") lane.stop(position);
      drawPanel();
    }));
    const legend = [...Object.keys(STATES), "rejected"].map(state => [small(state === "masked" ? MASK : 101, state), state]);
    legend.push([el("span", "cell prompt rail opens", "a"), "opens a patch"],
                [el("span", "char broken", small(OFFSET + 0xFF, "prompt")), "broken UTF-8"]);
    const root = el("div", "player", group("decoding trace player"), { tabindex: -1 },
      el("div", "controls", button, back, next, slider, readout, clockBox, speedBox),
      el("div", "main", el("div", `lanes ${lanes.length > 1 ? "several" : "one"}`, ...lanes.map(lane => lane.root)), panel),
      el("div", "legend", group("legend"), ...legend.map(item => el("span", "item", ...item))));
    element.replaceChildren(root);
    const due = tick => clock === "seconds" ? tick / length * longest + 1e-9 : tick;         // a tick in the clock's unit
    const stepOf = (lane, tick) => lane.times.findLastIndex(time => time <= due(tick));       // events by then
    function setClock(name) {
      const share = length ? step / length : 0;
      clock = name;
      for (const lane of lanes) lane.times = lane.sums.map(CLOCKS[name][1]);
      longest = Math.max(0, ...lanes.map(lane => lane.times.at(-1)));
      slider.max = length = name === "seconds" ? 240 : longest;
      show(Math.round(share * length));
    }
    function drawPanel() {                               // where nobody points: the newest byte of the first lane
      const { lane, position } = chosen.pointerover ?? chosen.focusin ?? { lane: lanes[0] };
      const newest = lane && Math.min(touched(lane.events[lane.at - 1]).at(-1) ?? Infinity, lane.canvas.cells.length);
      for (const node of root.querySelectorAll(".bltp-pointed")) node.classList.remove("bltp-pointed");
      if (position) lane.bytes[position - 1]?.node.classList.add("bltp-pointed");
      panel.replaceChildren(...lane?.details(position ?? newest) ?? []);
    }
    function show(tick) {
      step = Math.min(Math.max(Math.round(tick) || 0, 0), length);
      for (const lane of lanes) lane.show(stepOf(lane, step), step ? stepOf(lane, step - 1) : 0);
      const value = n => clock === "seconds" ? (n / length * longest).toFixed(2) : n;
      write(readout, `${clock === "event" ? "step" : CLOCKS[clock][0]} ${value(step)} of ${value(length)}`);
      Object.assign(slider, { value: step, ariaValueText: readout.textContent });
      drawPanel();
      options.onStep?.(step);
    }
    function setPlaying(frame) {                         // the number of the frame asked for, 0 to stand still
      if (!frame) cancelAnimationFrame(playing);
      playing = frame;
      write(button, frame ? "Pause" : "Play");
      for (const lane of lanes) lane.said.setAttribute("aria-live", frame ? "off" : "polite");
    }
    function play() {
      if (playing || !length) return;
      if (step >= length) show(0);
      let last = null, owed = 0;                         // ticks due: a whole run takes about 20 seconds at speed 1
      setPlaying(requestAnimationFrame(function frame(now) {
        owed += Math.min(now - (last ?? now), 250) / 1000 * Math.min(Math.max(length / 20, 4), 40) * speedBox.lastChild.value;
        last = now;
        if (owed >= 1) show(step + Math.floor(owed));
        owed %= 1;
        playing && step < length && root.isConnected ? playing = requestAnimationFrame(frame) : pause();
      }));
    }
    const pause = () => setPlaying(0), go = tick => { pause(); show(tick); }, toggle = () => playing ? pause() : play();
    for (const [node, kind, act] of [[button, "click", toggle], [back, "click", () => go(step - 1)],
      [next, "click", () => go(step + 1)], [slider, "input", () => go(slider.value)],
      [clockBox, "change", () => setClock(clockBox.lastChild.value)]]) node.addEventListener(kind, act);
    root.addEventListener("keydown", event => {          // arrows step; on a byte, left and right go to its neighbours
      const { target, key } = event, lane = lanes.find(({ grid }) => grid.contains(target));
      const side = by => lane ? lane.bytes[lane.current - 1 + by]?.node.focus() : go(step + by);
      const theirs = target.matches(".bltp-ghosts") ? /Up|Down|Home|End/ : { SELECT: /./, BUTTON: /^ $/ }[target.tagName];
      if (event.ctrlKey || event.metaKey || event.altKey || theirs?.test(key)) return;
      const act = { ArrowLeft: () => side(-1), ArrowRight: () => side(1), ArrowDown: () => go(step - 1), " ": toggle,
                    ArrowUp: () => go(step + 1), Home: () => go(0), End: () => go(length), Escape: () => root.focus() }[key];
      if (act) { event.preventDefault(); act(); }
    });
    const moving = (options.autoplay ?? options.step == null) && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    setClock(clock);
    show(options.step ?? (moving ? 0 : length));
    if (moving) new IntersectionObserver((seen, observer) => {                     // begins when it comes into view
      if (seen.some(entry => entry.isIntersecting)) { observer.disconnect(); play(); }
    }).observe(root);
    return { show: go, play, pause, get step() { return step; }, get length() { return length; },
             canvas: (tick = step, lane = 0) => fold(traces[lane], stepOf(lanes[lane], tick)) };
  }

  // Okabe-Ito colours, and a second cue for each state that survives greyscale; all else is the text's colour, thinned.
  const CSS = `
.~player { --thin: color-mix(in srgb, currentColor 14%, transparent);
  --soft: color-mix(in srgb, currentColor 65%, transparent); --kept: #0072b2; --red: #d55e00; --line: 1px solid var(--thin);
  outline: none; container-type: inline-size; text-align: left; font: 14px/1.45 system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
.~controls, .~legend, .~head, .~main, .~stats, .~grid, .~ghost { display: flex; flex-wrap: wrap; align-items: center;
  gap: 8px 12px; } .~over::after, .~rail::after, .~opens::before { content: ""; position: absolute; } .~lane { min-width: 0; }
.~player :where(*, ::before, ::after) { box-sizing: border-box; } .~player :where(dl, dd, dt, p) { margin: 0; padding: 0; }
.~player.~player :is(button, select) { font: inherit; line-height: 1; color: inherit; background-color: transparent;
  border: 1px solid var(--soft); border-radius: 6px; height: 30px; min-width: 30px; padding: 0 8px; }
.~player.~player button { cursor: pointer; &:hover { background: var(--thin); } &:first-child { min-width: 66px; } }
.~player :is(.~head span, .~stats dt, .~where, .~hint, .~bars, .~facts dt, small, .~prompt, .~rejected) { color: var(--soft); }
.~stats { gap: 6px 20px; padding: 10px 0 12px; & dt { font-size: 12px; } & dd { font-size: 17px; min-width: 2.6em; } }
.~grid { gap: 13px 0; padding: 8px 0 18px 2px; } .~char { position: relative; } .~grid .~char { padding-top: 20px; }
.~over { position: absolute; inset: -3px 3px auto; height: 20px; text-align: center; line-height: 15px; white-space: nowrap; }
.~over::after { inset: auto 0 0 0; height: 4px; border: solid; border-width: 1.5px 1.5px 0; border-radius: 3px; }
.~pending .~over::after { border-style: dashed; border-right: 0; } .~player option { color: CanvasText; background: Canvas; }
.~cell { --c: currentColor; --b: 1px; --low: var(--b); position: relative; justify-content: center; flex: none; width: 25px;
  height: 31px; margin: 0 2px; border: var(--b) solid transparent; border-radius: 4px; border-bottom-width: var(--low);
  background-color: color-mix(in srgb, var(--c) var(--fill, 15%), transparent);
  font: 17px/1 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; } .~bars { padding-top: 10px; font-size: 12px; }
.~hex { font-size: 11px; letter-spacing: -0.3px; } .~prompt { --fill: 0%; } .~choose, .~item { gap: 6px; }
.~proposed { --c: #e69f00; border-style: dashed; border-color: var(--c); font-style: italic; } .~readout { min-width: 10em; }
.~masked { border: var(--b) dotted var(--soft); --fill: 4%;
  background-image: repeating-linear-gradient(135deg, var(--thin) 0 2px, transparent 2px 6px); } .~model { margin-left: auto; }
.~accepted { --c: #009e73; --low: 4px; border-color: var(--c); } .~ghosts { overflow-y: auto; border-top: var(--line); }
.~bonus { --c: #cc79a7; --b: 4px; border: var(--b) double var(--c); } .~round { min-width: 9.2em; } .~word { flex-wrap: wrap; }
.~replaced { --c: var(--red); --b: 2px; border-color: var(--c); font-weight: 700;
  background-image: linear-gradient(225deg, var(--c) 6px, transparent 6.5px); }
.~kept { --c: var(--kept); --low: 2px; border-bottom-color: var(--c); border-radius: 4px 4px 0 0; }
.~rejected { --fill: 0%; border-color: var(--thin); text-decoration: line-through 1.5px var(--red); }
.~grid .~now:not(.~prompt) { --fill: 42%; } .~grid .~pointed { box-shadow: 0 0 0 2px currentColor; z-index: 1; }
.~rail::after { height: 2px; background: var(--soft);
  inset: auto calc(-2px - var(--b)) calc(-6px - var(--low)) calc(-3px - var(--b)); }
.~rail.~opens::after { left: calc(1px - var(--b)); } .~head { gap: 2px 14px; align-items: baseline; & b { font-size: 18px; } }
.~opens::before { width: 2px; background: currentColor;
  inset: calc(-4px - var(--b)) auto calc(-6px - var(--low)) calc(-3px - var(--b)); }
.~ghost { gap: 2px 8px; min-height: 32px; padding: 2px 8px; &:first-child {
  background: color-mix(in srgb, var(--red) 9%, transparent); border-left: 3px solid var(--red); padding-left: 5px; } & + & {
  opacity: 0.75; } & .~cell { width: 21px; height: 24px; margin: 0 1px; font-size: 14px; } & .~hex { font-size: 10px; } }
.~panel { flex: 1 0 250px; border-left: var(--line); padding-left: 20px; min-height: 460px; position: sticky; top: 8px;
  align-self: flex-start; } .~lanes { flex: 999 1 320px; min-width: 0; display: grid; gap: 38px 34px; align-content: start; }
.~bar { display: grid; grid-template-columns: 25px 1fr 3.6em; align-items: center; gap: 8px; & .~cell { height: 21px;
  font-size: 14px; --fill: 0%; } & .~hex { font-size: 11px; } } .~bar .~chosen { border-color: currentColor; font-weight: 700; }
.~track { height: 8px; background: var(--thin); border-radius: 4px; overflow: hidden; & i { display: block; height: 8px;
  background: var(--kept); } } .~player .~said { min-height: 1.45em; padding-left: 10px; border-left: 3px solid var(--kept); }
.~title { font-weight: 600; padding-bottom: 8px; & small { font-weight: 400; float: right; } & .~cell { margin-right: 10px; } }
.~player .~slider { flex: 1 1 150px; min-width: 120px; margin: 0; padding: 0; accent-color: var(--kept); }
.~legend { gap: 8px 16px; padding-top: 12px; border-top: var(--line); font-size: 13px; }
.~choose, .~item, .~char, .~word, .~cell { display: inline-flex; align-items: center; }
.~several { grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); }
.~facts > div { display: grid; grid-template-columns: 8.4em 1fr; font-size: 13px; }
.~broken .~cell { outline: 2px dashed var(--red); outline-offset: 2px; }
.~main { gap: 18px 28px; padding: 16px 0; align-items: start; } .~controls { padding-bottom: 12px; border-bottom: var(--line); }
@container (max-width: 640px) { .~panel { border-left: 0; padding: 14px 0 0; border-top: var(--line); } .~model { margin: 0; } }
@media (prefers-color-scheme: dark) { .~player { --kept: #56b4e9; } } .dark .~player { --kept: #56b4e9; }
`.replaceAll("~", "bltp-");
  return Object.assign(player, { fold, spans, totals, sentence });
})();
if (typeof module !== "undefined") module.exports = bltlabPlayer;
