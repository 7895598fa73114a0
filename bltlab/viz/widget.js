// The player inside a Jupyter cell, through anywidget. Python holds traces, clock and step; both sides may set the last two.
export default {
  render({ model, el }) {
    const PAUSE = 100;                                   // ms between two messages while playing
    let shown, late = 0;
    const send = () => { late = 0; model.save_changes(); };
    function told({ clock, step }) {                     // the reader, or the clock of a playing player, moved
      model.set("clock", clock);
      model.set("step", step);
      late ||= setTimeout(send, PAUSE);
    }
    const draw = options => {
      shown = bltlabPlayer(el, model.get("traces"), { clock: model.get("clock"), onState: told, ...options });
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
