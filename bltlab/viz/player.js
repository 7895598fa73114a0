/* bltlabPlayer(element, traces, options) plays decoding runs: one lane a trace, all lanes on one clock.
   options, all of them optional: clock (a name in CLOCKS of fold.js), step, speed, autoplay; highlight, the position of a byte
   to pin, and its lane; pace, for each trace the seconds a byte that autoregression took there and then; onStep(step);
   onState(state), called when anything of state() has changed; onBranch({ lane, at, byte }), when a candidate is clicked.
   Returns { show(step), play({ to, rate, done }), pause(), update(traces), step, length, canvas(step, lane), state(), set(state) }. A step is
   a tick of the clock: on "event" the number of events shown, on a count that many passes, on GB and seconds a share of 240.
   state() is { clock, step, speed, pinned, lane }; set() takes it, or some of it, and shows that view again, as do options
   (pinned is the highlight there).
   update() draws new traces in place: a decoding under way stays at its end; clock, speed and pinned byte are kept. */
var bltlabPlayer = (() => {
  const { OFFSET, MASK, STATES, el, write, cell, many, group, button, choose, style } = bltlabBase;
  const { fold, touched, branchedAt, sentence, CLOCKS, count } = bltlabFold, { Lane, STATS } = bltlabLane, { Detail } = bltlabDetail;
  const TICKS = 240, BLUR = 80,                          // steps that follow within so many milliseconds are not animated
        SPEEDS = [0.25, 0.5, 1, 2, 4, 8], PLACES = ["1st", "2nd", "3rd"];
  const AWAY = "Point at a byte to see it in numbers. Click one, or press Enter on it, to follow it over time.";
  const BY_HAND = " Its candidates can be taken in its place, by a click.";
  const WAIT = "Pause to see the newest byte in numbers, or click a byte to follow it over time.";

  // A row of the race: what is written, what is guessed beyond it, and the place once it is done.
  function track(name, kind) {
    const solid = el("i", "solid"), guessed = el("i", "unsure"), text = el("span", "far"), label = el("span", "who");
    const root = el("div", `run ${kind}`, label, el("span", "road", { "aria-hidden": "true" }, solid, guessed), text);
    const draw = (written, ahead, goal, told) => {
      const share = n => `${Math.min(100 * n / Math.max(goal, 1), 100).toFixed(2)}%`;
      solid.style.width = share(written);
      guessed.style.width = share(Math.max(Math.min(ahead, goal - written), 0));
      write(text, told);
    };
    label.append(el("bdi", "", name));
    return { root, draw };
  }
  function legend() {
    const prompt = byte => cell(OFFSET + byte, "prompt");
    const items = Object.keys(STATES).map(state => [cell(state === "masked" ? MASK : 101, state), state]);
    const linked = el("span", "word", cell(101, "proposed"), cell(101, "proposed linked"));
    items.push([linked, "linked: appeared in one step"], [el("span", "cell prompt rail opens", "a"), "opens a patch"],
               [el("span", "char whole", el("span", "over", "\u00e9"), prompt(0xC3), prompt(0xA9)), "one character"],
               [el("span", "char broken", prompt(0xFF)), "broken UTF-8"]);
    return el("div", "legend", group("legend"), ...items.map(item => el("span", "item", ...item)));
  }

  function player(element, traces, options = {}) {
    style(element, "player", bltlabLane.CSS + bltlabDetail.CSS + CSS);
    let clock = CLOCKS[options.clock] ? options.clock : "event", longest = 0, length = 0, step = 0, playing = 0;
    let lanes = [], runs = [], active = 0;               // active: the lane of the pinned byte
    let told = "", speaking = 0, shownAt = 0;
    const pointed = { over: null, focus: null };         // the lane and the position
    const start = button("Play"), back = button("\u2039", "one step back"), next = button("\u203a", "one step forward");
    const slider = el("input", "slider", { type: "range", min: 0, step: 1, "aria-label": "step" });
    const readout = el("output", "readout", { "aria-live": "off" });
    const clockBox = choose("clock", Object.entries(CLOCKS).map(([key, { label }]) => [key, label]), clock);
    const speeds = [...new Set([...SPEEDS, Number(options.speed) || 1])].sort((a, b) => a - b);
    const speedBox = choose("speed", speeds.map(x => [x, `${x}\u00d7`]), Number(options.speed) || 1);
    const race = el("div", "race"), shared = el("p", "shared"), board = el("div", ""), table = el("table", "numbers");
    const branch = ({ index: lane }, position, id) => options.onBranch({ lane, at: position - 1, byte: id - OFFSET });
    const detail = new Detail(events => go(eventTick(events)), options.onBranch && branch);
    const spoken = el("p", "spoken", { role: "status" });                          // what a screen reader hears, when at rest
    start.classList.add("bltp-main-button");
    const root = el("div", "view player", group("decoding trace player"), { tabindex: -1 },
      el("div", "controls", start, back, next, slider, readout, el("span", "boxes", clockBox, speedBox)), race,
      el("div", "main", board, detail.root), el("div", "foot", table, legend()), spoken);
    element.replaceChildren(root);

    // ---- Time: ticks of the clock, its own unit, and events of a lane
    const flows = () => CLOCKS[clock].flows;
    const due = tick => flows() ? tick / TICKS * longest * (1 + 1e-9) : tick;      // a tick in the clock's unit
    const tickOf = value => flows() ? longest ? Math.ceil(value / longest * TICKS - 1e-6) : 0 : value;
    const stepOf = (lane, tick) => lane.times.findLastIndex(time => time <= due(tick));       // events by then
    const eventTick = events => tickOf((pinnedLane() ?? lanes[0])?.times[events] ?? 0);
    const pinnedLane = () => lanes[active]?.pinned ? lanes[active] : undefined;
    function retime() {
      for (const lane of lanes) lane.times = lane.sums.map((sum, n) => CLOCKS[clock].read(sum, lane.size, n));
      longest = Math.max(0, ...lanes.map(lane => lane.times.at(-1)));
      slider.max = length = flows() ? longest && TICKS : longest;
    }
    function setClock(name) {                            // the same moment of the lane looked at, on another clock
      const lane = pinnedLane() ?? lanes[0], events = lane?.at ?? 0, ended = step >= length;
      clock = name;
      retime();
      show(ended ? length : tickOf(lane?.times[events] ?? 0));
    }

    // ---- Lanes
    function load(list) {                                // true where every lane goes on with what it shows
      const fits = list.length === lanes.length;
      if (!fits) lanes = list.map((_, i) => new Lane(i, tell));
      const same = lanes.map((lane, i) => lane.load(list[i])).every(Boolean);
      const common = new Map(lanes.length > 1 ? lanes[0].facts.filter(([key, value]) =>
        lanes.every(lane => lane.facts.some(([k, v]) => k === key && v === value))) : []);
      for (const lane of lanes) {
        lane.branch(lane.index && branchedAt(list[0], list[lane.index]));
        lane.introduce(common);
      }
      shared.replaceChildren(...[...common].map(([key, value]) => el("span", "", `${key} `, el("bdi", "", value))));
      const mixed = new Set(lanes.map(({ model }) => model)).size > 1;
      runs = lanes.map(({ name, model, hand }) => track([name, mixed && model, hand].filter(Boolean).join(", "), "lane-run"));
      if (lanes.length === 1 && lanes[0].name !== "ar") runs.push(track("one byte at a time", "rival-run"));
      race.replaceChildren(...lanes.length > 1 ? [shared] : [], ...runs.map(run => run.root));
      race.hidden = !lanes.length;
      if (!fits) board.replaceChildren(...lanes.map(lane => lane.root));
      table.hidden = lanes.length < 2;
      table.replaceChildren(el("thead", "", el("tr", "", el("td", ""), ...lanes.map(lane => el("th", "", { scope: "col" },
        el("bdi", "", lane.name))))), el("tbody", "", ...Object.keys(STATS).map((key, i) =>
          el("tr", "", el("th", "", key, { scope: "row" }), ...lanes.map(lane => lane.values[i][1])))));
      board.className = `bltp-lanes bltp-${lanes.length > 1 ? "several" : "one"}`;
      [traces, active] = [list, Math.min(active, Math.max(lanes.length - 1, 0))];
      retime();
      for (const lane of lanes) lane.measure();
      return same && fits;
    }
    function tell(kind, lane, position) {
      if (kind === "pin") return pin(lane.index, lane.pinned === position ? 0 : position);
      pointed[kind] = lane ? { lane, position } : null;
      if (lane && kind === "focus") lane.stop(position);
      drawDetail();
    }
    function pin(index, position) {
      lanes[active]?.pin(0);
      active = lanes[index] ? index : 0;
      lanes[active]?.pin(Math.max(Math.round(position) || 0, 0));
      drawDetail();
      changed();
    }

    // ---- Drawing
    function drawRace() {
      const rule = CLOCKS[/event|passes/.test(clock) ? "paper" : clock];           // a pass is weighed by what it reads
      const goal = Math.max(...lanes.map(lane => lane.finished ? lane.sums.at(-1).bytes : lane.budget), 0);
      lanes.forEach((lane, i) => {
        const { bytes } = lane.sums[lane.at], done = lane.finished && lane.at === lane.events.length, end = lane.times.at(-1);
        const place = lanes.filter(other => other.finished && other.times.at(-1) < end).length;
        runs[i].draw(bytes, lane.text.length - lane.prompt - bytes, goal, many(bytes, "byte") + (done && lanes.length > 1 ?
          `, ${PLACES[place] ?? `${place + 1}th`} at ${count(CLOCKS[clock], end)}` : ""));
        const ar = lanes.find(other => other !== lane && other.name === "ar" && other.model === lane.model);
        lane.headline(rule, ar, options.pace?.[i]);
      });
      if (runs.length > lanes.length) {
        const [{ alone, sums, at, size }] = lanes, used = rule.read(sums[at], size), pace = options.pace?.[0];
        const timed = rule === CLOCKS.seconds && pace > 0;
        const bytes = timed ? Math.min(Math.floor(used / pace), goal) : alone.findLastIndex(sum => rule.read(sum, size) <= used);
        runs[1].draw(Math.max(bytes, 0), 0, goal, bytes < 0 ? "not run, so not measured" : many(bytes, "byte"));
      }
    }
    function drawDetail() {                              // where nobody points: the pinned byte, or at rest the newest one
      const lane = pinnedLane(), newest = lanes[0] && Math.min(touched(lanes[0].events[lanes[0].at - 1]).at(-1) ?? Infinity,
                                                               lanes[0].text.length);
      const here = pointed.over ?? (lane && { lane, position: lane.pinned }) ?? pointed.focus ??
        (playing || !newest ? {} : { lane: lanes[0], position: newest });
      const node = here.lane?.bytes[here.position - 1]?.node;
      if (node !== pointed.node) pointed.node?.classList.remove("bltp-pointed");
      node?.classList.add("bltp-pointed");
      pointed.node = node;
      detail.show(here.lane, here.position, (playing ? WAIT : AWAY) + (options.onBranch ? BY_HAND : ""));
      detail.follow(lane);
    }
    function show(tick) {
      root.classList.toggle("bltp-brisk", performance.now() - shownAt < BLUR);
      [step, shownAt] = [Math.min(Math.max(Math.round(tick) || 0, 0), length), performance.now()];
      for (const lane of lanes) lane.show(stepOf(lane, step), step ? stepOf(lane, step - 1) : 0);
      const { label } = CLOCKS[clock], value = n => flows() ? count(CLOCKS[clock], n / TICKS * longest) : n;
      write(readout, `${value(step)} of ${value(length)} ${label}`);
      Object.assign(slider, { value: step, ariaValueText: readout.textContent });
      drawRace();
      drawDetail();
      for (const lane of lanes) lane.follow();
      if (!playing) speak();
      options.onStep?.(step);
      changed();
    }
    function speak() {                                   // once the reader has come to rest
      clearTimeout(speaking);
      const said = () => lanes.length === 1 ? sentence(lanes[0].events, lanes[0].at - 1) :
        lanes.map(lane => `${lane.name}: ${many(lane.sums[lane.at].bytes, "byte")}`).join(", ");
      speaking = setTimeout(() => write(spoken, playing ? "" : `${readout.textContent}. ${said()}`), 500);
    }
    const state = () => ({ clock, step, speed: Number(speedBox.lastChild.value), pinned: pinnedLane()?.pinned ?? null,
                           lane: active });
    function changed() {
      if (told === (told = JSON.stringify(state()))) return;
      options.onState?.(state());
    }

    // ---- Moving
    function setPlaying(frame) {                         // the number of the frame asked for, 0 to stand still
      if (!frame) cancelAnimationFrame(playing);
      playing = frame;
      write(start, frame ? "Pause" : step >= length && length ? "Replay" : "Play");
      start.ariaLabel = start.textContent;               // what a screen reader says
      if (!frame) { drawDetail(); speak(); }
    }
    // to: where it pauses, and calls done(); rate: ticks a second at speed 1, by default a whole run in about 20 seconds.
    function play({ to = length, rate = Math.min(Math.max(length / 20, 4), 40), done } = {}) {
      const end = Math.min(to, length);
      if (playing || !end) return;
      for (const lane of lanes) lane.strayed = false;
      if (step >= length) show(0);
      let last = null, owed = 0;                         // ticks due
      setPlaying(requestAnimationFrame(function frame(now) {
        owed += Math.min(now - (last ?? now), 250) / 1000 * rate * speedBox.lastChild.value;
        last = now;
        let due = step;
        for (let wait; due < end && owed >= (wait = dwell(due)); due++) owed -= wait;
        if (due > step) show(due);
        if (playing && step < end && root.isConnected) return playing = requestAnimationFrame(frame);
        pause();
        if (step >= end) done?.();
      }));
    }
    // One lane, event by event: what happens to several bytes at once is looked at for longer.
    function dwell(tick) {
      const e = clock === "event" && lanes.length === 1 ? lanes[0].events[tick - 1] : null;
      return e?.drafted?.length ? 2.5 : (e?.revealed ?? e?.block)?.length > 1 ? 2 : e?.type === "Drafted" ? 0.7 : 1;
    }
    function go(tick) {                                  // somebody chose this step: they want to see it
      setPlaying(0);
      for (const lane of lanes) lane.strayed = false;
      show(tick);
      setPlaying(0);
    }
    function update(list) {
      const ended = step >= length, moment = due(step), same = load([...list]), live = lanes.some(lane => !lane.finished);
      show(ended || live && !same ? length : tickOf(moment));
    }
    function set({ clock: name, step: tick, speed, pinned, lane }) {
      if (CLOCKS[name] && name !== clock) setClock(clockBox.lastChild.value = name);
      if (speeds.includes(speed)) speedBox.lastChild.value = speed;
      if (tick != null) go(tick);
      if (pinned !== undefined) pin(lane ?? active, pinned);
    }
    const pause = () => setPlaying(0), toggle = () => playing ? pause() : play();
    for (const [node, kind, act] of [[start, "click", toggle], [back, "click", () => go(step - 1)],
      [next, "click", () => go(step + 1)], [slider, "input", () => go(slider.value)], [speedBox, "change", changed],
      [clockBox, "change", () => setClock(clockBox.lastChild.value)]]) node.addEventListener(kind, act);
    root.addEventListener("keydown", event => {          // arrows step; on a byte, left and right go to its neighbours
      const { target, key } = event, lane = lanes.find(({ grid }) => grid.contains(target));
      const side = by => lane ? lane.bytes[lane.current - 1 + by]?.node.focus() : go(step + by);
      const theirs = target.matches(".bltp-ghosts") ? /Up|Down|Home|End/ : { SELECT: /./, BUTTON: /^ $|Enter/ }[target.tagName];
      if (event.ctrlKey || event.metaKey || event.altKey || theirs?.test(key)) return;
      const act = { ArrowLeft: () => side(-1), ArrowRight: () => side(1), ArrowDown: () => go(step - 1), " ": toggle,
                    ArrowUp: () => go(step + 1), Home: () => go(0), End: () => go(length),
                    Enter: lane && target.position && (() => tell("pin", lane, target.position)),
                    Escape: () => pinnedLane() ? pin(active, 0) : root.focus() }[key];
      if (act) { event.preventDefault(); act(); }
    });

    load([...traces]);
    active = lanes[options.lane] ? options.lane : 0;
    const moving = (options.autoplay ?? options.step == null) && !matchMedia("(prefers-reduced-motion: reduce)").matches;
    show(options.step ?? (moving ? eventTick(1) : length));
    if (options.highlight) pin(active, options.highlight);
    setPlaying(0);
    if (moving) new IntersectionObserver((seen, observer) => {                     // begins when the bytes come into view
      if (seen.some(entry => entry.isIntersecting)) { observer.disconnect(); play(); }
    }).observe(lanes[0]?.grid ?? root);
    return { show: go, play, pause, update, state, set, get step() { return step; }, get length() { return length; },
             canvas: (tick = step, lane = 0) => fold(traces[lane], stepOf(lanes[lane], tick)) };
  }

  const CSS = `
.~player { display: flex; flex-direction: column; & > * { min-width: 0; } }
.~controls, .~boxes, .~legend, .~main { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 12px; }
.~player.~player .~main-button { min-width: 78px; } .~player .~slider { flex: 1 1 150px; min-width: 120px; }
.~controls { padding-bottom: 12px; border-bottom: var(--line); } .~readout { min-width: 12em; }
.~race { display: grid; grid-template-columns: max-content minmax(60px, 1fr) max-content; gap: 7px 14px; align-items: center;
  padding-top: 14px; &[hidden] { display: none; } } .~run { display: contents; &[hidden] { display: none; } }
.~shared { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 2px 14px; color: var(--soft); }
.~who { font-weight: 600; } .~far { min-width: 9.5em; } .~rival-run :is(.~who, .~far) { font-weight: 400; color: var(--soft); }
.~road { display: flex; height: 16px; border-radius: 4px; overflow: hidden; background: var(--thin); }
.~solid { background: var(--accent); } .~rival-run .~solid { background: var(--soft); }
.~unsure { border: 1px dashed var(--proposed); border-width: 1px 0; background: repeating-linear-gradient(135deg,
  var(--proposed) 0 3px, transparent 3px 6px); }
.~main { gap: 18px 28px; padding: 16px 0; align-items: start; }
.~lanes { flex: 999 1 320px; min-width: 0; display: grid; gap: 30px 34px; align-content: start; }
.~several { --w: 19px; --h: 24px; --type: 14px; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 22px 34px;
  & .~grid { --gap: 16px; --most: 4; } & .~tall { --most: 3; } & .~head b { font-size: 16px; } & .~headline { font-size: 14px; }
  & .~headline b { font-size: 20px; } & .~ghosts { height: 33px; } & :is(.~stats, .~where, .~keeps) { display: none; }
  & .~said { flex-wrap: nowrap; white-space: nowrap; overflow: hidden; & span { overflow: hidden; text-overflow: ellipsis; } } }
.~foot { display: flex; flex-wrap: wrap; gap: 14px 40px; align-items: flex-start; border-top: var(--line); padding-top: 12px; }
.~numbers { display: block; max-width: 100%; overflow-x: auto; border-collapse: collapse; font-size: 13px; & :is(th, td) { padding: 1px 0 1px 18px; text-align: right; }
  & tbody th { font-weight: 400; text-align: left; padding-left: 0; color: var(--soft); } &[hidden] { display: none; } }
.~legend { flex: 1 1 300px; gap: 8px 16px; font-size: 13px; & .~whole { padding-top: 17px; } }
@container (max-width: 860px) { .~several { grid-template-columns: minmax(0, 1fr); } }
@container (max-width: 640px) {
  .~panel { flex-basis: 100%; border-left: 0; padding: 14px 0 0; border-top: var(--line); min-height: 0; position: static; }
  .~controls { gap: 6px 8px; padding-bottom: 8px; } .~slider { flex: 1 1 100px; } .~readout { flex: 1 0 110px; min-width: 0; font-size: 13px; }
  .~boxes .~choose { font-size: 0; & select { font-size: 13px; max-width: 118px; } } .~far { min-width: 0; }
  .~race:has(+ .~main > .~one) { order: 1; } .~race + .~main:has(> .~one) { padding-top: 4px; } .~race ~ .~foot { order: 2; }
  .~main:has(> .~one) { display: flex; flex-direction: column; align-items: stretch; gap: 0; }
  .~one, .~one .~lane { display: contents; }
  .~one + .~panel { flex: none; align-self: stretch; } .~one :is(.~head, .~stats) { order: 1; } }
`;
  return player;
})();
