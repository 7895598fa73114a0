/* The page's own JavaScript: it puts the viewers of bltlab.viz into Gradio's HTML components, and reads from them what a link
   and a saved file carry. mount(kind, element, props, watch) is called once for each component; its value is plain data, and
   whatever of it is text goes into text nodes. */
var bltlabPage = (() => {
  const viewers = {}, values = {};                       // by kind: the viewer, and the data it shows
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const { text, stops } = bltlabBase;
  const el = (tag, text = "", attributes) => Object.assign(document.createElement(tag), { textContent: text }, attributes);

  // A viewer lives in a tree of its own: Gradio's rules and those of the other viewers stay out.
  const stages = new Map();
  function stage(host) {
    if (!stages.has(host)) {
      const outer = el("div"), inner = el("div", "", { className: document.body.classList.contains("dark") ? "dark" : "" });
      outer.attachShadow({ mode: "open" }).append(inner);
      host.replaceChildren(outer);
      stages.set(host, inner);
    }
    return stages.get(host);
  }

  // ---- What each kind of component draws: (host, value, the value before) -> nothing
  function empty(host, text) {
    stages.delete(host);
    host.replaceChildren(el("p", text, { className: "empty" }));
  }
  function play(kind, host, { traces, view = {}, live, run, pace }, before) {
    if (!traces?.length) return empty(host, "Nothing has been decoded yet. Write a prompt and press the blue button.");
    const player = viewers[kind], goes = player && before?.run === run && before.traces.length === traces.length;
    const moved = goes && (player.step < player.length || player.state().pinned);     // the reader is looking at something
    if (goes) player.update(traces);
    else viewers[kind] = bltlabPlayer(stage(host), traces, {
      pace, ...kind === "race" ? { clock: "paper" } : {}, ...viewers[kind] ? keep(viewers[kind].state()) : {}, ...view,
      highlight: view.pinned, autoplay: !live && view.step == null, ...kind === "watch" ? { onBranch: take } : {} });
    if (live && !goes) viewers[kind].show(viewers[kind].length);
    document.body.classList.toggle("decoding", Boolean(live));
    if (live && before?.run !== run && host.getBoundingClientRect().top > innerHeight * 0.8)
      host.scrollIntoView({ block: "start" });           // on a phone the player is below
    const ends = traces.at(-1).events.at(-1).reason;
    if (goes && before.live && !live) {
      if (view.step != null) viewers[kind] = bltlabPlayer(stage(host), traces, { pace, ...view, highlight: view.pinned,
        ...kind === "watch" ? { onBranch: take } : {} });
      else if (!moved && ends !== "interrupted" && !still()) viewers[kind].show(0), viewers[kind].play();
    }
  }
  let chosen = null;                                     // the byte that was taken by hand
  function take({ lane, ...choice }) {
    chosen = { ...choice, trace: values.watch.traces[lane], pace: values.watch.pace?.[lane] };
    document.querySelector("button.branch, .branch button").click();
  }
  const keep = ({ clock, speed }) => ({ clock, speed }); // what the next run takes over
  const kinds = {
    watch: (...given) => play("watch", ...given),
    race: (...given) => play("race", ...given),
    patches(host, { surveys, view = {} }, before) {
      if (!surveys?.length) return empty(host, "Type a text above to see where its patches begin.");
      const known = viewers.patches, at = known?.state(), old = before?.surveys, news = mine(surveys) !== mine(old);
      if (!known) viewers.patches = bltlabPatches(stage(host), surveys, view);
      else known.update(surveys);                        // a threshold that was moved stays
      const threshold = at?.threshold === old?.[at?.survey]?.threshold ? surveys[0].threshold : undefined;
      known?.set({ ...news ? { survey: 0, byte: null, threshold } : {}, ...view });
    },
    inside(host, { data, view = {} }) {
      if (!data) return empty(host, "Type a short text above to look inside the model.");
      const known = viewers.inside;
      if (known) known.update(data); else viewers.inside = bltlabInside(stage(host), data, view);
      if (known && Object.keys(view).length) known.set(view);
    },
    tour(host, { pages, traces, pace, view = {} }) {
      if (!pages?.length) return empty(host, "The tour's pages do not ship with this copy.");
      if (viewers.tour) viewers.tour.set(view); else viewers.tour = bltlabTour(host, { pages, traces, pace, stage }, view);
    },
    able(host, said) {                                   // what a model cannot do is greyed, with a reason
      Object.assign(abilities, { reasons: {}, tips: {} }, said);
      grey();
      const lines = Map.groupBy(Object.keys(abilities.reasons), name => abilities.reasons[name].replace(/^method '[^']*' /, ""));
      host.replaceChildren(...[...lines].map(([why, names]) => el("p",
        `Greyed: ${names.map(name => abilities.tips[name]?.split(/[,.]/)[0] ?? name).join(", ")}. Each ${why}.`)),
        ...said.hint ? [el("p", said.hint, { className: "hint" })] : []);
    },
    table(host, { head, rows }) {
      const row = (cells, tag) => {
        const line = el("tr");
        line.append(...cells.map(text => el(tag, String(text))));
        return line;
      };
      const table = el("table");
      table.append(row(head ?? [], "th"), ...(rows ?? []).map(cells => row(cells, "td")));
      host.replaceChildren(table);
    },
    file(host, { name, type, data, at }, before) {       // what the server has made, for this visitor to keep
      if (data && at !== before?.at) download(name, new Blob([Uint8Array.from(atob(data), c => c.charCodeAt(0))], { type }));
    },
    note(host, { text, kind }) {
      const close = el("button", "\u00d7", { type: "button", ariaLabel: "close this note", onclick: () => note.remove() });
      const note = el("p", text, { className: kind ?? "" });
      note.append(close);
      if (text || !host.querySelector(".cut")) host.replaceChildren(...text ? [note] : []);       // a cut is news for longer
      if (kind !== "error") setTimeout(() => note.remove(), 8000);
    },
  };
  const abilities = {};
  function grey() {                                      // the page's controls know nothing of choices that cannot be made
    for (const input of document.querySelectorAll(".methods input, .racers input")) {
      const name = input.type === "radio" ? input.value : input.name, label = input.closest("label");
      const why = abilities.reasons?.[name], told = why ?? abilities.tips?.[name] ?? "";
      if (input.disabled !== Boolean(why)) input.disabled = Boolean(why);
      if (label.title !== told) label.title = told;
      label.classList.toggle("cannot", Boolean(why));
    }
  }
  new MutationObserver(() => requestAnimationFrame(grey)).observe(document,
    { childList: true, subtree: true, attributeFilter: ["disabled"] });
  function mount(kind, element, props, watch) {
    const host = element.querySelector(".host");
    if (kind === "note") host.setAttribute("role", "status");
    const draw = () => {
      const before = values[kind];
      if (kind !== "table") values[kind] = props.value ?? {};
      kinds[kind](host, props.value ?? {}, before);
    };
    watch("value", draw);
    draw();
  }

  // ---- What a link says: the tab, what was decoded and how, and where its viewer stands
  const tab = () => document.querySelector('[role="tab"][aria-selected="true"]')?.textContent.trim().toLowerCase() ?? "watch";
  function query(at = tab()) {
    const said = { tab: at }, all = values[at] ?? {};
    const shown = at === "watch" ? { ...all, traces: all.traces?.slice(-1) } : all, first = shown.traces?.[0];
    if ((at === "watch" || at === "race") && first) {
      const { stop: _, ...settings } = first.settings, [stop] = stops(first.settings);
      const models = shown.traces.map(({ model }) => model.name), one = new Set(models).size === 1;
      Object.assign(said, { model: one ? models[0] : models.join(), prompt: text(first.prompt.slice(1).map(id => id - 4)) },
        { method: shown.traces.map(({ method }) => method.name).join() }, settings, stop ? { stop } : {});
      for (const { method: { name, ...options } } of shown.traces)
        for (const key in options)                       // where lanes of one method differ, each model has its own
          if (shown.traces.every(({ method }) => method.name !== name || method[key] === options[key]))
            said[`${name}.${key}`] = options[key];
    }
    if (at === "patches" || at === "inside") said.model = document.querySelector(".tools .model input")?.value ?? "";
    if (at === "patches") said.prompt = mine(shown.surveys) ?? "";
    if (at === "inside" && shown.typed) said.prompt = text(shown.data.ids.slice(1).map(id => id - 4));
    for (const [key, value] of Object.entries(viewers[at]?.state?.() ?? {}))
      if (value != null && value !== { speed: 1, lane: 0 }[key])
        said[`view.${key}`] = typeof value === "object" ? JSON.stringify(value) : value;
    return new URLSearchParams(Object.entries(said)).toString();
  }
  const mine = surveys => surveys?.filter(({ typed }) => typed).map(({ bytes }) => text(bytes))[0];
  const note = (text, kind) => ({ text, kind, at: Date.now() });
  async function copyLink() {
    const link = `${location.href.split("#")[0]}#${query()}`;
    history.replaceState(null, "", link);
    try {
      await navigator.clipboard.writeText(link);
      return note("Link copied. It opens this view: the same prompt, decoder, options and step.");
    } catch {                                            // a page that is not on this machine may not write there
      return note("The link is in the address bar: it opens this view.");
    }
  }
  function download(name, blob) {
    const file = URL.createObjectURL(blob);
    el("a", "", { href: file, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(file), 1000);
  }
  function seen() {                                      // what a picture of this tab shows
    const at = tab(), { traces, pages } = values[at] ?? {}, { page, clock, step } = viewers[at]?.state?.() ?? {};
    return { traces: pages ? pages[page - 1].traces.map(name => traces[name]) : traces ?? [], clock, step };
  }
  function save() {
    const at = tab(), link = query(at), traces = at === "watch" || at === "race" ? values[at].traces : [];
    const several = traces.length !== 1, data = several ? { schema: "bltlab.view/1", link, traces } : { ...traces[0], link };
    const name = several ? at : traces[0].method.name.replace(/[^\w.-]/g, "_");
    download(`${name}.json`, new Blob([JSON.stringify(data)], { type: "application/json" }));
    return note(several ? "Saved this view: drop the file on this page to open it again." :
      "Saved this trace: drop the file on this page, or give it to bltlab.Trace.load.");
  }

  // ---- Files dropped anywhere, and links pasted into the address bar
  const files = event => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", event => { if (files(event)) event.preventDefault(); });
  addEventListener("drop", event => {
    const input = document.querySelector(".tools input[type=file]");
    if (!files(event) || !input) return;
    event.preventDefault();
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  addEventListener("hashchange", () => location.reload());
  // A box cuts what is pasted beyond its limit without a word, so the page says it.
  addEventListener("paste", ({ target, clipboardData }) => {
    const { value = "", maxLength: most, selectionStart: from, selectionEnd: to } = target;
    const n = value.length - (to - from) + (clipboardData?.getData("text").length ?? 0);
    const said = `Cut: at most ${most?.toLocaleString("en")} characters fit here, and that would be ${n.toLocaleString("en")}.`;
    if (most > 0 && n > most) kinds.note(document.querySelector(".view.note .host"), note(said, "cut"));
  });
  return { mount, stage, copyLink, save, seen, choice: () => chosen, query, viewers, values };
})();
