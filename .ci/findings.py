"""The report that ships: what is asked of which model, and the tables of its page of findings.

    python .ci/record.py report                all of it, into assets/report; goes on where it was
    python .ci/record.py report --limit 5      a trial, into runs/report-5
    torchrun --nproc-per-node 2 .ci/record.py report

Rows gather in runs/report/rows.jsonl, whatever is killed. Which models ship decides what is asked.
"""

import json
import lzma
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from bltlab import BLT, checkpoints, files
from bltlab.decoding import why_not
from bltlab.evaluation.harness import Settings, evaluate, told_row
from bltlab.evaluation.rows import RowFile, read_rows
from bltlab.evaluation.summary import Row
from bltlab.report.paper import paper_rows
from bltlab.report.tables import as_markdown, score_text
from bltlab.report.write import as_page, by_task
from bltlab.training.distributed import process_group

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "assets" / "report"
S = [f"blt-s,draft_length={k}" for k in (4, 8, 16)]
D = [f"blt-d,unmasking={rule}" for rule in ("confidence:0.5", "confidence:0.7")]
D += [f"blt-d,unmasking={rule}" for rule in ("entropy:0.8", "entropy:1.0")]
DV = [f"blt-dv,unmasking={rule}" for rule in ("confidence:0.3", "entropy:1.5", "entropy:2.0")]
CAREFUL = "blt-d,unmasking=confidence:0.9"
METHODS = ["ar", *S, *D, *DV, "blt-dv", CAREFUL, "blt-f", "blt-fv"]  # the paper's, then ours
SAMPLED = ["ar", D[1], CAREFUL, "blt-f", "blt-fv"]
FAMILIES = {  # a word in a model's name: what it is asked, of how many items, by which methods
    "phrases": [("translation", 500, METHODS), ("endings:phrases", 200, [])],
    "functions": [("code", 300, METHODS), ("endings:functions", 200, [])],
    "nano": [
        ("likelihood", 28, []),
        ("endings", 200, []),
        ("diversity", 16, SAMPLED),
        ("diversity-sweep", 16, []),
    ],
}
PLACE = re.compile(r"(<!-- (\w+) -->\n).*?(?=<!-- /\2 -->)", re.DOTALL)


# -- the rows --------------------------------------------------------------------------------------


def models_of(family: str) -> list[str]:
    """The shipped models of a family, the one without blocks first, then by their blocks."""
    folders = [path.parent for path in checkpoints.assets().glob(f"*{family}*/config.json")]
    return [path.name for path in sorted(folders, key=_block)]


def _block(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config["block_size"] or 0


def measure(limit: int | None, rows: RowFile) -> None:
    """Add the rows that are not there yet."""
    for family, questions in FAMILIES.items():
        for name in models_of(family):
            model = BLT.from_pretrained(name, device="cpu")
            for task, items, methods in questions:
                if task == "diversity-sweep" and not model.config.block_size:
                    continue
                runnable = [spec for spec in methods if why_not(spec, model) is None]
                settings = Settings(limit=min(items, limit or items))
                for row in evaluate([name], [task], runnable, settings, rows):
                    tqdm.write(f"{name} {row['task']} {row['method']}: {told_row(row)}")


def report(limit: int | None = None) -> None:
    """Measure, and write rows, page and tables into assets/report; a trial below runs/."""
    work = ROOT / "runs" / (f"report-{limit}" if limit else "report")
    rows = RowFile(work / "rows.jsonl")
    with process_group() as group:
        measure(limit, rows)
        if group.is_main:
            write(work / "rows.jsonl", work if limit else SHIPPED)


def write(rows_file: Path, folder: Path) -> None:
    """The packed rows, the page, and the page of findings with its tables made again."""
    packed = lzma.compress(rows_file.read_bytes(), preset=9)
    files.write(folder / "rows.jsonl.xz", packed)
    rows = current(read_rows(rows_file))
    files.write(folder / "report.html", as_page(by_task(rows)))
    text = (SHIPPED / "README.md").read_text(encoding="utf-8")
    files.write(folder / "README.md", written(text, rows))
    for path in sorted(folder.glob("*")):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def current(rows: Iterable[Row]) -> list[Row]:
    """The last rows of each model, task, top-p and method: weights may have changed since."""
    found = {}
    for row in rows:
        top_p = row["key"]["top_p"]
        found[row["model"], row["task"], row["key"]["text"], top_p, row["method"]] = row
    return list(found.values())


# -- the tables ------------------------------------------------------------------------------------


def written(text: str, rows: Sequence[Row]) -> str:
    """A document with each table in its place."""
    return PLACE.sub(lambda found: found[1] + TABLES[found[2]](rows) + "\n", text)


def pick(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows with these values."""
    return [r for r in rows if all(r.get(name) == value for name, value in wanted.items())]


def base_of(rows: Sequence[Row], task: str) -> Row | None:
    """Autoregression of the model without blocks."""
    found = pick(rows, task=task, method="ar", block_size=0)
    return found[0] if found else None


def against(row: Row, base: Row) -> Row:
    """Score and costs over those of another row."""
    ratio = lambda name: row["costs"][name] / base["costs"][name]  # noqa: E731
    return {
        "score kept": row["score"] / base["score"] if base["score"] else None,
        "decoder passes": ratio("decoder_per_byte"),
        "global passes": ratio("global_per_byte"),
        "traffic, 1B": ratio("projected_1b_mb_per_byte"),
        "seconds": ratio("seconds_per_byte"),
    }


def paper_of(task: str, shape: str, method: str, block: Any, rule: str = "") -> Row:
    """The same numbers of a row of the paper."""
    own = pick(paper_rows(), task=task, shape=shape)
    (base,) = pick(own, method="ar")
    (row,) = pick(own, method=method, block_or_k=str(block), rule=rule)
    return {
        "score kept": row["score"] / base["score"],
        "decoder passes": row["decoder_nfe"] / base["decoder_nfe"],
        "global passes": row["global_nfe"] / base["global_nfe"],
        "traffic, 1B": row["traffic_gb"] / base["traffic_gb"],
    }


KIN = {"translation": "translation fr-en", "code": "humaneval"}


def self_speculation(rows: Sequence[Row]) -> str:
    """BLT-S at 4, 8 and 16 on every model, over autoregression with the same weights."""
    lines: list[Row] = []
    for task, kin in KIN.items():
        for model in dict.fromkeys(row["model"] for row in pick(rows, task=task)):
            (base,) = pick(rows, task=task, model=model, method="ar")
            for k, spec in zip((4, 8, 16), S, strict=True):
                for row in pick(rows, task=task, model=model, method=spec):
                    named = {"": f"{model}, k = {k}", "same bytes": row["agreement"]}
                    lines.append(named | against(row, base))
        for k in (4, 8, 16):
            lines.append({"": f"paper, {kin}, 1B, k = {k}", **paper_of(kin, "1B", "blt-s", k)})
    return as_markdown(lines)


def blocks(rows: Sequence[Row]) -> str:
    """BLT-D at confidence 0.7 and BLT-DV in one step by block size, over the plain model."""
    lines: list[Row] = []
    for task, kin in KIN.items():
        base = base_of(rows, task)
        for spec, name in ((D[1], "BLT-D"), ("blt-dv", "BLT-DV")):
            for row in pick(rows, task=task, method=spec) if base else []:
                steps = row["costs"]["steps_per_block"]
                named = {"": f"{task}, {name}, block {row['block_size']}", "score": score_text(row)}
                lines.append(named | against(row, base) | {"steps a block": steps})
        for method, rule in (("blt-d", "confidence:0.7"), ("blt-dv", "onestep")):
            for block in (4, 8, 16):
                numbers = paper_of(kin, "1B", method, block, rule)
                lines.append({"": f"paper, {kin}, 1B, {method.upper()}, block {block}", **numbers})
    return as_markdown(lines)


def code_or_translation(rows: Sequence[Row]) -> str:
    """The score that BLT-D keeps of the plain model's, code beside translation, by block size."""
    lines: list[Row] = []
    for name, spec, method, rule in (
        ("BLT-D", D[1], "blt-d", "confidence:0.7"),
        ("BLT-DV", "blt-dv", "blt-dv", "onestep"),
    ):
        for block in (4, 8, 16):
            line: Row = {"": f"{name}, block {block}"}
            for task, kin in KIN.items():
                base = base_of(rows, task)
                ours = pick(rows, task=task, method=spec, block_size=block)
                line[f"{task}, ours"] = against(ours[0], base)["score kept"] if ours else None
                for shape in ("1B", "3B"):
                    kept = paper_of(kin, shape, method, block, rule)["score kept"]
                    line[f"{kin}, {shape}"] = kept
            lines.append(line)
    return as_markdown(lines)


def likelihood(rows: Sequence[Row]) -> str:
    """What reading shows: bits a byte and the true ending among four."""
    lines: list[Row] = []
    for row in pick(rows, method="read"):
        bits = row["figures"].get("true_bits_a_byte")
        lines.append(
            {
                "": row["model"],
                "task": f"{row['task']}, {row['key']['text']}",
                "block": row["block_size"] or "none",
                row["measure"]: score_text(row),
                "bits a byte of the true ending": bits,
            }
        )
    return as_markdown(lines)


def likelihood_paper(rows: Sequence[Row]) -> str:
    """The same of the paper: accuracies at 1B and 3B."""
    lines: list[Row] = []
    for shape in ("1B", "3B"):
        for block in ("", "4", "8", "16"):
            line: Row = {"": f"{shape}, {f'block {block}' if block else 'no blocks'}"}
            for row in pick(paper_rows(), shape=shape, metric="accuracy", block_or_k=block):
                line[row["task"]] = row["score"]
            lines.append(line)
    return as_markdown(lines)


def diversity(rows: Sequence[Row]) -> str:
    """Sampled text over gamma and top-p."""
    lines: list[Row] = []
    for row in [*pick(rows, task="diversity"), *pick(rows, task="diversity-sweep")]:
        figures = row["figures"]
        lines.append(
            {
                "": f"{row['model']}, {row['method']}",
                "top-p": row["key"]["top_p"],
                "decoder a byte": row["costs"]["decoder_per_byte"],
                "different words over words": score_text(row),
                "among known words": figures["ratio_of_known"],
                "known, %": figures["known_percent"],
                "distinct pairs": figures["distinct_2"],
                "self-BLEU": figures["self_bleu"],
                "judged, bits a byte": figures["judge_bits"],
            }
        )
    return as_markdown(lines)


def our_methods(rows: Sequence[Row]) -> str:
    """BLT-F and BLT-FV beside what they would replace, over the plain model."""
    lines: list[Row] = []
    for task in KIN:
        base = base_of(rows, task)
        for spec in (CAREFUL, D[1], "blt-f", "blt-dv", "blt-fv") if base else ():
            for row in pick(rows, task=task, method=spec):
                named = {"": f"{row['model']}, {spec}", "score": score_text(row)}
                lines.append(named | {"same bytes": row["agreement"]} | against(row, base))
    return as_markdown(lines)


def machine(rows: Sequence[Row]) -> str:
    """When and where, and how many items."""
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    last = max(row["when"] for row in rows)
    sizes = dict.fromkeys(f"{row['task']} ({row['key']['text']}): {row['n']}" for row in rows)
    return f"{len(rows)} rows, on {machines}, the last on {last}. Items: {', '.join(sizes)}."


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "machine": machine,
    "self_speculation": self_speculation,
    "blocks": blocks,
    "code_or_translation": code_or_translation,
    "likelihood": likelihood,
    "likelihood_paper": likelihood_paper,
    "diversity": diversity,
    "our_methods": our_methods,
}
