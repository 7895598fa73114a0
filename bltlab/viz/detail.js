/* bltlabDetail: everything that is known about one byte of a lane, and for a pinned one what stood there step by step. */
var bltlabDetail = (() => {
  const { OFFSET, MASK, DASH, STATES, hex, named, shown, character, el, cell: small, pair } = bltlabBase;
  const { blank, apply, isOwn, phase } = bltlabFold;
  const MOST = 5;                                        // candidates shown

  // What was said about a position by the first `at` events, by drafter or model: step, candidates, the guess checked.
  function guesses({ events, touching, at }, position) {
    return (touching[position] ?? []).filter(step => step < at).flatMap(step => {
      const e = events[step], slot = position - e.position, model = e.type === "Verified";
      if (e.type === "Drafted") return { step, model: isOwn(events, step), candidates: e.candidates };
      if (!e.block && !model) return [];
      const both = `${shown(e.draft_probs?.[slot])} / ${shown(e.target_probs?.[slot])}`;
      return { step, model, candidates: e.candidates[slot], guess: e.drafted?.[slot], both };
    });
  }
  function facts(lane, position) {
    const { events, touching, at, canvas: { cells, ghosts } } = lane, cell = cells[position - 1];
    const said = guesses(lane, position);
    const commit = place => (touching[place] ?? []).findLast(step => step < at && events[step].entropies) ?? -1;
    const entropy = (place, e = events[commit(place)]) => e ? `${shown(e.entropies[place - e.position])} nats` : DASH;
    const { start, end, kind } = lane.chars.find(char => char.end >= position), ids = cells.slice(start, end).map(c => c.id);
    const checked = said.findLast(guess => guess.guess === cell.id);
    const by = state => ghosts.filter(ghost => ghost.state === state && position >= ghost.position &&
      position < ghost.position + ghost.ids.length);
    const dropped = by("dropped").slice(-3).map(({ ids, probs, position: from }) =>
      `${named(ids[position - from])} (${shown(probs[position - from])})`);
    const rejected = by("rejected").map(ghost => said.find(guess => guess.step === ghost.step)).slice(-3).map(guess => `${named(guess.guess)} (${guess.both})`);
    const whole = () => el("span", "", el("bdi", "", cell.id === OFFSET + 32 ? "space" : character(ids)),
                           ids.length > 1 ? `, its byte ${position - start} of ${ids.length}` : "");
    return [
      ["byte", kind === "special" ? DASH : `${cell.id - OFFSET}, hex ${hex(cell.id - OFFSET)}`],
      ["character", { special: DASH, pending: "not complete yet", broken: "broken UTF-8" }[kind] ?? whole()],
      ["offset", String(position - 1)], ["state", STATES[cell.state]], ["written", `step ${cell.step + 1}`],
      ["fixed", commit(position) < 0 ? "not yet" : `step ${commit(position) + 1}`], ["probability", shown(cell.prob)],
      ...checked ? [["drafter / model", checked.both]] : [], ["entropy before", entropy(position - 1)],
      ["entropy after", entropy(position)], ["opens a patch", { true: "yes", false: "no" }[cell.opens] ?? "not known yet"],
      ...rejected.length ? [["rejected here", rejected.join(", ")]] : [],
      ...dropped.length ? [["dropped here", dropped.join(", ")]] : []];
  }
  const share = p => `width: ${100 * Math.min(Math.max(Number(p) || 0, 0), 1)}%`;
  // take(id): a candidate is clicked; undefined where nothing can go on from it.
  function bars(lane, position, chosen, take) {
    const said = guesses(lane, position);
    const offer = (id, node) => {                        // a byte that may be taken by hand
      if (!take || id === chosen || id < OFFSET || id >= MASK) return node;
      const taken = el("button", "take", node, { type: "button", "aria-label": `take ${named(id)} here and go on from it` });
      taken.title = taken.ariaLabel;
      taken.addEventListener("click", () => take(id));
      return taken;
    };
    const heads = ["drafter", "model"].map((who, model) => {
      const { step, candidates } = said.findLast(guess => guess.model == model && guess.candidates?.length) ?? {};
      const bar = ([id, p]) => el("div", "bar", offer(id, small(id, id === chosen ? "chosen" : "other")),
                                  el("span", "track", el("i", "", { style: share(p) })), el("span", "", shown(p)));
      if (!candidates) return "";
      return el("div", "bars", `${who}'s candidates, step ${step + 1}`, ...candidates.slice(0, MOST).map(bar));
    });
    const invites = take && heads.some(Boolean);
    return [invites ? el("p", "bars invite", "Want another byte here? Click one: decoding goes on from it.") : "",
            ...heads];
  }
  // Each step of the whole run that touched a position: what stood there after it, and what else was possible.
  function history({ events, touching }, position, go) {
    const steps = new Set(touching[position]), canvas = blank(), rows = [];
    events.forEach((e, step) => {
      apply(canvas, e, step);
      if (!steps.has(step)) return;
      const slot = position - e.position, cell = canvas.cells[position - 1], guess = e.drafted?.[slot];
      const stood = e.drafted && slot >= e.accepted ? [small(guess, e.type === "Verified" ? "rejected" : "dropped")] : [];
      if (cell) stood.push(small(cell.id, cell.state));
      const candidates = (e.type === "Drafted" ? e.candidates : e.candidates?.[slot]) ?? [];
      const button = el("button", "", `step ${step + 1}`, { type: "button" });
      button.addEventListener("click", () => go(step + 1));
      rows.push({ step, node: el("li", "past", button, el("span", "did", phase(events, step)), el("span", "word", ...stood),
        el("span", "word candidates", ...candidates.slice(0, MOST).map(([id, p]) =>
          el("span", "candidate", small(id, "other"), el("small", "", shown(p).replace("< 0.01", "0.00")),     // five fit
             el("i", "", { style: share(p) }))))) });
    });
    return rows;
  }

  class Detail {
    constructor(go, take) {                              // take(lane, position, id), where a byte may be chosen by hand
      Object.assign(this, { go, take, rows: [], root: el("aside", "panel", { "aria-label": "one byte in detail" }),
                            now: el("div", ""), past: el("ol", "history"), title: el("p", "bars") });
      this.root.append(this.now, this.title, this.past);
    }
    show(lane, position, hint) {                         // the upper half: one byte at this step
      const cell = lane?.text[position - 1], char = cell && lane.chars.find(c => c.end >= position);
      const seen = cell && (lane.touching[position] ?? []).filter(step => step < lane.at).length;
      const key = cell ? `${lane.index} ${position} ${seen} ${cell.state} ${cell.opens} ${char.key} ${lane.pinned}` : hint;
      if (key === this.key && lane?.events === this.events) return;
      Object.assign(this, { key, events: lane?.events });
      if (!cell) return this.now.replaceChildren(el("p", "hint", hint));
      const pinned = lane.pinned === position ? ", pinned" : "";
      this.now.replaceChildren(
        el("div", "title", small(cell.id, cell.state), `byte ${position - 1}${pinned}`,
           el("small", "", el("bdi", "", lane.name))),
        el("dl", "facts", ...facts(lane, position).map(pair)), ...bars(lane, position, cell.id, this.take && (id => this.take(lane, position, id))));
    }
    follow(lane) {                                       // the lower half: the pinned byte over time
      const position = lane?.pinned, key = lane && `${lane.index} ${position}`;
      if (this.pinned !== key || this.told !== lane?.events) {
        Object.assign(this, { pinned: key, told: lane?.events });
        this.rows = lane ? history(lane, position, this.go) : [];
        this.past.replaceChildren(...this.rows.map(row => row.node));
        this.title.textContent = lane ? `byte ${position - 1} over time: ${this.rows.length ? "each step that touched it" :
          "nothing touched it yet"}` : "";
      }
      const last = this.rows.findLastIndex(row => row.step < lane.at);
      this.rows.forEach(({ node }, i) => {
        node.className = `bltp-past${i === last ? " bltp-present" : i > last ? " bltp-future" : ""}`;
        node.ariaCurrent = i === last ? "step" : null;
      });
      const { past } = this, node = this.rows[last]?.node;                         // the present row, in its own scroll area
      if (node && last !== this.last)
        past.scrollTop = node.offsetTop - past.offsetTop - (past.clientHeight - node.offsetHeight) / 2;
      this.last = last;
    }
  }

  const CSS = `
.~panel { flex: 1 0 262px; border-left: var(--line); padding-left: 20px; min-height: 440px; position: sticky; top: 8px;
  align-self: flex-start; } .~facts > div { display: grid; grid-template-columns: 8.4em 1fr; font-size: 13px; }
.~bars.~bars { padding-top: 10px; font-size: 12px; }
.~bar { --h: 21px; --type: 14px; display: grid; align-items: center; gap: 8px;
  grid-template-columns: 25px 1fr 3.6em; & .~cell { --fill: 0%; margin: 0; } & .~chosen { border-color: currentColor; font-weight: 700; } }
.~view.~view .~take { height: 23px; min-width: 25px; padding: 0; border: 0; & .~cell { margin: 0; border-color: var(--accent); }
  &:hover .~cell { --fill: 30%; --c: var(--accent); } }
.~view .~bars.~invite { color: inherit; font-size: 13px; }
.~track { height: 8px; background: var(--thin); border-radius: 4px; overflow: hidden; & i { display: block; height: 8px;
  background: var(--accent); } }
.~title { font-weight: 600; padding-bottom: 8px; & small { font-weight: 400; float: right; } & .~cell { margin-right: 10px; } }
.~history { list-style: none; max-height: 330px; overflow-y: auto; scrollbar-width: thin; }
.~past { --w: 19px; --h: 22px; --type: 13px; display: grid; grid-template-columns: 64px 62px 1fr; align-items: center;
  gap: 4px 6px;
  padding: 5px 6px; border-left: 3px solid transparent; font-size: 12px; & .~word { min-height: 24px; } }
.~present { border-left-color: var(--accent); background: color-mix(in srgb, var(--accent) 10%, transparent); }
.~future { opacity: 0.55; } .~view.~view .~past button { height: 24px; padding: 0 4px; font-size: 12px; }
.~past .~candidates { grid-column: 1 / -1; display: grid; grid-template-columns: repeat(5, 1fr); gap: 2px;
  &:empty { display: none; } }
.~candidate { position: relative; padding-bottom: 4px; white-space: nowrap;
  & .~cell { --fill: 0%; margin: 0; width: auto; min-width: 15px; height: 18px; }
  & small { font-size: 11px; } & i { position: absolute; left: 0; bottom: 0; height: 3px; background: var(--accent); } }
`;
  return { Detail, CSS };
})();
