"""The corpus of one-line functions, and the calculator that says what their bodies are worth."""

import re

import pytest

from bltlab import data
from bltlab.corpora import functions
from bltlab.evaluation.expressions import Refused, value_of

VALUES = {
    "xs": [4, -7, 12, 5, 5, 0, 9, 2, -3, 8],
    "s": "  The Rain in Spain, 3 Times ",
    "ws": ["stone", "air", "Tree", "a", "rain", "orange", "air"],
}
PARTS = re.compile(r'def f\((\w+)\):\n    """(.+)"""\n    return (.+)\n')


@pytest.fixture(scope="module")
def records():
    return list(functions.functions(1500))


def chain_of(record):
    """The argument and the steps of a function, without numbers and letters."""
    argument, sentence, _ = PARTS.fullmatch(record["text"]).groups()
    steps = [re.sub(r"\b[2-9]\b|'.'", "_", step) for step in sentence.split(", then ")]
    return argument, *steps


def test_a_held_out_chain_is_never_in_train_and_each_step_is(records):
    train, test = ({chain_of(r) for r in records if r["split"] == s} for s in data.SPLITS)
    assert not train & test
    assert 0.03 < len(test) / len(train | test) < 0.07
    assert {len(chain) for chain in test} == {3, 4}  # an argument and its steps
    known = {step for _, *steps in train for step in steps}
    assert known >= {step for _, *steps in test for step in steps}
    written = [line[0] for lines in functions.STEPS.values() for line in lines]
    assert known == {re.sub(r"'?\{\w\}'?", "_", words) for words in written}


def test_a_function_has_one_text_and_a_seed_makes_it(records):
    assert len({r["text"] for r in records}) == len(records)
    assert records[:50] == list(functions.functions(50))
    assert records[:50] != list(functions.functions(50, seed=1))
    assert max(len(r["text"]) for r in records) < 256  # a window of the shipped models


def test_the_shipped_corpus_is_what_the_recipe_makes(records):
    shipped = list(data.documents("functions", "all"))
    assert len(shipped) == functions.LINES
    assert shipped[:1500] == [r["text"] for r in records]


def test_the_calculator_agrees_with_python_on_what_the_corpus_holds(records):
    for record in records:
        argument, _, body = PARTS.fullmatch(record["text"]).groups()
        names = {argument: VALUES[argument]}
        assert value_of(body, names) == eval(body, names), body


@pytest.mark.parametrize(
    "body",
    [
        "__import__('os').getpid()",
        "().__class__",
        "open('x')",
        "eval('1')",
        "(lambda: 1)()",
        "s.format(s)",
        "'{0.__class__}'.format(s)",
        "'%99999999d' % 1",
        "f'{s}'",
        "s.join",
        "s := 1",
        "[x for x in xs for y in xs]",
        "'a' * 10**9",
        "9**9**9",
        "s.replace('', 'b' * 4000)",
        "'a'.join(['a' * 2000] * 4000)",
        "sum([[1] * 2000] * 2000, [])",
        "str([[[1] * 900] * 900] * 900)",
        "[[x for x in xs * 300] for y in xs * 300]",
        "'a'.center(10**9)",
        "1 / 0",
        "xs[100]",
        "max([])",
        "sorted(['a', 1])",
        "(" * 300 + ")" * 300,
        "-" * 5000 + "1",
        "",
        "\0",
        "\udcff",
    ],
)
def test_what_the_calculator_does_not_know_or_what_grows_is_refused(body):
    with pytest.raises(Refused):
        value_of(body, dict(VALUES))
