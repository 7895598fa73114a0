'''A programming task that a tiny model can master: one line of Python for a sentence that says it.

    def f(xs):
        """keep the even ones, then add them up"""
        return sum([x for x in xs if x % 2 == 0])

A sentence chains one to three steps over numbers (`xs`), a text (`s`) or words (`ws`). The same
chain, whatever its numbers and letters, is in one split only, so a held-out function is one that
nobody showed the model; each single step is in train.
'''

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from .packages import Archive, Package
from .phrases import split_of_answer, table
from .recipe import Recipe, Record

LINES = 54_000
LENGTHS = {1: 1, 2: 6, 3: 6}  # weights of the chains of 1, 2 and 3 steps
ARGUMENTS = {"xs": "numbers", "s": "text", "ws": "words"}
LAST = ("number", "truth")  # what no step goes on from
LETTERS = "aeionrst"

# What a step takes and what it makes; then, line by line, its words and its Python. {x}: what came
# before; {n}: a number from 2 to 9; {k}: one from 2 to 5; {a} and {b}: two letters.
STEPS = {
    ("numbers", "numbers"): table("""
        keep the even ones | [x for x in {x} if x % 2 == 0]
        keep the odd ones | [x for x in {x} if x % 2 == 1]
        keep the positive ones | [x for x in {x} if x > 0]
        keep the negative ones | [x for x in {x} if x < 0]
        keep those above {n} | [x for x in {x} if x > {n}]
        keep those below {n} | [x for x in {x} if x < {n}]
        keep the multiples of {n} | [x for x in {x} if x % {n} == 0]
        leave out {n} | [x for x in {x} if x != {n}]
        add {n} to each | [x + {n} for x in {x}]
        subtract {n} from each | [x - {n} for x in {x}]
        multiply each by {n} | [x * {n} for x in {x}]
        divide each by {n}, rounding down | [x // {n} for x in {x}]
        take each modulo {n} | [x % {n} for x in {x}]
        square each | [x * x for x in {x}]
        negate each | [-x for x in {x}]
        take the absolute values | [abs(x) for x in {x}]
        sort them | sorted({x})
        sort them from the largest | sorted({x}, reverse=True)
        reverse the order | {x}[::-1]
        take the first {k} | {x}[:{k}]
        take the last {k} | {x}[-{k}:]
        drop the first {k} | {x}[{k}:]
        drop the last {k} | {x}[:-{k}]
        take every second one | {x}[::2]
        drop repeats | list(dict.fromkeys({x}))"""),
    ("numbers", "number"): table("""
        add them up | sum({x})
        count them | len({x})
        take the largest | max({x}, default=0)
        take the smallest | min({x}, default=0)
        count how often {n} occurs | {x}.count({n})"""),
    ("numbers", "truth"): table("""
        tell whether {n} is there | {n} in {x}
        tell whether all are above {n} | all([x > {n} for x in {x}])
        tell whether any is above {n} | any([x > {n} for x in {x}])"""),
    ("numbers", "text"): table("""
        join them with commas | ",".join([str(x) for x in {x}])"""),
    ("text", "text"): table("""
        strip the spaces around | {x}.strip()
        put it in lower case | {x}.lower()
        put it in upper case | {x}.upper()
        put it in title case | {x}.title()
        swap the case | {x}.swapcase()
        reverse it | {x}[::-1]
        take the first {k} characters | {x}[:{k}]
        take the last {k} characters | {x}[-{k}:]
        drop the first {k} characters | {x}[{k}:]
        drop the last {k} characters | {x}[:-{k}]
        take every second character | {x}[::2]
        replace each '{a}' by '{b}' | {x}.replace("{a}", "{b}")
        remove each '{a}' | {x}.replace("{a}", "")
        put '{a}' in front | ("{a}" + {x})
        put '{a}' behind | ({x} + "{a}")
        write it {k} times | ({x} * {k})
        sort the characters | "".join(sorted({x}))
        keep the letters | "".join([c for c in {x} if c.isalpha()])
        keep the digits | "".join([c for c in {x} if c.isdigit()])"""),
    ("text", "words"): table("""
        split it into words | {x}.split()
        split it at each '{a}' | {x}.split("{a}")"""),
    ("text", "number"): table("""
        count the characters | len({x})
        count each '{a}' | {x}.count("{a}")"""),
    ("text", "truth"): table("""
        tell whether it has '{a}' | "{a}" in {x}
        tell whether it starts with '{a}' | {x}.startswith("{a}")
        tell whether it ends with '{a}' | {x}.endswith("{a}")"""),
    ("words", "words"): table("""
        sort the words | sorted({x})
        sort the words by length | sorted({x}, key=len)
        reverse the order of the words | {x}[::-1]
        take the first {k} words | {x}[:{k}]
        take the last {k} words | {x}[-{k}:]
        drop the first {k} words | {x}[{k}:]
        keep the words longer than {k} | [w for w in {x} if len(w) > {k}]
        keep the words shorter than {n} | [w for w in {x} if len(w) < {n}]
        keep the words with '{a}' | [w for w in {x} if "{a}" in w]
        keep the words without '{a}' | [w for w in {x} if "{a}" not in w]
        put each word in upper case | [w.upper() for w in {x}]
        capitalize each word | [w.capitalize() for w in {x}]
        reverse each word | [w[::-1] for w in {x}]
        take the first letter of each word | [w[:1] for w in {x}]
        drop repeated words | list(dict.fromkeys({x}))"""),
    ("words", "text"): table("""
        join the words with spaces | " ".join({x})
        join the words with hyphens | "-".join({x})
        take the longest word | max({x}, key=len, default="")"""),
    ("words", "numbers"): table("""
        take the length of each word | [len(w) for w in {x}]"""),
    ("words", "number"): table("""
        count the words | len({x})"""),
}


@dataclass(frozen=True)
class Step:
    """One operation: its words, its Python, and the kind of value that it makes."""

    words: str
    code: str
    makes: str


@lru_cache(None)
def steps_from(kind: str) -> list[Step]:
    """The steps that take a kind of value."""
    found = []
    for (takes, makes), lines in STEPS.items():
        if takes == kind:
            found += [Step(words, code, makes) for words, code in lines]
    return found


def chain(rng: random.Random, kind: str, length: int) -> list[Step]:
    """That many steps, each on what the one before made, none twice in a row."""
    steps: list[Step] = []
    while len(steps) < length:
        ends = len(steps) + 1 == length
        possible = [step for step in steps_from(kind) if ends or step.makes not in LAST]
        step = rng.choice([step for step in possible if step not in steps[-1:]])
        steps.append(step)
        kind = step.makes
    return steps


def function(rng: random.Random, argument: str, steps: list[Step]) -> str:
    """The text of a function, its numbers and letters drawn."""
    words, body = [], argument
    for step in steps:
        a, b = rng.sample(LETTERS, 2)
        drawn = dict(n=rng.randrange(2, 10), k=rng.randrange(2, 6), a=a, b=b)
        words.append(step.words.format(**drawn))
        body = step.code.format(x=body, **drawn)
    sentence = ", then ".join(words)
    return f'def f({argument}):\n    """{sentence}"""\n    return {body}\n'


def split_of_chain(argument: str, steps: list[Step]) -> str:
    """ "train" for one step alone, else by the hash of the chain without its numbers."""
    if len(steps) == 1:
        return "train"
    return split_of_answer(" ".join([argument, *(step.words for step in steps)]))


def functions(n: int, seed: int = 0) -> Iterator[Record]:
    """Yield n records, no text twice."""
    rng = random.Random(seed)
    names, lengths = list(ARGUMENTS), list(LENGTHS)
    seen: set[str] = set()
    while len(seen) < n:
        argument = rng.choice(names)
        (length,) = rng.choices(lengths, list(LENGTHS.values()))
        steps = chain(rng, ARGUMENTS[argument], length)
        text = function(rng, argument, steps)
        if text not in seen:
            split = split_of_chain(argument, steps)
            yield {"id": f"functions/{len(seen)}", "split": split, "text": text}
            seen.add(text)


def generated(archives: dict[Package, Archive], seed: int) -> Iterator[Record]:
    """All records; there is nothing to fetch."""
    return functions(LINES, seed)


RECIPE = Recipe(generated, near="counted")
