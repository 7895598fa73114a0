/* bltlabParts: controls that the smaller viewers share, and their look. */
var bltlabParts = (() => {
  const { el } = bltlabBase;
  const radio = (text, act) => {
    const node = el("button", "radio", text, { type: "button", role: "radio" });
    node.addEventListener("click", act);
    return node;
  };
  const check = (node, on) => Object.assign(node, { ariaChecked: String(on), tabIndex: on ? 0 : -1 });
  function walk(event, nodes) {                          // arrow keys choose among radio buttons
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], i = nodes.indexOf(event.target);
    if (!by || i < 0) return;
    event.preventDefault();
    const next = nodes[(i + by + nodes.length) % nodes.length];
    next.focus();
    next.click();
  }
  // A row of radio buttons. choices: [value, text] each; pick(value) is called. Returns {root, choose(value)}.
  function pills(label, choices, pick) {
    const nodes = choices.map(([value, text]) => radio(text, () => pick(value)));
    const root = el("div", "pills", ...nodes, { role: "radiogroup", "aria-label": label });
    root.addEventListener("keydown", event => walk(event, nodes));
    return { root, choose: value => nodes.forEach((node, i) => check(node, choices[i][0] === value)) };
  }
  // A sentence about what is pointed at keeps its height, so that nothing moves under the pointer.
  const CSS = `
.~sheet { display: grid; gap: 14px; grid-template-columns: minmax(0, 1fr); } .~sheet[hidden] { display: none; }
.~sheet .~pills { display: flex; flex-wrap: wrap; gap: 8px; } .~sheet .~pills[hidden] { display: none; }
.~sheet.~sheet .~radio { border-color: var(--thin); max-width: 100%; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; } .~sheet.~sheet .~radio[aria-checked=true] { border-color: currentColor; font-weight: 600;
  box-shadow: inset 0 -3px var(--accent); }
.~sheet :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.~sheet :is(h3, figure) { margin: 0; } .~sheet h3 { margin-top: 8px; font: 600 15px/1.4 system-ui, sans-serif; }
.~sheet h3 small { font-weight: 400; font-size: 13px; margin-left: 12px; }
.~sheet :is(small, figcaption, .~soft) { color: var(--soft); }
.~sheet .~words { height: 2.9em; overflow-y: auto; padding-left: 10px; border-left: 3px solid var(--accent);
  overflow-wrap: anywhere; }
.~sheet :is(.~tools, .~keys) { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 16px; }
.~sheet .~keys { gap: 8px 20px; font-size: 13px; } .~sheet .~keys .~item { gap: 8px; }
@container (max-width: 900px) { .~sheet .~words { height: 4.35em; } }
@container (max-width: 480px) { .~sheet .~words { height: 8.7em; } .~sheet .~keys .~item { align-items: start; } }
`;
  return { radio, check, walk, pills, CSS };
})();
