"""How calls reach the functions of the page and the API: one sentence for what does not fit.

Gradio answers a call that raises anything but its own error with `"error": null`. Here everything
that is sent is looked at before a function sees it, and nothing of it is kept.
"""

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any

import gradio as gr
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from gradio.state_holder import SessionState
from shown import LONGEST_REASON

AT_ONCE = 4  # calls that share the model, one of each visitor
REQUEST = "request"  # an argument that Gradio fills in
A_CALL = 'a call is {"data": [its arguments]} in JSON'
UNKNOWN = "this call failed, and the terminal of the page says why"


class Page(gr.Blocks):
    """A page whose every call is answered, or refused in one sentence."""

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        """Raises gr.Error for too few or too many arguments, and for files among them."""
        wanted, given = len(block_fn.inputs), len(inputs)
        too_many = given > wanted and _is_public(block_fn)
        if given < wanted or too_many:
            raise _refusal(f"{_described(block_fn)}, got {given}")
        for block, value in zip(block_fn.inputs, inputs, strict=False):
            if not isinstance(block, gr.UploadButton) and names_file(value):
                raise _refusal("a file can be sent only with Open, not as an argument")

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """What the function is called with. Raises gr.Error for values of a wrong kind."""
        kept = self._kept(block_fn, state)
        try:
            return await super().preprocess_data(block_fn, inputs, kept, explicit_call)
        except gr.Error as error:  # from above, or of a control that offers no such value
            raise _refusal(error.message[:LONGEST_REASON]) from None
        except Exception:
            raise _refusal(
                f"{_described(block_fn)}, and what was sent is of another kind"
            ) from None
        finally:
            for block in block_fn.inputs:
                kept._update_value_in_config(block._id, None)

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """What is sent back."""
        return await super().postprocess_data(block_fn, predictions, self._kept(block_fn, state))

    def _kept(self, block_fn: Any, state: Any) -> SessionState:
        """Where Gradio keeps the values of a call: its session, or for the API one place for all.

        Every call of the API is a session of its own, and its values would stay for an hour.
        """
        return self._of_api if _is_public(block_fn) or state is None else state

    @cached_property
    def _of_api(self) -> SessionState:
        return SessionState(self)

    async def process_api(self, *given: Any, **named: Any) -> dict[str, Any]:
        """Gradio's, where whatever goes wrong has a sentence."""
        try:
            return await super().process_api(*given, **named)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(UNKNOWN) from error


def _is_public(block_fn: Any) -> bool:
    """Is this an endpoint of the API, rather than a function of the page?"""
    return block_fn.api_visibility == "public"


def _refusal(sentence: str) -> gr.Error:
    return gr.Error(sentence, print_exception=False)


def _described(block_fn: Any) -> str:
    """What an endpoint takes, in words."""
    wanted = len(block_fn.inputs)
    many = "1 argument" if wanted == 1 else f"{wanted} arguments"
    if not _is_public(block_fn):
        return f"this call takes {many}"
    names = [name for name in inspect.signature(block_fn.fn).parameters if name != REQUEST]
    return f"/{block_fn.api_name} takes {many} ({', '.join(names)})"


def names_file(value: Any) -> bool:
    """Does an argument name a file, however deep? Gradio would read, or fetch, what it names.

    >>> names_file([{"a": {"path": "x", "meta": {}}}]), names_file({"path": "x"})
    (True, False)
    """
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if "path" in one and "meta" in one:
                return True
            left += one.values()
        elif isinstance(one, list):
            left += one
    return False


async def misfit(request: Request, error: RequestValidationError) -> JSONResponse:
    """The answer to what is no call at all: a sentence, and nothing of what was sent."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "its start"
    why = f"{A_CALL}; at {where}: {first['msg']}"
    return JSONResponse(dict(detail=why, error=why), status_code=422)


# -- who is called next ----------------------------------------------------------------------------


def visitor_of(event: Any) -> str:
    """The address that a call came from."""
    client = event.request.client
    return client.host if client else ""


def fair(queue: Any) -> Callable[[], tuple | None]:
    """What hands out the calls of a queue: the first in line of a visitor of whom none runs there.

    So a visitor who sends many holds up nobody else. It takes the place of Gradio's `get_events`.
    """

    def next_call() -> tuple | None:
        running = [event for job in queue.active_jobs if job for event in job]
        for name, line in queue.event_queue_per_concurrency_id.items():
            busy = {visitor_of(event) for event in running if event.concurrency_id == name}
            for event in _could_run(line, busy)[:1]:
                line.queue.remove(event)
                return [event], False, name
        return None

    return next_call


def _could_run(line: Any, busy: set[str]) -> list[Any]:
    """The calls of a line that could run now. busy: the visitors of whom one runs already."""
    most = line.concurrency_limit
    if most and line.current_concurrency >= most:
        return []
    return [event for event in line.queue if visitor_of(event) not in busy]
