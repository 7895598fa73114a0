"""The named endpoints for `gradio_client`: /decode, /race, /patches and /inside. Bad input is an error of one sentence.

client = Client("http://127.0.0.1:7860")
trace = client.predict("In the beginning ", "blt-dv", api_name="/decode")            # bltlab.trace/1
for trace in client.submit("In ", "blt-d", {"unmasking": "topk:2"}, api_name="/decode"): ...
"""

from contextlib import closing

import gradio as gr
from session import frames
from shown import ERRORS

from bltlab.decoding import METHODS


def endpoints(demo):
    """The functions by their names. Each needs the model, so they share its queue."""

    def settings(max_new_bytes, temperature, top_k, top_p, seed, stop):
        return dict(
            max_new_bytes=max_new_bytes,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=stop,
        )

    def decode(
        prompt: str,
        method: str = "ar",
        options: dict = {},
        max_new_bytes: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: list[str] = [],
    ) -> dict:
        """Decode, and stream the trace (bltlab.trace/1). options: the method's own, {"unmasking": "confidence:0.7"}."""
        try:
            given = settings(max_new_bytes, temperature, top_k, top_p, seed, stop)
            (events,) = demo.streams(prompt, [method], given, {method: options})
            with closing(frames(events)) as traces:
                for trace in traces:
                    yield trace.to_json()
        except ERRORS as error:
            raise gr.Error(str(error), print_exception=False) from None

    def race(
        prompt: str,
        methods: list[str] = [*METHODS],
        options: dict = {},
        max_new_bytes: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: list[str] = [],
    ) -> list[dict]:
        """One prompt with several methods; streams the list of traces. options: by method, {"blt-d": {"block_size": 4}}."""
        try:
            given, done = settings(max_new_bytes, temperature, top_k, top_p, seed, stop), []
            for events in demo.streams(prompt, methods, given, options):
                with closing(frames(events)) as traces:
                    for trace in traces:
                        yield [*done, trace.to_json()]
                done.append(trace.to_json())
        except ERRORS as error:
            raise gr.Error(str(error), print_exception=False) from None

    def patches(text: str) -> dict:
        """Where the model's patches begin: bytes, the entropy before each in nats, threshold and max_patch_length."""
        try:
            return demo.survey_of(text)
        except ERRORS as error:
            raise gr.Error(str(error), print_exception=False) from None

    def inside(text: str, seed: int = 0) -> dict:
        """Inside the model for a short text (bltlab.inside/1): masks, training blocks, a denoised block, hashes."""
        try:
            return demo.look_at(text, seed)
        except ERRORS as error:
            raise gr.Error(str(error), print_exception=False) from None

    return [decode, race, patches, inside]
