/* bltlabPatches(element, surveys, options) shows where patches begin in recorded texts, under a threshold to drag.
   A survey is {name, bytes, entropies (nats, before each byte), threshold, max_patch_length}. Options and state: survey (its
   number), threshold, max_patch_length, patcher "entropy" | "stride" | "space", stride, byte (or null); and onChange(state).
   Returns {update(surveys), state(), set(state)}. A threshold that was moved stays when another text is chosen. */
var bltlabPatches = (() => {
  const { OFFSET, DASH, named, shown, many, el, write, pair, group, button, choose, style } = bltlabBase;
  const { radio, check, walk, pills, CSS: PARTS_CSS } = bltlabParts;
  const { rule, numbers, isWord, read, tint, MOST, Text, Strip, CSS: TEXT_CSS } = bltlabPatchText;
  const PATCHERS = { entropy: "by entropy", stride: "every", space: "after spaces" };
  const LIMITS = [2, 3, 4, 6, 8, 12, 16, 32], STRIDES = [2, 3, 4, 5, 6, 8], BINS = 12;

  // ---- Parts of the page
  function histogram(node, counts) {                     // the last bin holds all that are longer
    const bins = [...counts.slice(0, BINS), ...counts.length > BINS ? [counts.slice(BINS).reduce((a, b) => a + b)] : []];
    const most = Math.max(1, ...bins);
    node.replaceChildren(...bins.map((n, i) => el("span", "bin", el("small", "", n ? String(n) : ""),
      el("i", tint(i + 1), { style: `height: ${Math.round(44 * n / most)}px` }),
      el("small", "", i < BINS ? String(i + 1) : `${BINS + 1}+`))));
    const words = counts.map((n, i) => n && `${n} of ${many(i + 1, "byte")}`).filter(Boolean);
    node.setAttribute("aria-label", `patches by length: ${words.join(", ") || "none"}`);
  }
  function legend() {
    const item = (...parts) => el("span", "item", ...parts), dot = (why, text) => item(el("span", `dot ${why}`), text);
    return el("div", "keys", group("legend"), dot("above", "above the threshold: opens a patch"),
      dot("inside", "below: goes on with it"), dot("other", "opens for another reason: start, full patch, rule"),
      item(el("span", "cell patch rail opens long3", "a"), "opens a patch"),
      item(el("span", "swatches", ...[1, 3, 5, 8].map(n => el("i", `swatch ${tint(n)}`))), "stronger colour: longer patch"));
  }

  class View {
    constructor(element, surveys, options) {
      style(element, "patches", `${PARTS_CSS}.~patches-view { ${TEXT_CSS}${CSS} }`);
      Object.assign(this, { options, chosen: {}, at: { survey: 0, threshold: null, max_patch_length: undefined,
                                                       patcher: "entropy", stride: 4, byte: null } });
      this.names = el("div", "");
      this.value = el("output", "value");
      this.reset = button("");
      this.limit = choose("a patch is full at", [["", "no limit"], ...LIMITS.map(n => [n, many(n, "byte")])]);
      this.stats = el("dl", "tally", ...["patches", "mean length", "longest", "bytes"].map(key => pair([key, ""])));
      this.counts = el("div", "counts", { role: "img" });
      this.said = el("p", "words");
      this.place = el("div", "");
      this.stride = choose("", STRIDES.map(n => [n, many(n, "byte")]));
      this.stride.lastChild.ariaLabel = "stride";
      this.lanes = Object.keys(PATCHERS).map(name => this.lane(name));
      element.replaceChildren(el("div", "view sheet patches-view", group("where patches begin"), this.names,
        el("div", "tools", el("span", "choose", "threshold", this.value), this.reset, this.limit),
        el("div", "sums", this.stats, el("figure", "", this.counts, el("figcaption", "", "patches by length in bytes"))),
        this.said, this.place, legend(), el("h3", "", "Three patchers on this text",
          el("small", "", "choose one to see it above; shaded codes are a character that a patch cuts")),
        el("div", "", { role: "radiogroup", "aria-label": "patcher shown above" }, ...this.lanes.map(lane => lane.root))));
      this.reset.addEventListener("click", () => this.set({ threshold: this.survey.threshold }));
      this.limit.addEventListener("change", ({ target }) => this.set({ max_patch_length: Number(target.value) || null }));
      this.stride.addEventListener("change", ({ target }) => this.set({ stride: Number(target.value) }));
      this.update(surveys, options);
    }
    lane(name) {
      const node = radio(PATCHERS[name], () => this.set({ patcher: name }));
      const sums = el("span", "soft"), place = el("div", "place");
      node.addEventListener("keydown", event => walk(event, this.lanes.map(lane => lane.node)));
      return { name, node, sums, place,
               root: el("div", "patcher", el("span", "choose", node, name === "stride" ? this.stride : ""), sums, place) };
    }
    get survey() { return this.surveys[this.at.survey]; }
    update(surveys, state = {}) {
      Object.assign(this, { surveys, text: null });
      this.texts = pills("text", surveys.map(({ name }, i) => [i, name]), survey => this.set({ survey }));
      this.names.hidden = surveys.length < 2;
      this.names.replaceChildren(this.texts.root);
      this.set(state);
    }
    set(state) {
      const { at } = this;
      for (const key in at) if (state[key] !== undefined) at[key] = state[key];
      at.survey = Math.min(Math.max(Number(at.survey) || 0, 0), this.surveys.length - 1);
      if (!PATCHERS[at.patcher]) at.patcher = "entropy";
      const { survey } = this;
      at.threshold = Math.min(Math.max(at.threshold ?? survey.threshold, 0), MOST);
      if (at.max_patch_length === undefined) at.max_patch_length = survey.max_patch_length ?? null;
      if (this.text?.survey !== survey) this.build(survey);
      this.draw(survey);
      this.options.onChange?.(this.state());
    }
    soon(state) {                                        // at most once a frame
      this.waiting ??= requestAnimationFrame(() => { this.waiting = null; this.set(this.next); });
      this.next = state;
    }
    build(survey) {
      this.text = new Text(survey, this);
      this.place.replaceChildren(this.text.root);
      this.text.fit();
      for (const lane of this.lanes) lane.place.replaceChildren((lane.strip = new Strip(survey)).root);
    }
    draw(survey) {
      const { at } = this, limit = String(at.max_patch_length ?? ""), select = this.limit.lastChild;
      for (const lane of this.lanes) {
        const opens = rule(survey, { ...at, patcher: lane.name }), { count, mean, longest } = numbers(opens);
        lane.opens = opens;
        write(lane.sums, count ? `${many(count, "patch")}, mean ${mean.toFixed(2)}, longest ${longest}` : DASH);
        check(lane.node, lane.name === at.patcher);
        if (lane.name === at.patcher) this.opens = opens;
      }
      this.stride.lastChild.value = at.stride;
      this.texts.choose(at.survey);
      this.sums = numbers(this.opens);
      const { count, mean, longest, counts } = this.sums, values = [count, count ? mean.toFixed(2) : DASH, longest];
      this.stats.querySelectorAll("dd").forEach((node, i) => write(node, String([...values, survey.bytes.length][i])));
      histogram(this.counts, counts);
      write(this.value, `${at.threshold.toFixed(2)} nats`);
      write(this.reset, `the model\u2019s: ${survey.threshold.toFixed(2)}`);
      this.reset.ariaLabel = `set the threshold to the model's, ${survey.threshold.toFixed(2)} nats`;
      if (![...select.options].some(({ value }) => value === limit)) select.append(new Option(many(limit, "byte"), limit));
      select.value = limit;
      this.text.show(this.opens);
      this.say();
      clearTimeout(this.settling);                       // the small texts follow when the line rests: they cost a layout each
      this.settling = setTimeout(() => this.lanes.forEach(lane => lane.strip.show(lane.opens)), 120);
    }
    point(how, i) {                                      // how: "pointed" or "focused"; i: a byte, or -1 for none
      if (this.chosen[how] === i) return;
      this.chosen[how] = i;
      this.at.byte = [this.chosen.pointed, this.chosen.focused].find(byte => byte >= 0) ?? null;
      this.say();
    }
    say() {
      const { at: { byte }, survey: { bytes } } = this, { count, mean } = this.sums;
      this.text.mark(byte);
      write(this.said, byte !== null && byte in bytes ? this.sentence(byte) : !count ? "There is no byte to cut." : many(
        bytes.length, "byte") + ` in ${many(count, "patch")}` +
        `: the global transformer runs once every ${mean.toFixed(2)} bytes.`);
    }
    sentence(i) {                                        // a byte, its entropy, its patch, and why it opens one or not
      const { at, survey: { bytes, entropies }, sums: { starts, lengths } } = this;
      const high = entropies[i] > at.threshold;
      const patch = starts.findLastIndex(start => start <= i), start = starts[patch], before = lengths[patch - 1];
      const why = i === 0 ? "the first byte always opens a patch" : at.patcher === "entropy" && high ? "above the threshold" :
        at.patcher === "space" && !isWord(bytes[i - 1]) ? "after a byte that is no letter or digit" : start === i ?
        `the patch before it is full with ${many(before, "byte")}` : at.patcher === "entropy" ? "not above the threshold" : "";
      return `byte ${i}, ${named(bytes[i] + OFFSET)}: ${shown(entropies[i])} nats before it${why && `, ${why}`}. It ` +
        `${start === i ? "opens" : "belongs to"} patch ${patch + 1}, ` +
        `\u201c${read(bytes.slice(start, start + lengths[patch]))}\u201d, ${many(lengths[patch], "byte")}.`;
    }
    state() { return { ...this.at }; }
  }

  const CSS = `
.~sums, .~tally { display: flex; flex-wrap: wrap; gap: 8px 40px; align-items: flex-end; }
.~value { min-width: 5em; font-weight: 600; font-size: 17px; } .~sums figcaption { font-size: 12px; }
.~tally { gap: 6px 24px; & dt { font-size: 12px; color: var(--soft); } & dd { font-size: 20px; min-width: 2.6em; } }
.~counts { display: flex; align-items: flex-end; gap: 3px; height: 78px; } .~bin { display: grid; justify-items: center;
  width: 22px; & small { font-size: 11px; line-height: 16px; min-height: 16px; color: var(--soft); }
  & i { width: 18px; border-radius: 2px 2px 0 0; border-bottom: 1px solid var(--soft); } }
.~swatches { display: inline-flex; }
.~dot { flex: none; width: 10px; height: 10px; border-radius: 50%; background: var(--red); }
.~dot.~inside { width: 5px; height: 5px; background: var(--accent); }
.~dot.~other { width: 9px; height: 9px; background: none; border: 1.5px solid currentColor; }
.~swatch { width: 14px; height: 14px; }
.~patcher { display: grid; grid-template-columns: 220px 250px minmax(0, 1fr); gap: 6px 16px; align-items: center;
  padding: 10px 0; border-top: var(--line); }
@container (max-width: 900px) { .~patcher { grid-template-columns: auto minmax(0, 1fr); } .~place { grid-column: 1 / -1; } }
@container (max-width: 480px) { .~patcher { grid-template-columns: minmax(0, 1fr); } .~tally { gap: 6px 14px; }
  .~words { height: 5.8em; } }
`;
  function patches(element, surveys, options = {}) {
    const view = new View(element, surveys, options);
    return { update: surveys => view.update(surveys), state: () => view.state(), set: state => view.set(state) };
  }
  return Object.assign(patches, { rule, numbers });
})();
if (typeof module !== "undefined") module.exports = bltlabPatches;
