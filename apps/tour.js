/* bltlabTour(element, { pages, traces, pace }, state) turns pages: each shows recorded traces at one step and says what to see.
   A page is { title, text, traces: names, clock, from, step, highlight, lane }; it plays slowly from `from` to `step`, and
   rests there. PageDown and PageUp turn anywhere, the right and left arrows outside the player (there they step).
   Returns { state(), set(state) }: { page, clock, step, speed, pinned, lane }. */
var bltlabTour = (() => {
  const PACE = 450, LONGEST = 5000;                      // milliseconds from step to step while a page plays, and in all
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  function el(tag, name, ...parts) {
    const node = Object.assign(document.createElement(tag), { className: name });
    node.append(...parts);
    return node;
  }
  return function tour(element, { pages, traces, pace }, state = {}) {
    let at = -1, player, timer;
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
    function open(page, { clock = page.clock, step, speed, pinned = page.highlight, lane = page.lane } = {}) {
      clearInterval(timer);
      const moves = step == null && page.from != null && !still();
      player = bltlabPlayer(bltlabPage.stage(stage), page.traces.map(name => traces[name]), {
        clock, speed, lane, pace, highlight: moves ? undefined : pinned, step: moves ? page.from : step ?? page.step });
      if (moves) timer = setInterval(() => {
        if (!stage.isConnected || player.step >= Math.min(page.step, player.length)) return arrive(page, pinned, lane);
        player.show(player.step + 1);
      }, Math.min(PACE, LONGEST / (page.step - page.from)));
    }
    function arrive(page, highlight, lane) {             // and the byte that the page speaks of is pinned
      clearInterval(timer);
      if (stage.isConnected) player = bltlabPlayer(bltlabPage.stage(stage), page.traces.map(name => traces[name]), {
        ...player.state(), lane, pace, highlight, step: page.step });
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
    stage.addEventListener("pointerdown", () => clearInterval(timer), true);       // the reader takes over
    stage.addEventListener("keydown", () => clearInterval(timer), true);
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
