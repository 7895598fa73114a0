"""One row for each model, task and method: how good the text is, and what it took.

Items are decoded one by one, so that passes are counted and seconds measured as for one reader.
Autoregression comes first, and every row is held against it. Under torchrun each process takes its
share of the items, and the rows are those of one process, but for the last digits of likelihoods:
contexts are read side by side with others then.
"""

import hashlib
import json
import shlex
import time
import warnings
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch.distributed as dist
from tqdm.auto import tqdm

from .. import vocab
from ..checkpoints import resolve
from ..costs import ratio
from ..decoding import METHODS, Generation, fitted, generate, header_of, method_of, why_not
from ..model import BLT
from ..trace import Trace, accepted_share
from ..training.distributed import ProcessGroup, process_group
from .intervals import Estimate, difference, mcnemar
from .machine import machine_name
from .prompts import evenly
from .rows import SCHEMA, RowFile
from .summary import Row, agreement, summarise
from .tasks import Answers, Item, Reading, Task, task_of

READ = "read"  # the method of a row that needed none
TRAFFIC = ("paper", "measured", "projected_1b", "projected_3b")


@dataclass(frozen=True)
class Settings:
    """How items are asked; what is None is the task's own."""

    limit: int | None = None
    split: str | None = None
    max_new_bytes: int | None = None
    temperature: float | None = None
    samples: int | None = None
    top_p: float | None = None
    judge: str | None = None
    seed: int = 0
    allow_code_execution: bool = False

    def filled(self, task: Task) -> "Settings":
        """With the task's own where none were given."""
        left = [f.name for f in fields(self) if getattr(self, f.name) is None]
        own = {name: getattr(task, name) for name in left}
        return replace(self, **own)

    def given_to(self, task: Task) -> Task:
        """A task with these settings for its own. Raises ValueError where it has no splits."""
        if self.split and not task.has_splits:
            raise ValueError(f"task {task.name} has no splits to choose from: leave --split out")
        task = copy(task)
        for f in fields(self):
            if hasattr(task, f.name):
                setattr(task, f.name, getattr(self, f.name))
        return task


@dataclass(frozen=True)
class Question:
    """A task over a corpus, with its items and settings. spec: as it was asked for."""

    spec: str
    task: Task
    text: str
    items: list[Item]
    settings: Settings

    @property
    def key(self) -> Row:
        """What determines its rows, model and method apart."""
        asked = []
        for item in self.items:
            asked += [vocab.to_bytes(item.prompt).hex(), repr(item.reference)]
        key: Row = asdict(self.settings)
        del key["allow_code_execution"]
        return key | dict(task=self.task.name, text=self.text, items=digest(asked))


def digest(value: Any) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def weights_of(model: BLT) -> str:
    """A short hash of a model's shape and weights."""
    found = hashlib.sha256(repr(model.config).encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return found.hexdigest()[:16]


def questions(spec: str, settings: Settings) -> list[Question]:
    """A task by its name, once for each top-p that it asks for where none is given."""
    task, _ = task_of(spec)
    several = settings.filled(task).top_p
    if not isinstance(several, tuple):
        return [question(spec, settings)]
    return [question(spec, replace(settings, top_p=top_p)) for top_p in several]


def question(spec: str, settings: Settings) -> Question:
    """A task by its name, with its items. Raises ValueError where there are none."""
    task, text = task_of(spec)
    settings = settings.filled(task)
    task = settings.given_to(task)
    if task.runs_code and not settings.allow_code_execution:
        raise ValueError(
            f"task {task.name} runs code that a model wrote: say --allow-code-execution"
        )
    items = evenly(task.items(text), settings.limit)
    if not items:
        raise ValueError(f"task {task.name} has no item to ask in {text or 'its data'}")
    return Question(spec, task, text, items, settings)


def evaluate(
    models: Sequence[str],
    tasks: Sequence[str],
    methods: Sequence[str] = (),
    settings: Settings | None = None,
    rows: RowFile | None = None,
) -> Iterator[Row]:
    """Yield a row for each model, task and method; one that `rows` holds already is not made again.

    methods: specs as `method_of` reads them; without any, all that a model can run. One that a
    model cannot run is left out with a warning where there are several models.

    Raises ValueError for what is wrong before anything runs.
    """
    rows = rows or RowFile()
    for spec in tasks:
        task_of(spec)
    settings = settings or Settings()
    asked_for = [asked for spec in tasks for asked in questions(spec, settings)]
    for spec in methods:
        method_of(spec)
    for name in models:
        resolve(name)
    with process_group() as group:
        group.wait()  # all have read the rows that are there
        for name in models:
            model = BLT.from_pretrained(name, device=group.device)
            weights = weights_of(model)
            for asked in asked_for:
                specs = _specs(model, asked, methods, alone=len(models) == 1)
                key = asked.key | dict(weights=weights)
                yield from _rows_of(model, name, asked, key, specs, rows, group)


def _specs(model: BLT, asked: Question, methods: Sequence[str], alone: bool) -> list[str]:
    """The methods for a model, autoregression first."""
    if isinstance(asked.task, Reading):
        return [READ]
    methods = methods or asked.task.methods
    if not methods:
        methods = [name for name in METHODS if why_not(name, model) is None]
    specs = []
    for spec in dict.fromkeys(["ar", *methods]):
        reason = why_not(spec, model)
        if reason and alone:
            raise ValueError(reason)
        if reason:
            warnings.warn(f"{model.name} is left out of {spec}: {reason}", stacklevel=2)
        else:
            specs.append(spec)
    return specs


def _rows_of(
    model: BLT,
    name: str,
    asked: Question,
    key: Row,
    specs: list[str],
    rows: RowFile,
    group: ProcessGroup,
) -> Iterator[Row]:
    """Yield the rows of a model and a task, one a method.

    key: what determines them, the method apart.
    """
    base: Row | None = None
    asked, skipped = _within(model, asked)
    if not asked.items:
        warnings.warn(f"{model.name} has no row of {asked.spec}: {skipped}", stacklevel=2)
        return
    for spec in specs:
        method = None if spec == READ else fitted(spec, model)
        own_key = key | dict(method=header_of(method) if method else {"name": READ})
        row = rows.get(own_key)
        if row is None:
            row = _named(model, name, asked, spec) | dict(key=own_key)
            row |= _measured(model, asked, method, base, group)
            row |= dict(skipped=skipped) if skipped else {}
            keep = rows.append if group.is_main else rows.hold
            keep(row)
        base = base or row
        yield row


def _within(model: BLT, asked: Question) -> tuple[Question, str]:
    """A question without the items that are too long for a model, and what is said of these."""
    most = max(0, model.config.max_length - 1 - asked.settings.max_new_bytes)
    if isinstance(asked.task, Reading):
        return asked, ""
    items = [item for item in asked.items if len(vocab.to_bytes(item.prompt)) <= most]
    skipped = len(asked.items) - len(items)
    if not skipped:
        return asked, ""
    return replace(asked, items=items), (
        f"{skipped} of {len(asked.items)} items left out, whose prompts are longer than the"
        f" {most:,} bytes that leave room for {asked.settings.max_new_bytes:,} new ones"
    )


def _named(model: BLT, name: str, asked: Question, spec: str) -> Row:
    """What a row is of, where and when it is made, and by which command."""
    return dict(
        schema=SCHEMA,
        model=name,
        task=asked.task.name,
        method=spec,
        command=command_of(name, asked, spec),
        machine=machine_name(model.device),
        when=time.strftime("%Y-%m-%d"),
        measure=asked.task.measure,
        n=len(asked.items),
        paper=list(asked.task.paper),
        block_size=model.config.block_size or 0,
    )


def _measured(
    model: BLT, asked: Question, method: Any, base: Row | None, group: ProcessGroup
) -> Row:
    """The numbers of a row. method: None of a task that is read."""
    if method is None:
        return _read(model, asked, group)
    return _written(model, asked, method, base, group)


def command_of(name: str, asked: Question, spec: str) -> str:
    """The command that makes a row again."""
    words = ["python", "-m", "bltlab", "evaluate", asked.spec, "--model", name]
    words += [] if spec == READ else ["--method", spec]
    standard, kind = Settings(), type(asked.task)
    for f in fields(asked.settings):
        value = getattr(asked.settings, f.name)
        if value not in (getattr(standard, f.name), getattr(kind, f.name, None)):
            flag = "--" + f.name.replace("_", "-")
            words += [flag] if value is True else [flag, f"{value}"]
    return shlex.join(words)


def told_row(row: Row) -> str:
    """A row in a line: its score, its interval, its costs against autoregression."""
    line = f"{row['measure']} {row['score']:.3g} ({row['low']:.3g} to {row['high']:.3g})"
    line += f" ({row['skipped']})" if row.get("skipped") else ""
    costs = row.get("relative") or {}
    if costs.get("projected_1b") is None:
        return line
    traffic, seconds = costs["projected_1b"], costs["seconds"]
    return f"{line}, {traffic:.2f} of the 1B traffic, {seconds:.2f} of the seconds"


# -- what is written -------------------------------------------------------------------------------


def _written(
    model: BLT, asked: Question, method: Any, base: Row | None, group: ProcessGroup
) -> Row:
    """Scores, costs and answers of one method. base: autoregression's row, None for itself."""
    outs = _shared(group, _generations(model, asked, method, group))
    texts = [out.bytes.decode("utf-8", "surrogateescape") for out in outs]
    samples = asked.settings.samples
    scores = []
    for i, text in enumerate(texts):
        scores.append(asked.task.score(asked.items[i // samples], text))
    known = base["answers"] if base else None
    answers = Answers(asked.items, texts, scores, samples, known)
    traces = [out.trace for out in outs]
    costs = _costs(traces)
    return dict(
        **_in_units(asked.task, asked.task.estimate(answers)),
        **_against(answers, costs, base, _scale(asked.task)),
        costs=costs,
        figures=asked.task.figures(answers),
        scores=scores,
        answers=texts,
    )


def _generations(model: BLT, asked: Question, method: Any, group: ProcessGroup) -> list[Generation]:
    """This process's share of the texts: every size-th, from its rank on."""
    s, task = asked.settings, asked.task
    bar = tqdm(
        range(group.rank, len(asked.items) * s.samples, group.size),
        desc=f"{model.name} {task.name} {method.name}",
        leave=False,
        disable=None if group.is_main else True,
    )
    outs = []
    for i in bar:
        out = generate(
            model,
            asked.items[i // s.samples].prompt,
            method,
            max_new_bytes=s.max_new_bytes,
            temperature=s.temperature,
            top_p=s.top_p,
            seed=s.seed + i,
            stop=task.stop,
            record="totals",
        )
        outs.append(out)
    return outs


def _shared(group: ProcessGroup, own: list) -> list:
    """What all processes have, in the order of the items."""
    if group.size == 1:
        return own
    parts: list[list] = [[] for _ in range(group.size)]
    dist.all_gather_object(parts, own)
    found = [None] * sum(map(len, parts))
    for rank, part in enumerate(parts):
        found[rank :: group.size] = part
    return found


def _costs(traces: list[Trace]) -> Row:
    """`summarise` of all texts, seconds, and which guesses of a round were accepted."""
    new_bytes = sum(trace.totals.new_bytes for trace in traces)
    seconds = sum(trace.totals.seconds for trace in traces)
    found = summarise(traces) if new_bytes else {}
    guesses = [pair for trace in traces for pair in trace.guesses]
    return dict(
        **found,
        accepted_by_position=accepted_share(guesses),
        new_bytes=new_bytes,
        seconds=seconds,
        seconds_per_byte=ratio(seconds, new_bytes),
    )


def _in_units(task: Task, found: Estimate) -> Row:
    """The score and its interval, shares in percent."""
    scale = _scale(task)
    return dict(score=scale * found.score, low=scale * found.low, high=scale * found.high)


def _scale(task: Task) -> int:
    return 100 if task.percent else 1


def _against(answers: Answers, costs: Row, base: Row | None, scale: int) -> Row:
    """A row against autoregression's: the same text, the difference of scores, relative costs."""
    if base is None:
        other, base_costs = answers, costs
    else:
        other = replace(answers, texts=base["answers"], scores=base["scores"])
        base_costs = base["costs"]
    ours, theirs = answers.means, other.means
    change = difference(ours, theirs)
    low, high = change.low, change.high
    whole = {*ours, *theirs} <= {0, 1}
    written = [list(map(vocab.to_bytes, one.texts)) for one in (answers, other)]
    same, _ = agreement(*written)
    return dict(
        agreement=same,
        difference=dict(mean=scale * change.score, low=scale * low, high=scale * high),
        p=mcnemar(ours, theirs) if whole else None,
        relative=relative_costs(costs, base_costs),
    )


def relative_costs(costs: Row, base: Row) -> Row:
    """Traffic and seconds a byte, over autoregression's."""
    names = {kind: f"{kind}_mb_per_byte" for kind in TRAFFIC} | {"seconds": "seconds_per_byte"}
    found = {}
    for name, of in names.items():
        ours, theirs = costs.get(of), base.get(of)
        found[name] = None if ours is None else ratio(ours, theirs or 0)
    return found


# -- what is read ----------------------------------------------------------------------------------


def _read(model: BLT, asked: Question, group: ProcessGroup) -> Row:
    """Scores of a task that is read, and its other numbers."""
    task: Any = asked.task
    mine = asked.items[group.rank :: group.size]
    began = time.perf_counter()
    bar = tqdm(task.read(model, mine), f"{model.name} {task.name}", len(mine), leave=False)
    read = _shared(group, list(bar))
    seconds = time.perf_counter() - began
    return dict(
        **_in_units(task, task.estimate_of(read)),
        costs=dict(seconds=seconds),
        figures=task.figures_of(asked.items, read),
        scores=[one["score"] for one in read],
    )
