"""The named endpoints for `gradio_client`. Bad input is an error of one sentence.

A text is a string, or any bytes as a list of numbers; a model is one that the page offers, by name.

client = Client("http://127.0.0.1:7860")
trace = client.predict("In the beginning ", "blt-dv", api_name="/decode")      # bltlab.trace/1
for trace in client.submit("In ", "blt-d", {"unmasking": "topk:2"}, api_name="/decode"): ...
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import gradio as gr
from links import Link
from models import Shown
from session import Demo, frames
from settings import text_of
from shown import ERRORS, LANES, reason


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# What an argument must be: in words, and the test for it
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "method": ("a text", lambda value: isinstance(value, str)),
    "model": ("a text", lambda value: isinstance(value, str)),
    "methods": ("a list of texts", _is_texts),
    "options": ("an object", lambda value: isinstance(value, dict)),
    "stop": ("a text or a list of texts", lambda value: isinstance(value, str) or _is_texts(value)),
}
NUMBER = ("a number", _is_number)


def check_kinds(given: dict[str, Any]) -> None:
    """Raise TypeError, in one sentence, for an argument of a wrong kind; None is left open."""
    for name, value in given.items():
        words, fits = KINDS.get(name, NUMBER)
        if value is not None and not fits(value):
            raise TypeError(f"{name} must be {words}, got {type(value).__name__}")


@contextmanager
def one_sentence() -> Iterator[None]:
    """What bad input raises inside reaches the client as its sentence alone."""
    try:
        yield
    except ERRORS as error:
        raise gr.Error(reason(error), print_exception=False) from None


def somebody_waits(session: str, since: float) -> bool:
    """The answer where nobody knows who listens."""
    return True


class Endpoints:
    """The functions that clients call. Each needs the model, so they share its line.

    Gradio reads their arguments and types from the signatures; the type that a generator returns is
    here that of what it yields.
    """

    def __init__(self, demo: Demo, waits: Callable[[str, float], bool] = somebody_waits) -> None:
        self.demo, self.waits = demo, waits

    def decode(
        self,
        prompt: str | list[int],
        method: str = "ar",
        options: dict | None = None,
        max_new_bytes: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: list[str] | None = None,
        no_repeat_ngram_bytes: int = 0,
        model: str | None = None,
        request: gr.Request | None = None,
    ) -> dict:
        """Decode, and stream the trace (bltlab.trace/1).

        options: the method's own, {"unmasking": "confidence:0.7"}.
        """
        settings = _settings(
            max_new_bytes, temperature, top_k, top_p, seed, stop, no_repeat_ngram_bytes
        )
        with one_sentence():
            check_kinds(settings | dict(method=method, options=options))
            text, chosen = text_of(prompt), self._chosen(model)
        link = Link("watch", text, [method], settings, {method: options or {}})
        link.models = [chosen.name]
        for (trace,) in self._traces(link, request):
            yield trace

    def race(
        self,
        prompt: str | list[int],
        methods: list[str] | None = None,
        options: dict | None = None,
        max_new_bytes: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: list[str] | None = None,
        no_repeat_ngram_bytes: int = 0,
        model: str | None = None,
        request: gr.Request | None = None,
    ) -> list[dict]:
        """One prompt with several methods, by default all that the model has; streams the traces.

        options: by method, {"blt-d": {"block_size": 4}}.
        """
        settings = _settings(
            max_new_bytes, temperature, top_k, top_p, seed, stop, no_repeat_ngram_bytes
        )
        with one_sentence():
            check_kinds(settings | dict(methods=methods, options=options))
            for of_one in (options or {}).values():
                check_kinds(dict(options=of_one))
            text, chosen = text_of(prompt), self._chosen(model)
        names = chosen.methods[:LANES] if methods is None else methods
        link = Link("race", text, names, settings, options or {}, models=[chosen.name])
        yield from self._traces(link, request)

    def patches(self, text: str | list[int], model: str | None = None) -> dict:
        """Where the model's patches begin: bytes, the entropy before each in nats, and the rule."""
        with one_sentence():
            return self.demo.survey_of(text_of(text), self._chosen(model).name)

    def inside(self, text: str | list[int], seed: int = 0, model: str | None = None) -> dict:
        """Inside the model for a short text (bltlab.inside/1).

        Masks, training blocks, a denoised block and hashes.
        """
        with one_sentence():
            check_kinds(dict(seed=seed))
            return self.demo.look_at(text_of(text), seed, self._chosen(model).name)

    def _chosen(self, name: str | None) -> Shown:
        """The model of this name, the first by default. Raises TypeError or ValueError."""
        check_kinds(dict(model=name))
        return self.demo.models.get(name)

    def _traces(self, link: Link, request: gr.Request | None) -> Iterator[list[dict[str, Any]]]:
        """Decode with one method after the other; the traces so far as JSON, again and again.

        Ends where nobody waits for them.
        """
        done, began = [], time.monotonic()

        def is_left() -> bool:
            return request is not None and not self.waits(request.session_hash, began)

        with one_sentence():
            for events in self.demo.streams(link):
                if is_left():
                    return
                with closing(frames(events, self.demo.turns, is_left)) as traces:
                    for trace in traces:
                        yield [*done, trace.to_json()]
                done.append(trace.to_json())


def _settings(
    max_new_bytes: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
    stop: list[str] | None,
    no_repeat_ngram_bytes: int,
) -> dict[str, Any]:
    """The settings by name, as `Link` holds them."""
    return dict(
        max_new_bytes=max_new_bytes,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop or [],
        no_repeat_ngram_bytes=no_repeat_ngram_bytes,
    )


def endpoints(demo: Demo, waits: Callable[[str, float], bool]) -> list[Callable]:
    """The functions of the API, in order; their names are those of the endpoints.

    waits: does anybody wait for the call of a session that began at a time?
    """
    api = Endpoints(demo, waits)
    return [api.decode, api.race, api.patches, api.inside]
