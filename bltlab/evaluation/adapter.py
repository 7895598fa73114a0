"""A model for lm-eval: `lm_eval --model bltlab --model_args checkpoint=blt-nano --tasks piqa`.

Newer versions of lm-eval find it by the entry point in pyproject.toml. The release 0.4.13 reads
none: there `python -m bltlab.evaluation.adapter` stands for `lm_eval`, with the same options.

A byte model needs no tokenizer. BOS stands in front of a context once, a text is scored as it is
handed over, its leading space included, and `max_gen_toks` are bytes. Likelihoods are those of
`likelihoods`, read autoregressively, whatever the method that writes.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ..decoding import fitted, generate
from ..model import BLT
from .likelihood import last_characters, likelihoods

INSTALL = "lm-eval is not installed, and the model bltlab is for it: pip install 'bltlab[lm-eval]'"
BESIDE = 8  # texts read or written at once where no number is given
PART = 4096  # requests that are answered before the cache of lm-eval is told
SIZES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # its words
NEW_BYTES = 256  # where none of them is given

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError:  # then this file can be read, and the model not made
    LM = object
    register_model = None


class Adapter(LM):
    """A model as lm-eval asks it: three kinds of requests, each with its arguments in `args`.

    checkpoint: a shipped name, a folder or a hub id. method: how text is written. batch_size: texts
    side by side, a number or "auto". dtype: a name of torch's. Raises ImportError without lm-eval,
    ValueError for what is no such value.
    """

    tokenizer_name = "bytes"

    def __init__(
        self,
        checkpoint: str,
        method: str = "ar",
        batch_size: int | str = BESIDE,
        device: str = "auto",
        dtype: str = "float32",
        seed: int = 0,
        max_batch_size: int | None = None,
    ):
        if register_model is None:
            raise ImportError(INSTALL)
        super().__init__()
        self.batch_size = size_of(batch_size)
        kind: Any = getattr(torch, str(dtype), dtype)  # from_pretrained refuses what is none
        place = device_of(device)
        self.model = BLT.from_pretrained(checkpoint, device=place, dtype=kind)
        self.method = fitted(method, self.model)
        self.seed = seed
        self._device = self.model.device

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """(log-likelihood in nats, would greedy decoding write it?) of texts after contexts."""
        answers = []
        for part in _parts(requests):
            asked = [request.args for request in part]
            for request, found in zip(part, self._likelihoods(asked), strict=True):
                answer = (-found.nats, found.greedy)
                self.cache_hook.add_partial("loglikelihood", request.args, answer)
                answers.append(answer)
        return answers

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-likelihoods of whole texts, long ones in windows that overlap by a quarter."""
        answers = []
        for part in _parts(requests):
            asked = [("", request.args[0]) for request in part]
            for request, found in zip(part, self._likelihoods(asked), strict=True):
                answer = -found.nats
                self.cache_hook.add_partial("loglikelihood_rolling", request.args, answer)
                answers.append(answer)
        return answers

    def _likelihoods(self, asked: list[tuple[str, str]]) -> list[Any]:
        return likelihoods(self.model, asked, self.batch_size)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts up to a stop string, which is left out; those with equal settings in batches."""
        alike: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            alike.setdefault(repr(request.args[1]), []).append(number)
        answers = [""] * len(requests)
        for numbers in alike.values():
            numbers.sort(key=lambda number: len(requests[number].args[0]))
            for at in range(0, len(numbers), self.batch_size):
                batch = numbers[at : at + self.batch_size]
                texts = self._written(batch, [requests[number] for number in batch])
                for number, text in zip(batch, texts, strict=True):
                    request = requests[number]
                    self.cache_hook.add_partial("generate_until", request.args, text)
                    answers[number] = text
        return answers

    def _written(self, numbers: list[int], requests: list[Any]) -> list[str]:
        """The texts of requests with one setting. numbers: of each, so that each draws its own."""
        settings = settings_of(requests[0].args[1])
        room = self.model.config.max_length - 1 - settings["max_new_bytes"]
        if room < 1:
            raise ValueError(
                f"max_gen_toks of {settings['max_new_bytes']} bytes leaves no room for a prompt:"
                f" this model's max_length is {self.model.config.max_length}"
            )
        prompts = [request.args[0].encode() for request in requests]
        kept = [last_characters(prompt, room) for prompt in prompts]
        cut = sum(map(len, prompts)) - sum(map(len, kept))
        if cut:
            warnings.warn(
                f"prompts were {cut} bytes too long: cut at their beginning", stacklevel=2
            )
        seeds = [self.seed + number for number in numbers]
        outs = generate(self.model, kept, self.method, seed=seeds, record=False, **settings)
        return [before_stop(out.text, settings["stop"]) for out in outs]


if register_model is not None:
    register_model("bltlab")(Adapter)


def device_of(device: str) -> str:
    """A device; lm-eval says "cuda:0" where none was asked for, which not every machine has.

    >>> device_of("cpu")
    'cpu'
    """
    missing = device.startswith("cuda") and not torch.cuda.is_available()
    return "auto" if missing else device


def size_of(batch_size: int | str) -> int:
    """A batch size as lm-eval hands it over. Raises ValueError for what is none.

    >>> size_of("auto"), size_of("4")
    (8, 4)
    """
    if str(batch_size).startswith("auto"):
        return BESIDE
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise ValueError(f"batch_size must be a number of at least 1, or auto, got {batch_size!r}")
    return int(batch_size)


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """What `generate` takes, from lm-eval's words for it.

    Text is sampled where a temperature is given, and do_sample does not forbid it.

    >>> settings_of(dict(until="Q:", max_gen_toks=64, do_sample=False, temperature=0.7))
    {'stop': ['Q:'], 'max_new_bytes': 64, 'temperature': 0.0, 'top_k': 0, 'top_p': 1.0}
    """
    said = {name: value for name, value in given.items() if value is not None}
    until = said.get("until", [])
    stops = [until] if isinstance(until, str) else until
    sizes = [said[name] for name in SIZES if name in said]
    heat = float(said.get("temperature", 0)) if said.get("do_sample", True) else 0.0
    return dict(
        stop=[stop for stop in stops if stop],
        max_new_bytes=int([*sizes, NEW_BYTES][0]),
        temperature=heat,
        top_k=int(said.get("top_k", 0)),
        top_p=float(said.get("top_p", 1)),
    )


def before_stop(text: str, stops: Sequence[str]) -> str:
    """A text up to the first of the stop strings.

    >>> before_stop("one\\n\\nQ: two", ["Q:", "\\n\\n"])
    'one'
    """
    for stop in stops:
        text = text.partition(stop)[0]
    return text


def _parts(requests: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(requests), PART):
        yield requests[at : at + PART]


def main() -> int:
    """Run lm-eval's own command line, which now knows the model."""
    if register_model is None:
        print(f"bltlab: {INSTALL}", file=sys.stderr)
        return 2
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except (OSError, ValueError) as error:
        print(f"bltlab: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
