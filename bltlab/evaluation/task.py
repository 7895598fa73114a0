"""What a task of `python -m bltlab evaluate` is.

A new one is a file of this folder that ends with `TASK = Task(...)`, and its name in `TASKS` of
`__init__.py`:

    def report(model, request):
        lengths = [len(text) for text in request.texts()]
        return f"{max(lengths)} characters in the longest text"

    TASK = Task("the longest text", report, writes=False)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from .. import data
from ..model import BLT


@dataclass(frozen=True)
class Request:
    """What a task is asked, as the flags of `evaluate` say it.

    text: a shipped corpus, file, folder or hub id. split: "train", "test" or "all"; without, test,
    or all of a corpus that has no test split, as a single file has none. limit: how many documents,
    pairs or sampled texts; None leaves it to the task. methods: specs as `method_of` reads them;
    none stands for all that the model can run. temperature and seed: of sampled texts.
    """

    text: str = "plain-english"
    split: str | None = None
    limit: int | None = None
    methods: tuple[str, ...] = ()
    temperature: float = 0.8
    seed: int = 0

    @cached_property
    def split_read(self) -> str:
        """The split that `texts` are of: that asked for, else what there is to measure on."""
        return self.split or data.held_out_split(self.text)

    def texts(self) -> Iterator[str]:
        """The first `limit` documents of the split, or all of them."""
        return islice(data.documents(self.text, self.split_read), self.limit)


@dataclass(frozen=True)
class Task:
    """One way to ask how good a model is.

    help: what it measures, one line of `evaluate --help`. run: the report, as text to print.
    writes: whether it decodes, and so compares methods.
    """

    help: str
    run: Callable[[BLT, Request], str]
    writes: bool = True
