// The player inside a Jupyter cell, through anywidget. Python holds traces, clock and step; both sides may set the last two.
function hideCopy(el, name) {                            // the one that needs no kernel, for as long as this player is there
  if (!name) return;
  const rule = document.createElement("style");
  rule.textContent = `.bltlab-${name}, .jp-OutputArea-child:has(.bltlab-${name}) { display: none; }`;
  el.append(rule);
}
export default {
  render({ model, el }) {
    const PAUSE = 100;                                   // ms between two messages while playing
    let shown, news, late = 0;
    function send() {                                    // as it stands now: Python may have set it in the meantime
      late = 0;
      for (const key of ["clock", "step"]) model.set(key, news[key]);
      model.set("heard", model.get("said"));
      model.save_changes();
    }
    function told(state) {                               // the reader, or the clock of a playing player, moved
      news = state;
      late ||= setTimeout(send, PAUSE);
    }
    function wanted(choice) {                            // a byte was taken by hand
      model.set("wanted", { ...choice, when: Date.now() });                        // the same choice twice is news too
      model.save_changes();
    }
    const draw = options => {
      const branching = model.get("branches") ? { onBranch: wanted } : {};
      shown = bltlabPlayer(el, model.get("traces"), { clock: model.get("clock"), onState: told, ...branching, ...options });
      hideCopy(el, model.get("name"));
    };
    const moves = {
      "change:traces": () => shown.update(model.get("traces")),
      "change:step": () => { if (shown.step !== (model.get("step") ?? shown.step)) shown.show(model.get("step")); },
      "change:clock": () => {                            // the same share of the new clock
        const { clock, step, pinned, ...rest } = shown.state(), share = shown.length && step / shown.length;
        if (clock === model.get("clock")) return;
        shown.pause();
        draw({ ...rest, highlight: pinned, step: 0 });
        shown.show(share * shown.length);
      },
    };
    draw(model.get("step") === null ? {} : { step: model.get("step") });
    for (const name in moves) model.on(name, moves[name]);
    return () => {
      shown.pause();
      for (const name in moves) model.off(name, moves[name]);
      if (late) { clearTimeout(late); send(); }
    };
  },
};
