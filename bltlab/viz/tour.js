/* bltlabTour(element, { pages, traces, pace, stage }, state) turns pages: each shows recorded traces at one step and says what
   to see. traces, pace: by name. stage(node) is where in a node the player stands, the node itself by default.
   A page is { title, text, traces: names, clock, from, step, highlight, lane }; it plays slowly from `from` to `step`, and
   rests there. PageDown and PageUp turn anywhere, the right and left arrows outside the player (there they step).
   Returns { state(), set(state) }: { page, clock, step, speed, pinned, lane }. */
var bltlabTour = (() => {
  const PACE = 2.2, LONGEST = 5;                         // steps a second while a page plays, and seconds in all
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  function el(tag, name, ...parts) {
    const node = Object.assign(document.createElement(tag), { className: name });
    node.append(...parts);
    return node;
  }
  const CSS = `
.tour-head { display: flex; flex-wrap: wrap; align-items: end; justify-content: space-between; gap: 16px 32px;
  padding: 12px 0 20px; font-family: system-ui, sans-serif; }
.tour-words { flex: 1 1 480px; min-height: 7.5em; max-width: 68ch; }
.tour-count { color: color-mix(in srgb, currentColor 70%, transparent); font-size: 13px; }
.tour-words h2 { font-size: 26px; font-weight: 650; line-height: 1.2; margin: 2px 0 8px; }
.tour-text { font-size: 17px; line-height: 1.5; margin: 0; }
.tour-turn { ${bltlabColours} }
.tour-turn, .tour-dots { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
.tour-turn button { min-width: 34px; height: 34px; padding: 0 10px; border: 1px solid #8888; border-radius: 6px; font: inherit;
  color: inherit; background: none; cursor: pointer; }
.tour-dots button { border-color: transparent; color: color-mix(in srgb, currentColor 70%, transparent); }
.tour-dots [aria-current] { color: inherit; font-weight: 700; border-color: currentColor; }
.tour-turn .tour-next:not(:disabled) { background: var(--button-primary-background-fill, var(--blue)); border-color: transparent;
  color: var(--button-primary-text-color, #fff); font-weight: 600; min-width: 92px; }
.tour-turn button:disabled { opacity: 0.4; cursor: default; }
.tour-turn button:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
@media (max-width: 480px) {
  .tour-dots { display: none; } .tour-turn { flex: 1; justify-content: space-between; } .tour-words { min-height: 0; } }
`;
  return function tour(element, { pages, traces, pace, stage: place = node => node }, state = {}) {
    let at = -1, player;
    bltlabBase.style(element, "tour", CSS);
    const stage = el("div", "tour-player"), title = el("h2", ""), text = el("p", "tour-text");
    const count = el("span", "tour-count");
    const button = (label, name, act) => Object.assign(el("button", name, label), { type: "button", onclick: act });
    const back = button("\u2039 Back", "", () => turn(at - 1)), next = button("Next \u203a", "tour-next", () => turn(at + 1));
    const dot = ({ title }, i) => Object.assign(button(String(i + 1), "", () => turn(i)), {
      title, ariaLabel: `page ${i + 1}: ${title}` });
    const dots = el("nav", "tour-dots", ...pages.map(dot));
    dots.ariaLabel = "pages of the tour";
    const words = el("div", "tour-words", count, title, text);
    words.setAttribute("aria-live", "polite");
    element.replaceChildren(el("div", "tour-head", words, el("div", "tour-turn", back, dots, next)), stage);
    const paces = page => page.traces.map(name => pace?.[name]);
    function open(page, { clock = page.clock, step, speed, pinned = page.highlight, lane = page.lane } = {}) {
      const moves = step == null && page.from != null && !still(), rate = Math.max(PACE, (page.step - page.from) / LONGEST);
      player?.pause();
      player = bltlabPlayer(place(stage), page.traces.map(name => traces[name]), {
        clock, speed, lane, pace: paces(page), highlight: moves ? undefined : pinned, step: moves ? page.from : step ?? page.step });
      if (moves) player.play({ to: page.step, rate, done: () => arrive(pinned, lane) });
    }
    function arrive(pinned, lane) {                      // the byte that the page speaks of is pinned, if the reader pinned none
      if (player.state().pinned == null) player.set({ pinned, lane });
    }
    function turn(to, given) {
      if (to === at && !given || !pages[to]) return;
      const page = pages[at = to];
      count.textContent = `${at + 1} of ${pages.length}`;
      [title.textContent, text.textContent] = [page.title, page.text];
      [...dots.children].forEach((dot, i) => { dot.ariaCurrent = i === at ? "page" : null; });
      back.disabled = !at;
      next.disabled = at === pages.length - 1;
      open(page, given);
    }
    document.addEventListener("keydown", event => {
      const by = { PageDown: 1, PageUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key], { target } = event;
      if (!by || event.ctrlKey || event.metaKey || event.altKey || !element.offsetParent) return;
      const theirs = stage.contains(target) || target.closest("input, textarea, select");
      if (event.key.startsWith("Arrow") && theirs) return;
      event.preventDefault();
      turn(at + by);
    });
    const set = ({ page, ...given }) => turn(Math.min(Math.max((page ?? 1) - 1, 0), pages.length - 1) || 0,
      Object.keys(given).length ? given : undefined);
    set(state);
    return { set, state: () => ({ page: at + 1, ...player.state() }) };
  };
})();
