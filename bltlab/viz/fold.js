/* bltlabFold: a trace's events folded into the text as it stands, its running totals, the clocks that read them, and each
   event in one sentence. No drawing here: the tests run this file without a page. */
var bltlabFold = (() => {
  const { MASK, many, named, odds } = bltlabBase, NFE = [0, 0, 0, 0];
  const REASONS = { eos: "the model ended the text", budget: "the budget is used up", stop: "a stop string is complete" };
  const PHASES = { Prefilled: "read", Drafted: "draft", Unmasked: "denoise", Guessed: "foresee", Foreseen: "check",
    Verified: "verify", Committed: "commit", Finished: "end" };

  // ---- The text: Canvas.apply of canvas.py, case by case
  const blank = () => ({ cells: [], ghosts: [], bonusAt: null });
  function apply(canvas, event, step) {
    const { cells, ghosts } = canvas, first = event.position;
    const at = position => position <= cells.length ? cells.at(position - 1) : undefined;
    // Overwrite, or append at the end; bytes in between that no event told of stand there as masked.
    const put = (position, id, state, prob = null, opens = null) => {
      while (cells.length < position - 1) cells.push({ id: MASK, state: "masked", prob: null, step, opens: null });
      cells.splice(position - 1, 1, { id, state, prob, step, opens });
    };
    // Agreed guesses get a state, the others leave a ghost with another; are there any of those?
    function check({ drafted, accepted, draft_probs: probs }, agreed, state) {
      drafted.slice(0, accepted).forEach((id, i) => {
        if (at(first + i)?.id === id) at(first + i).state = agreed; else put(first + i, id, agreed, probs[i]);
      });
      const ids = drafted.slice(accepted), position = first + accepted;
      cells.splice(position - 1);
      if (ids.length) ghosts.push({ step, position, ids, probs: probs.slice(accepted), state });
      return ids.length > 0;
    }
    if (event.type === "Prefilled") {
      cells.length = 0;
      event.opens.slice(1).forEach((opens, i) => put(i + 1, event.ids[i + 1], "prompt", null, opens));
    } else if (event.type === "Drafted") {
      const known = at(first), state = first === canvas.bonusAt ? "bonus" : "proposed";
      if (known?.state === "foreseen" && known.id === event.id) Object.assign(known, { state: "proposed", prob: event.prob });
      else if (known?.state === "replaced") known.prob ??= event.prob; else put(first, event.id, state, event.prob);
    } else if (event.type === "Unmasked") {
      const revealed = new Set(event.revealed);
      event.block.forEach((id, slot) => {
        if (id === MASK) put(first + slot, id, "masked", event.probs[slot]);
        else if (revealed.has(slot)) put(first + slot, id, "proposed", event.probs[slot]);
      });
    } else if (event.type === "Guessed") {
      event.block.forEach((id, slot) => put(first + slot, id, "foreseen", event.probs[slot]));
    } else if (event.type === "Foreseen") {
      check(event, "foreseen", "dropped");
    } else if (event.type === "Verified") {
      const end = first + event.accepted, rejected = check(event, "accepted", "rejected");
      canvas.bonusAt = rejected ? null : end;
      if (rejected) {
        put(end, event.replacement, "replaced", new Map(event.candidates[event.accepted]).get(event.replacement));
      }
    } else if (event.type === "Committed") {
      const end = first + event.ids.length;
      event.ids.forEach((id, i) => {
        if (at(first + i)?.id !== id) put(first + i, id, first + i === canvas.bonusAt ? "bonus" : "kept");
        const cell = at(first + i) ?? cells.at(-1);
        cell.opens = event.opens[i];
        if (/proposed|foreseen/.test(cell.state)) cell.state = "kept";
      });
      cells.splice(at(end)?.state === "replaced" ? end : end - 1);
    } else if (event.type === "Finished") cells.splice(first - 1);
    return canvas;
  }
  const fold = ({ events }, step) => (({ bonusAt, ...rest }) => rest)(events.slice(0, step).reduce(apply, blank()));
  const reach = e => (e.ids ?? e.block ?? e.drafted ?? (e.type === "Drafted" ? [e.id] : [])).length;   // positions it speaks of
  function touched(e) {                                  // the positions that it changes
    if (e?.type === "Unmasked") return e.revealed.map(slot => e.position + slot);
    if (e?.type === "Prefilled") return [e.ids.length - 1];
    const n = { Drafted: 1, Guessed: e?.block?.length, Foreseen: e?.accepted, Committed: e?.ids?.length,
      Verified: e?.accepted + (e?.accepted < e?.drafted?.length) }[e?.type];
    return Array.from({ length: n ?? 0 }, (_, i) => e.position + i);
  }

  // Where a trace's prompt leaves, by its last byte, what another trace wrote: the position, 0 if it does not.
  const prompt = ({ events }) => events[0]?.ids ?? [];
  function branchedAt(old, trace) {
    const own = prompt(trace), at = own.length - 1, committed = old.events.filter(e => e.type === "Committed");
    const text = [...prompt(old), ...committed.flatMap(e => e.ids)], begins = own.slice(0, at).every((id, i) => id === text[i]);
    return at >= prompt(old).length && at < text.length && begins && own[at] !== text[at] ? at : 0;
  }

  // ---- The numbers
  // Running totals after 0, 1, ... events, the prompt's prefill apart; they never fall, so that they can be a clock.
  // accepted of guessed: by the model; agreed of foreseen: by the decoder, before that. sums: those of a shorter trace that
  // this one continues.
  const ZERO = { bytes: 0, rounds: 0, accepted: 0, guessed: 0, agreed: 0, foreseen: 0, nfe: NFE, traffic: 0, seconds: 0 };
  function totals({ events }, sums = [ZERO]) {
    const start = events.findLast(e => e.type === "Prefilled") ?? { nfe: NFE, weight_bytes: 0, cache_bytes: 0, seconds: 0 };
    for (const e of events.slice(sums.length - 1)) {
      const { bytes, rounds, accepted, guessed, agreed, foreseen, nfe, traffic, seconds } = sums.at(-1);
      const done = e.type === "Committed", model = e.type === "Verified" && e, decoder = e.type === "Foreseen" && e;
      const read = e.weight_bytes - start.weight_bytes + e.cache_bytes - start.cache_bytes;
      sums.push({ bytes: bytes + (done && e.ids.length), rounds: rounds + done, accepted: accepted + (model.accepted ?? 0),
                  guessed: guessed + (model.drafted?.length ?? 0), agreed: agreed + (decoder.accepted ?? 0),
                  foreseen: foreseen + (decoder.drafted?.length ?? 0), traffic: Math.max(traffic, read),
                  nfe: nfe.map((n, part) => Math.max(n, e.nfe[part] - start.nfe[part])),
                  seconds: Math.max(seconds, e.seconds - start.seconds) });
    }
    return sums;
  }
  // name: what it counts, its unit in a sentence, and what it reads off the totals after n events. flows: no whole numbers.
  const CLOCKS = {
    event: { label: "events", unit: "events", read: (sum, _, n) => n },
    passes: { label: "decoder + global passes", unit: "passes", read: ({ nfe }) => nfe[3] + nfe[2] },
    patcher: { label: "patcher passes", unit: "patcher passes", read: ({ nfe }) => nfe[0] },
    encoder: { label: "encoder passes", unit: "encoder passes", read: ({ nfe }) => nfe[1] },
    global: { label: "global passes", unit: "global passes", read: ({ nfe }) => nfe[2] },
    decoder: { label: "decoder passes", unit: "decoder passes", read: ({ nfe }) => nfe[3] },
    paper: { label: "GB read, the paper's count", unit: "GB by the paper's count", flows: true,       // eq. 8, 2-byte weights
      read: ({ nfe }, size) => 2 * (nfe[3] * size.decoder + nfe[2] * (size.encoder + size.global_)) / 1e9 },
    measured: { label: "GB read, measured", unit: "GB measured", flows: true, read: ({ traffic }) => traffic / 1e9 },
    seconds: { label: "measured seconds", unit: "seconds", flows: true, read: ({ seconds }) => seconds },
  };
  const count = ({ flows }, value, digits = 3) => !flows || value === 0 ? String(value) :
    value >= 10 ** digits ? String(Math.round(value)) : value.toPrecision(digits);
  // What the same text costs one byte at a time, after 0, 1, ... new bytes: each byte one pass of patcher, encoder and decoder,
  // and one of the global model wherever a byte closes a patch, which shows in the next byte (the first one's is the prompt's)
  // or, at the end, in the last byte's entropy.
  function alone({ events, model }) {
    const sums = [{ nfe: NFE }], committed = events.filter(e => e.type === "Committed");
    for (const opens of committed.flatMap(e => e.opens)) {
      const n = sums.length, closed = sums.at(-1).nfe[2] + (opens && n > 1);
      if (n > 1) sums.at(-1).nfe[2] = closed;
      sums.push({ nfe: [n, n, closed, n] });
    }
    if (committed.at(-1)?.entropies.at(-1) > model.threshold) sums.at(-1).nfe[2]++;
    return sums;
  }

  // What was paid for the bytes that stand, as of the last commit: a draft under way has cost already and has no bytes yet.
  // ar: the lane of autoregression beside it, if it ran; pace: the seconds a byte that it takes, if they are known.
  // rival: what autoregression pays for as many bytes, NaN where that is not known; estimated: it did not run beside.
  // early: the first bytes of a text say little about what a method saves. rough: seconds that were not measured here.
  const FEW = 8;
  function bill({ events, sums, alone, size }, at, clock, ar, pace) {
    const sum = sums[events.findLastIndex((e, i) => i < at && e.type === "Committed") + 1], { bytes } = sum;
    const run = ar?.sums.find(other => other.bytes >= bytes);
    const estimate = clock === CLOCKS.seconds ? pace * bytes : clock.read(alone[bytes], size);
    const rival = !bytes ? NaN : run ? clock.read(run, ar.size) : estimate;
    const early = bytes < FEW && events[at - 1]?.type !== "Finished", rough = !run && clock === CLOCKS.seconds;
    return { bytes, used: clock.read(sum, size), rival, estimated: !run, early, rough };
  }
  function verdict({ used, rival, early, rough }) {      // in words, and whether it is for the better
    const saved = 1 - used / rival, unit = rough ? 10 : 1, percent = Math.round(100 * Math.abs(saved) / unit) * unit;
    if (early || !(rival > 0 && Number.isFinite(saved))) return ["", 0];
    return percent ? [`${rough ? "about " : ""}${percent} % ${saved > 0 ? "saved" : "more"}`, Math.sign(saved)] :
      ["no saving", 0];
  }

  // ---- The words
  // Is a byte the model's own? It opens a round, and drafts follow it.
  const isOwn = (events, i) => events[i].type === "Drafted" && /Prefilled|Committed/.test(events[i - 1]?.type);
  const phase = (events, i) => i < 0 ? "" : isOwn(events, i) ? "next byte" : PHASES[events[i].type];
  function sentence(events, i) {
    const e = events[i], hidden = e?.block?.filter(id => id === MASK).length, n = e?.drafted?.length;
    return {
      Prefilled: () => `read the prompt, ${many(e.ids.length - 1, "byte")}`,
      Drafted: () => `${isOwn(events, i) ? "the model's own next byte is" : "drafted"} ${named(e.id)} (p ${odds(e.prob)})`,
      Unmasked: () => `denoising revealed ${e.revealed.length} of ${many(e.block.length, "byte")}` +
        `${e.revealed.length > 1 ? " at once" : ""}, ${hidden ? `${hidden} still masked` : "the block is full"}`,
      Guessed: () => `a block guesses ${many(e.block.length, "byte")} ahead of the decoder`,
      Foreseen: () => "check: the decoder " + (e.accepted < n ? `agrees with ${e.accepted} of ${many(n, "guess")}, ` +
        `${named(e.drafted[e.accepted])} dropped` : `agrees with ${n === 1 ? "the guess" : `all ${n} guesses`}`),
      Verified: () => "verify: " + (n === 0 ? "nothing was guessed" : n === 1 && e.accepted ? "the guess accepted" :
        e.accepted >= n ? `all ${n} guesses accepted` : `${e.accepted} of ${many(n, "guess")} accepted, ` +
        `${named(e.drafted[e.accepted])} replaced by ${named(e.replacement)}`),
      Committed: () => `committed ${many(e.ids.length, "byte")}`,
      Finished: () => `finished: ${REASONS[e.reason] ?? e.reason}`,
    }[e?.type]?.() ?? "nothing has been read yet";
  }
  // Why no byte is kept yet, and what to expect of the headline.
  function beginning(events, i) {
    const e = events[i], known = { Prefilled: "the prompt has been read", Finished: REASONS[e?.reason] ?? e?.reason }[e?.type];
    return [known ?? (e ? "the first are on their way" : "play, or step forward"),
            e?.type === "Finished" ? "Nothing was written, so nothing was saved." : "What they cost shows once some are kept."];
  }
  // What a lane's bytes cost by one clock, in seconds beside it, and what as many cost one at a time: texts, of which the 1st,
  // 3rd, 5th and 7th stand out; main and time: are the two verdicts for the better? ar, pace: as `bill` takes them.
  function headline(lane, at, clock, ar, pace) {
    const own = lane.name === "ar", twice = clock === CLOCKS.seconds;
    const [paid, timed] = [clock, CLOCKS.seconds].map(rule => bill(lane, at, rule, ar, pace)), { bytes, early } = paid;
    const told = (rule, { rival, rough, estimated }) => own || early || !(rival > 0) ? ` ${rule.unit}` :
      ` ${rule.unit}, one at a time ${count(rule, rival, rough ? 2 : 3)}${estimated ? " (estimated)" : ""}: `;
    const [said, main] = own ? ["", 0] : verdict(paid), [later, time] = own || twice ? ["", 0] : verdict(timed);
    const [why, next] = beginning(lane.events, at - 1);
    const second = early && !own ? " Too early to say what that saves." : twice ? "" :
      ` In ${count(CLOCKS.seconds, timed.used)}${told(CLOCKS.seconds, timed)}`;
    const texts = bytes ? [String(bytes), ` ${many(bytes, "byte").replace(/^\d+ /, "")} in `, count(clock, paid.used),
      told(clock, paid), said, second, later] : ["0", ` bytes kept so far: ${why}.`, "", "", "", ` ${next}`, ""];
    return { texts, main, time };
  }
  // By what a guess is kept: {temperature} of the settings.
  const keeping = ({ temperature }) => "A guess is kept " + (temperature ? "where the check, with the same random number for that " +
    "place, draws the same byte, however likely it was" : "where the check finds the same byte likeliest") + ", up to the first miss.";
  function boast(events, i) {                            // what just happened to several bytes, and the event that did it
    const e = events[i], last = e?.type === "Committed" && events[i - 1]?.drafted?.length ? events[i - 1] : e;
    const right = last?.accepted, wrong = last?.drafted?.length - right;
    const lost = last?.type === "Foreseen" ? "dropped by the decoder" : "thrown away";
    const text = last?.drafted?.length ? `\u2713 ${right} right${wrong ? `, \u2717 ${wrong} ${lost}` : ""}` :
      e?.type === "Guessed" ? `${many(e.block.length, "guess")} ahead` :
      e?.revealed ? e.revealed.length > 1 ? `+${e.revealed.length} at once` : "+1" :
      e?.type === "Committed" && e.ids.length > 1 ? `${e.ids.length} kept` : "";
    return [text, last?.type ?? ""];
  }
  return { blank, apply, fold, reach, touched, branchedAt, totals, alone, bill, verdict, CLOCKS, count, isOwn, phase, sentence,
           beginning, headline, keeping, boast };
})();
