/* bltlabPlayer(element, traces, options) plays recorded decoding runs: one lane a trace, all lanes on one clock.

   options: clock "event" | "passes" | "decoder" | "global" | "seconds", step, speed, autoplay, onStep(step).
   Returns {show(step), play(), pause(), step, length, canvas(step, lane)}. A step is a tick of the clock; on the clock
   "event" it is the number of events shown. A trace may hold any byte: text goes into text nodes only, never into markup. */
var bltlabPlayer = (() => {
  const OFFSET = 4, EOS = 2, MASK = 260, DASH = "\u2013";
  const CLOCKS = {                                       // name, and what it counts in the totals after so many events
    event: ["events", (sum, events) => events], passes: ["passes (decoder + global)", sum => sum.nfe[3] + sum.nfe[2]],
    decoder: ["decoder passes", sum => sum.nfe[3]], global: ["global passes", sum => sum.nfe[2]], seconds: ["seconds", sum => sum.seconds] };
  const STATES = { prompt: "prompt", masked: "masked", proposed: "proposed", accepted: "accepted by the model", replaced: "the model's, for a wrong guess",
                   bonus: "the model's, after a full match", kept: "kept as proposed" };
  const REASONS = { eos: "the model ended the text", budget: "the budget is used up", stop: "a stop string is complete" };
  // ---- The fold: Canvas.apply of trace.py, case by case
  const blank = () => ({ cells: [], ghosts: [], bonusAt: null });

  function apply(canvas, event, step) {
    const { cells, ghosts } = canvas, first = event.position;
    const at = position => position <= cells.length ? cells.at(position - 1) : undefined;
    const put = (position, id, state, prob = null, opens = null) => {
      const cell = { id, state, prob, step, opens };
      cells.splice(position - 1, 1, cell);               // overwrite, or append at the end
      return cell;
    };
    if (event.type === "Prefilled") {
      cells.length = 0;
      event.opens.slice(1).forEach((opens, i) => put(i + 1, event.ids[i + 1], "prompt", null, opens));
    } else if (event.type === "Drafted") {
      if (at(first)?.state !== "replaced") put(first, event.id, first === canvas.bonusAt ? "bonus" : "proposed", event.prob);
    } else if (event.type === "Unmasked") {
      event.block.forEach((id, slot) => {
        if (id === MASK) put(first + slot, id, "masked", event.probs[slot]);
        else if (event.revealed.includes(slot)) put(first + slot, id, "proposed", event.probs[slot]);
      });
    } else if (event.type === "Verified") {
      const end = first + event.accepted, rejected = event.drafted.slice(event.accepted);
      for (const cell of cells.slice(first - 1, end - 1)) cell.state = "accepted";
      cells.splice(end - 1);
      canvas.bonusAt = rejected.length ? null : end;
      if (rejected.length) {
        ghosts.push({ step, position: end, ids: rejected, probs: event.draft_probs.slice(event.accepted) });
        put(end, event.replacement, "replaced", new Map(event.candidates[event.accepted]).get(event.replacement));
      }
    } else if (event.type === "Committed") {
      const end = first + event.ids.length;
      event.ids.forEach((id, i) => {
        const cell = at(first + i)?.id === id ? at(first + i) : put(first + i, id, first + i === canvas.bonusAt ? "bonus" : "kept");
        cell.opens = event.opens[i];
        if (cell.state === "proposed") cell.state = "kept";
      });
      cells.splice(at(end)?.state === "replaced" ? end : end - 1);
    } else if (event.type === "Finished") cells.splice(first - 1);
    return canvas;
  }
  const fold = (trace, step) => (({ cells, ghosts }) => ({ cells, ghosts }))(trace.events.slice(0, step).reduce(apply, blank()));

  // Running totals after 0, 1, ... events, the prompt's prefill apart; they never fall, so that they can be a clock.
  function totals({ events }) {
    const start = events.findLast(e => e.type === "Prefilled") ?? { nfe: [0, 0, 0, 0], seconds: 0 };
    const sums = [{ bytes: 0, rounds: 0, accepted: 0, guessed: 0, nfe: [0, 0, 0, 0], seconds: 0 }];
    for (const e of events) {
      const last = sums.at(-1), committed = e.type === "Committed", verified = e.type === "Verified";
      sums.push({ bytes: last.bytes + (committed && e.ids.length), rounds: last.rounds + committed,
                  accepted: last.accepted + (verified && e.accepted), guessed: last.guessed + (verified && e.drafted.length),
                  nfe: last.nfe.map((n, part) => Math.max(n, e.nfe[part] - start.nfe[part])), seconds: Math.max(last.seconds, e.seconds - start.seconds) });
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
      let have = 1, back = i - 1;
      while (have < n && inside(i + have, ...have === 1 ? [{ 0xE0: 0xA0, 0xF0: 0x90 }[b], { 0xED: 0x9F, 0xF4: 0x8F }[b]] : [])) have++;
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
  const named = id => id === MASK ? "a masked byte" : id === EOS ? "the end of the text" : isHex(id) ? `byte ${glyph(id)}` : `'${glyph(id)}'`;
  const shown = p => !Number.isFinite(p) ? DASH : p > 0.995 && p < 1 ? "> 0.99" : p < 0.005 && p > 0 ? "< 0.01" : p.toFixed(2);
  const many = (n, word) => `${n} ${word}${n === 1 ? "" : /s$/.test(word) ? "es" : "s"}`;
  const setting = v => v && typeof v === "object" ? Object.values(v).map(setting).join(" ") : String(v);

  function character(ids) {                              // a whole character, or its code point where it has no picture
    const text = new TextDecoder().decode(Uint8Array.from(ids, id => id - OFFSET));
    return /^[\p{C}\p{Z}\ufffd]/u.test(text) && text !== " " ? `U+${hex(text.codePointAt(0)).padStart(4, "0")}` : /^\p{M}/u.test(text) ? `\u25cc${text}` : text;
  }

  const isOwn = (events, i) => events[i].type === "Drafted" && /Prefilled|Committed/.test(events[i - 1]?.type);   // a round opens with it, drafts follow

  function sentence(events, i) {
    const e = events[i], hidden = e?.block?.filter(id => id === MASK).length, n = e?.drafted?.length;
    return {
      Prefilled: () => `read the prompt, ${many(e.ids.length - 1, "byte")}`,
      Drafted: () => `${isOwn(events, i) ? "the model's own next byte is" : "drafted"} ${named(e.id)} (p = ${shown(e.prob)})`,
      Unmasked: () => `denoising revealed ${e.revealed.length} of ${many(e.block.length, "byte")}${e.revealed.length > 1 ? " at once" : ""}, ` +
        (hidden ? `${hidden} still masked` : "the block is full"),
      Verified: () => n === 0 ? "verify: nothing was guessed" : e.accepted >= n ? `verify: ${n === 1 ? "the guess" : `all ${n} guesses`} accepted` :
        `verify: ${e.accepted} of ${many(n, "guess")} accepted, ${named(e.drafted[e.accepted])} replaced by ${named(e.replacement)}`,
      Committed: () => `committed ${many(e.ids.length, "byte")}`,
      Finished: () => `finished: ${REASONS[e.reason] ?? e.reason}`,
    }[e?.type]?.() ?? "nothing has been read yet";
  }

  function touched(e) {                                  // the positions that an event is about
    const range = n => Array.from({ length: n }, (_, i) => e.position + i);
    return !e ? [] : e.type === "Unmasked" ? e.revealed.map(slot => e.position + slot) : e.type === "Prefilled" ? [e.ids.length - 1] :
      range({ Drafted: 1, Committed: e.ids?.length, Verified: e.accepted + (e.accepted < e.drafted?.length) }[e.type] ?? 0);
  }

  // What the events say about each position: guesses {step, who, candidates, guess, draft, target}, then {step, entropy}.
  function records(events) {
    const guesses = new Map(), final = new Map();
    const say = (position, record) => guesses.has(position) ? guesses.get(position).push(record) : guesses.set(position, [record]);
    events.forEach((e, step) => {
      if (e.type === "Drafted") say(e.position, { step, who: isOwn(events, step) ? "model" : "drafter", candidates: e.candidates });
      if (e.type === "Unmasked") e.candidates.forEach((candidates, slot) => say(e.position + slot, { step, who: "drafter", candidates }));
      if (e.type === "Verified") e.drafted.forEach((guess, slot) => say(e.position + slot,
        { step, who: "model", candidates: e.candidates[slot], guess, draft: e.draft_probs[slot], target: e.target_probs[slot] }));
      if (/Prefilled|Committed/.test(e.type)) e.ids.forEach((_, i) => final.set(e.position + i, { step, entropy: e.entropies[i] }));
    });
    return { guesses, final };
  }
  // ---- Drawing
  function el(tag, name, ...parts) {                     // parts: children, strings, or one plain object of attributes
    const node = document.createElement(tag);
    if (name) node.className = name.replace(/(^| )/g, "$1bltp-");
    for (const part of parts) {
      if (typeof part === "string" || part instanceof Node) node.append(part);
      else for (const key in part) node.setAttribute(key, part[key]);
    }
    return node;
  }
  const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const small = (id, state) => el("span", `cell ${state}${isHex(id) ? " hex" : ""}`, glyph(id));
  const pairs = (name, rows) => el("dl", name, ...rows.map(([key, value]) => el("div", "", el("dt", "", key), el("dd", "", value))));
  class Lane {
    constructor(trace, index, inspect) {
      Object.assign(this, { index, inspect, events: trace.events, sums: totals(trace), ...records(trace.events) });
      Object.assign(this, { canvas: blank(), at: -1, bytes: [], chars: [], rows: [], current: 1, name: trace.method.name });
      const { name, ...fields } = trace.method, most = trace.events.filter(e => e.accepted < e.drafted?.length).length;
      const settings = Object.entries({ ...fields, ...trace.settings }).filter(([, v]) => v != null).map(([key, v]) => el("span", "", `${key.replace(/_+/g, " ")} ${setting(v)}`));
      this.stats = pairs("stats", ["new bytes", "patcher passes", "encoder passes", "global passes", "decoder passes", "acceptance", "seconds"].map(key => [key, "0"]));
      this.said = el("p", "said", { role: "status" });
      this.grid = el("div", "grid", { role: "group", "aria-label": "bytes; left and right arrows go from byte to byte" });
      this.ghosts = el("div", "ghosts", { role: "group", "aria-label": "rejected drafts, newest first", tabindex: 0, style: `height: ${Math.min(most, 4) * 32 + 4}px` });
      this.ghosts.hidden = !most;
      this.root = el("section", "lane", { role: "group", "aria-label": `lane ${index + 1}: ${name}` },
                     el("div", "head", el("b", "", name), ...settings, el("span", "model", trace.model.name ?? "")), this.stats, this.said, this.grid, this.ghosts);
      for (const [kind, end] of [["pointerover", "pointerleave"], ["focusin", "focusout"]]) {
        const tell = position => position && inspect(kind, this, position);
        this.grid.addEventListener(kind, event => tell(event.target.closest(".bltp-cell")?.position));
        this.grid.addEventListener(end, () => inspect(kind));
      }
    }

    show(step, before) {                                 // before: the step at the last tick, for the sentence
      if (step === this.at) return;
      if (step < this.at) this.canvas = blank();
      for (let i = step < this.at ? 0 : Math.max(this.at, 0); i < step; i++) apply(this.canvas, this.events[i], i);
      this.at = step;
      const { bytes, nfe, accepted, guessed, seconds } = this.sums[step], rate = guessed ? `${Math.round(100 * accepted / guessed)} %` : DASH;
      this.stats.querySelectorAll("dd").forEach((node, i) => write(node, String([bytes, ...nfe, rate, seconds.toFixed(2)][i])));
      const news = [step - 2, step - 1].filter(i => i >= 0 && (i >= before || i === step - 1)).map(i => sentence(this.events, i));
      write(this.said, `step ${step}: ${news.join("; ") || sentence([])}`);
      this.drawCells(this.events[step - 1]);
      this.drawGhosts();
    }

    drawCells(event) {
      const { cells } = this.canvas, now = new Set(touched(event)), finished = event?.type === "Finished";
      this.spans = spans(cells.map(cell => cell.id), finished);
      cells.forEach((cell, i) => this.drawCell(i, cell, now.has(i + 1)));
      this.spans.forEach(([start, end, kind], j) => {
        const char = this.chars[j] ??= { node: el("span", "char"), over: el("span", "over") }, key = `${start} ${end} ${kind}`;
        const bracket = end - start > 1 || kind === "pending";
        if (bracket) write(char.over, kind === "pending" ? "\u2026" : character(cells.slice(start, end).map(cell => cell.id)));
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
      const byte = this.bytes[i] ??= { node: el("span", "", { role: "img" }) }, key = `${id} ${state} ${opens} ${now}`, { node } = byte;
      if (byte.key === key) return;
      byte.key = key;
      Object.assign(node, { position: i + 1, tabIndex: i + 1 === this.current ? 0 : -1, textContent: glyph(id),
                            ariaLabel: `byte ${i}: ${named(id)}, ${state}${opens ? ", opens a patch" : ""}` });
      node.className = `bltp-cell bltp-${state}${isHex(id) ? " bltp-hex" : ""}${now ? " bltp-now" : ""}${opens != null ? " bltp-rail" : ""}${opens ? " bltp-opens" : ""}`;
    }

    drawGhosts() {
      for (const row of this.rows.splice(this.canvas.ghosts.length)) row.remove();
      for (const { step, position, ids, probs } of this.canvas.ghosts.slice(this.rows.length)) {
        const row = el("div", "ghost", el("span", "round", `round ${this.sums[step].rounds + 1} rejected:`),
                       el("span", "word", ...ids.map(id => small(id, "rejected"))), el("span", "where", `at byte ${position - 1}, drafted with p = ${shown(probs[0])}`));
        row.addEventListener("pointerenter", () => this.inspect("pointerover", this, position));
        row.addEventListener("pointerleave", () => this.inspect("pointerover"));
        this.rows.push(row);
        this.ghosts.prepend(row);
      }
    }

    stop(position) {                                     // a grid is one tab stop, which arrow keys move
      for (const [at, tabIndex] of [[this.current, -1], [position, 0]]) Object.assign(this.bytes[at - 1]?.node ?? {}, { tabIndex });
      this.current = position;
    }

    details(position) {                                  // what is known about one byte at this step
      const { cells, ghosts } = this.canvas, cell = cells[position - 1], past = record => record?.step < this.at;
      if (!cell) return [el("p", "hint", "Point at a byte, or walk to it with Tab and the arrow keys.")];
      const guesses = (this.guesses.get(position) ?? []).filter(past), commit = this.final.get(position);
      const entropy = at => past(this.final.get(at)) ? `${shown(this.final.get(at).entropy)} nats` : DASH;
      const [start, end, kind] = this.spans.find(span => span[1] >= position), n = end - start;
      const checked = guesses.findLast(guess => guess.target != null && guess.guess === cell.id);
      const rejected = ghosts.filter(ghost => ghost.ids[position - ghost.position] != null).slice(-3).map(ghost => [named(ghost.ids[position - ghost.position]),
        guesses.find(guess => guess.step === ghost.step)]).map(([name, guess]) => `${name} (${shown(guess?.draft)} / ${shown(guess?.target)})`);
      const facts = [
        ["byte", kind === "special" ? DASH : `${cell.id - OFFSET}, hex ${hex(cell.id - OFFSET)}`],
        ["character", kind === "whole" ? character(cells.slice(start, end).map(c => c.id)) + (n > 1 ? `, its byte ${position - start} of ${n}` : "") :
          { special: DASH, pending: "not complete yet", broken: "broken UTF-8" }[kind]],
        ["offset", String(position - 1)], ["state", STATES[cell.state]], ["written", `step ${cell.step + 1}`],
        ["fixed", past(commit) ? `step ${commit.step + 1}` : "not yet"], ["probability", shown(cell.prob)],
        ...checked ? [["drafter / model", `${shown(checked.draft)} / ${shown(checked.target)}`]] : [],
        ["entropy before", entropy(position - 1)], ["entropy after", entropy(position)],
        ["opens a patch", cell.opens == null ? "not known yet" : cell.opens ? "yes" : "no"],
        ...rejected.length ? [["rejected here", rejected.join(", ")]] : []];
      const bars = ["drafter", "model"].map(who => [who, guesses.findLast(guess => guess.who === who && guess.candidates?.length)]).filter(pair => pair[1]);
      return [el("div", "title", small(cell.id, cell.state), `byte ${position - 1}`, el("small", "", this.name)), pairs("facts", facts),
              ...bars.map(([who, { step, candidates }]) => el("div", "bars", el("div", "who", `${who}'s candidates, step ${step + 1}`),
                ...candidates.slice(0, 5).map(([id, p]) => el("div", "bar", small(id, id === cell.id ? "chosen" : "other"),
                  el("span", "track", el("i", "", { style: `width: ${100 * Math.min(Math.max(p, 0), 1)}%` })), el("span", "", shown(p))))))];
    }
  }

  function player(element, traces, options = {}) {
    const home = element.getRootNode() instanceof ShadowRoot ? element.getRootNode() : document.head;
    if (!home.querySelector("style[data-bltp]")) home.append(el("style", "", CSS, { "data-bltp": "" }));
    let clock = CLOCKS[options.clock] ? options.clock : "event", ticks = [], longest = 0, length = 0, step = 0, playing = 0;
    const chosen = {};                                   // by "pointerover" and "focusin": the lane and the position
    const choose = (label, choices, value) => el("label", "choose", label, el("select", "", ...choices.map(([key, text]) => new Option(text, key, false, key === value))));
    const button = el("button", "play", "Play", { type: "button" });
    const [back, next] = [["\u2039", "back"], ["\u203a", "forward"]].map(([text, way]) => el("button", "", text, { type: "button", "aria-label": `one step ${way}` }));
    const slider = el("input", "slider", { type: "range", min: 0, step: 1, "aria-label": "step" }), readout = el("output", "readout");
    const clockBox = choose("clock", Object.entries(CLOCKS).map(([key, [text]]) => [key, text]), clock);
    const speedBox = choose("speed", [0.25, 0.5, 1, 2, 4, 8].map(x => [String(x), `${x}\u00d7`]), String(options.speed ?? 1));
    const panel = el("aside", "panel", { "aria-label": "one byte in detail" });
    const lanes = traces.map((trace, i) => new Lane(trace, i, (kind, lane, position) => {
      chosen[kind] = lane && { lane, position };
      if (lane && kind === "focusin") lane.stop(position);
      drawPanel();
    }));
    const legend = [...[...Object.keys(STATES), "rejected"].map(state => [small(state === "masked" ? MASK : OFFSET + 97, state), state]),
                    ...[["opens", "patch edge"], ["bracket", "one character"], ["badly", "broken UTF-8"]].map(([name, text]) => [el("i", `mark ${name}`), text])];
    const root = el("div", "player", { role: "group", "aria-label": "decoding trace player", tabindex: -1 },
                    el("div", "controls", button, back, next, slider, readout, clockBox, speedBox),
                    el("div", "main", el("div", lanes.length > 1 ? "lanes several" : "lanes", ...lanes.map(lane => lane.root)), panel),
                    el("div", "legend", { role: "group", "aria-label": "legend" }, ...legend.map(item => el("span", "item", ...item))));
    element.replaceChildren(root);

    function stepOf(lane, tick) {                        // how many of the lane's events have happened by this tick
      const times = ticks[lane.index], due = clock === "seconds" ? tick / length * longest + 1e-9 : tick;
      let low = 0, high = times.length - 1;
      while (low < high) times[low + high + 1 >> 1] <= due ? low = low + high + 1 >> 1 : high = (low + high + 1 >> 1) - 1;
      return low;
    }
    function setClock(name) {
      const share = length ? step / length : 0;
      clock = name;
      ticks = lanes.map(lane => lane.sums.map(CLOCKS[name][1]));
      longest = Math.max(0, ...ticks.map(times => times.at(-1)));
      slider.max = length = name === "seconds" ? 240 : longest;
      show(Math.round(share * length));
    }
    function drawPanel() {                               // where nobody points: the newest byte of the first lane
      const followed = { lane: lanes[0], position: Math.min(touched(lanes[0]?.events[lanes[0].at - 1]).at(-1) ?? Infinity, lanes[0]?.canvas.cells.length) };
      const { lane, position } = chosen.pointerover ?? chosen.focusin ?? followed;
      for (const node of root.querySelectorAll(".bltp-pointed")) node.classList.remove("bltp-pointed");
      if (chosen.pointerover ?? chosen.focusin) lane.bytes[position - 1]?.node.classList.add("bltp-pointed");
      panel.replaceChildren(...lane?.details(position) ?? []);
    }
    function show(tick) {
      step = Math.min(Math.max(Math.round(tick) || 0, 0), length);
      for (const lane of lanes) lane.show(stepOf(lane, step), step ? stepOf(lane, step - 1) : 0);
      const value = n => clock === "seconds" ? (n / length * longest).toFixed(2) : n;
      write(readout, `${clock === "event" ? "step" : CLOCKS[clock][0].replace(/ \(.*/, "")} ${value(step)} of ${value(length)}`);
      slider.value = step;
      slider.setAttribute("aria-valuetext", readout.textContent);
      drawPanel();
      options.onStep?.(step);
    }
    function pause() { setPlaying(0); }
    function setPlaying(frame) {                         // playing: the number of the frame asked for, 0 while it stands still
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
    const toggle = () => playing ? pause() : play(), go = tick => { pause(); show(tick); };
    for (const [node, kind, act] of [[button, "click", toggle], [back, "click", () => go(step - 1)], [next, "click", () => go(step + 1)], [slider, "input", () => go(slider.value)],
                                     [clockBox, "change", () => setClock(clockBox.lastChild.value)]]) node.addEventListener(kind, act);
    root.addEventListener("keydown", event => {
      const { target, key } = event, lane = lanes.find(({ grid }) => grid.contains(target));
      const side = by => lane ? lane.bytes[lane.current - 1 + by]?.node.focus() : go(step + by);
      if (target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey || key === " " && target.tagName === "BUTTON" ||
          target.matches(".bltp-ghosts") && /Up|Down|Home|End/.test(key)) return;
      const act = { ArrowLeft: () => side(-1), ArrowRight: () => side(1), ArrowDown: () => go(step - 1), ArrowUp: () => go(step + 1),
                    Home: () => go(0), End: () => go(length), Escape: () => root.focus(), " ": toggle }[key];
      if (act) { event.preventDefault(); act(); }
    });
    const moving = (options.autoplay ?? options.step == null) && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    setClock(clock);
    show(options.step ?? (moving ? 0 : length));
    if (moving) new IntersectionObserver((seen, observer) => {   // begins when it comes into view
      if (seen.some(entry => entry.isIntersecting)) { observer.disconnect(); play(); }
    }).observe(root);
    return { show: go, play, pause, get step() { return step; }, get length() { return length; },
             canvas: (tick = step, lane = 0) => fold(traces[lane], stepOf(lanes[lane], tick)) };
  }

  // Okabe-Ito colours, and for each state a second cue that survives greyscale; all else is the text's colour, thinned.
  const CSS = `
.bltp-player { --thin: color-mix(in srgb, currentColor 14%, transparent); --soft: color-mix(in srgb, currentColor 65%, transparent); --kept: #0072b2;
  font: 14px/1.45 system-ui, sans-serif; text-align: left; outline: none; container-type: inline-size; }
.bltp-player *, .bltp-player *::before, .bltp-player *::after { box-sizing: border-box; }
.bltp-player :where(dl, dd, dt, p) { margin: 0; padding: 0; } .bltp-player :focus-visible { outline: 2px solid var(--kept); outline-offset: 2px; }
.bltp-player.bltp-player :is(button, select) { font: inherit; line-height: 1; color: inherit; background-color: transparent; border: 1px solid var(--soft); border-radius: 6px; height: 30px; padding: 0 8px; }
.bltp-player button { cursor: pointer; min-width: 30px; } .bltp-player.bltp-player button:hover { background: var(--thin); } .bltp-player.bltp-player .bltp-play { min-width: 66px; font-weight: 600; }
.bltp-player .bltp-slider { flex: 1 1 150px; min-width: 120px; margin: 0; padding: 0; accent-color: var(--kept); } .bltp-player option { color: CanvasText; background: Canvas; }
.bltp-controls, .bltp-legend, .bltp-head { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 12px; } .bltp-controls { padding-bottom: 12px; border-bottom: 1px solid var(--thin); }
.bltp-readout { min-width: 10.5em; font-variant-numeric: tabular-nums; } .bltp-choose { display: inline-flex; align-items: center; gap: 6px; } .bltp-choose select { max-width: 15em; }
.bltp-main { display: flex; flex-wrap: wrap; gap: 18px 28px; padding: 16px 0; } .bltp-lanes { flex: 999 1 320px; min-width: 0; display: grid; gap: 26px; align-content: start; }
.bltp-several { grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); gap: 38px 34px; } .bltp-lane { min-width: 0; }
.bltp-head { gap: 2px 14px; align-items: baseline; } .bltp-player :is(.bltp-head span, .bltp-stats dt, .bltp-where, .bltp-hint, .bltp-who, .bltp-facts dt, .bltp-title small) { color: var(--soft); } .bltp-head b { font-size: 18px; } .bltp-model { margin-left: auto; }
.bltp-stats { display: flex; flex-wrap: wrap; gap: 6px 20px; padding: 10px 0 12px; } .bltp-stats dt { font-size: 12px; } .bltp-word { display: inline-flex; flex-wrap: wrap; }
.bltp-stats dd { font-size: 17px; font-variant-numeric: tabular-nums; min-width: 2.6em; } .bltp-player .bltp-said { min-height: 1.45em; padding-left: 10px; border-left: 3px solid var(--kept); }
.bltp-grid { display: flex; flex-wrap: wrap; row-gap: 13px; padding: 8px 0 18px 2px; } .bltp-char { position: relative; display: inline-flex; padding-top: 20px; }
.bltp-over { position: absolute; top: -3px; left: 3px; right: 3px; height: 20px; text-align: center; font-size: 14px; line-height: 15px; white-space: nowrap; unicode-bidi: isolate; }
.bltp-over::after, .bltp-bracket::after { content: ""; position: absolute; inset: auto 0 0 0; height: 4px; border: 1.5px solid currentColor; border-bottom: 0; border-radius: 3px 3px 0 0; }
.bltp-pending .bltp-over::after { border-style: dashed; border-right: 0; } .bltp-broken .bltp-cell { outline: 2px dashed #d55e00; outline-offset: 2px; }
.bltp-cell { --c: currentColor; --b: 1px; --low: var(--b); position: relative; display: inline-flex; align-items: center; justify-content: center; flex: none; width: 25px; height: 31px;
  margin: 0 2px; border: var(--b) solid transparent; border-bottom-width: var(--low); border-radius: 4px; background-color: color-mix(in srgb, var(--c) var(--fill, 15%), transparent);
  font: 17px/1 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; } .bltp-hex { font-size: 11px; letter-spacing: -0.3px; }
.bltp-player .bltp-prompt { --fill: 0%; color: var(--soft); } .bltp-proposed { --c: #e69f00; border-style: dashed; border-color: var(--c); font-style: italic; }
.bltp-masked { border: var(--b) dotted var(--soft); --fill: 4%; background-image: repeating-linear-gradient(135deg, var(--thin) 0 2px, transparent 2px 6px); }
.bltp-accepted { --c: #009e73; --low: 4px; border-color: var(--c); } .bltp-bonus { --c: #cc79a7; --b: 4px; border-style: double; border-color: var(--c); }
.bltp-replaced { --c: #d55e00; --b: 2px; border-color: var(--c); font-weight: 700; background-image: linear-gradient(225deg, var(--c) 6px, transparent 6.5px); }
.bltp-kept { --c: var(--kept); --low: 2px; border-bottom-color: var(--c); border-radius: 4px 4px 0 0; }
.bltp-player .bltp-rejected { --fill: 0%; border-color: var(--thin); color: var(--soft); text-decoration: line-through 1.5px #d55e00; }
.bltp-grid .bltp-now { --fill: 42%; } .bltp-grid .bltp-prompt.bltp-now { --fill: 0%; } .bltp-grid .bltp-pointed { box-shadow: 0 0 0 2px currentColor; z-index: 1; }
.bltp-rail::after { content: ""; position: absolute; bottom: calc(-6px - var(--low)); left: calc(-3px - var(--b)); right: calc(-2px - var(--b)); height: 2px; background: var(--soft); }
.bltp-rail.bltp-opens::after { left: calc(1px - var(--b)); } .bltp-opens::before { content: ""; position: absolute; left: calc(-3px - var(--b)); width: 2px; top: calc(-4px - var(--b));
  bottom: calc(-6px - var(--low)); background: currentColor; } .bltp-mark { --b: 0px; --low: 0px; position: relative; width: 20px; height: 22px; }
.bltp-mark.bltp-opens { margin-left: 4px; height: 14px; width: 4px; } .bltp-bracket { height: 8px; } .bltp-badly { outline: 2px dashed #d55e00; outline-offset: -3px; }
.bltp-ghosts { overflow-y: auto; border-top: 1px solid var(--thin); } .bltp-ghost { display: flex; flex-wrap: wrap; align-items: center; gap: 2px 8px; min-height: 32px; padding: 2px 8px; }
.bltp-ghost:first-child { background: color-mix(in srgb, #d55e00 9%, transparent); border-left: 3px solid #d55e00; padding-left: 5px; } .bltp-ghost + .bltp-ghost { opacity: 0.75; }
.bltp-ghost .bltp-cell { width: 21px; height: 24px; margin: 0 1px; font-size: 14px; } .bltp-ghost .bltp-hex { font-size: 10px; } .bltp-round { min-width: 9.2em; }
.bltp-panel { flex: 1 0 250px; border-left: 1px solid var(--thin); padding-left: 20px; min-height: 460px; position: sticky; top: 8px; align-self: flex-start; } .bltp-facts > div { display: grid; grid-template-columns: 8.4em 1fr; font-size: 13px; }
.bltp-title { display: flex; align-items: center; gap: 10px; font-weight: 600; padding-bottom: 8px; } .bltp-title small { font-weight: 400; margin-left: auto; }
.bltp-bars { padding-top: 10px; font-size: 12px; } .bltp-bar { display: grid; grid-template-columns: 25px 1fr 3.6em; align-items: center; gap: 8px; font-variant-numeric: tabular-nums; }
.bltp-bar .bltp-cell { height: 21px; font-size: 14px; --fill: 0%; } .bltp-bar .bltp-hex { font-size: 11px; } .bltp-bar .bltp-chosen { border-color: currentColor; font-weight: 700; }
.bltp-track { height: 8px; background: var(--thin); border-radius: 4px; overflow: hidden; } .bltp-track i { display: block; height: 100%; background: var(--kept); }
.bltp-legend { gap: 8px 16px; padding-top: 12px; border-top: 1px solid var(--thin); font-size: 13px; } .bltp-item { display: inline-flex; align-items: center; gap: 5px; }
@container (max-width: 640px) { .bltp-panel { border-left: 0; padding-left: 0; border-top: 1px solid var(--thin); padding-top: 14px; } .bltp-stats { gap: 4px 16px; } .bltp-model { margin-left: 0; } }
@media (prefers-color-scheme: dark) { .bltp-player { --kept: #56b4e9; } } .dark .bltp-player { --kept: #56b4e9; }`;

  return Object.assign(player, { fold, spans, totals, sentence });
})();
if (typeof module !== "undefined") module.exports = bltlabPlayer;
