"""A player in a notebook while its kernel lives, in a browser; alone here, for that browser's loop.

A test that starts a loop of its own cannot stand beside one that has a page open.
"""

import pytest
from test_player import RECORDED

pytest.importorskip("anywidget", reason="needs anywidget")

from bltlab.viz.widget import TracePlayer

LIVE = """async ([source, traces]) => {
  const module = new Blob([source], { type: "text/javascript" });
  const { default: host } = await import(URL.createObjectURL(module));
  const values = { traces, clock: "event", step: null, name: "copy-1", said: 0, branches: true };
  globalThis.heard = {}, globalThis.values = values;
  const model = { get: key => values[key], set: (key, value) => { values[key] = value; },
                  save_changes() {}, on: (name, act) => { heard[name] = act; }, off() {} };
  document.body.innerHTML = "<div id=live></div><div class=bltlab-copy-1>copy</div>" +
    "<div class=bltlab-copy-2>another</div>";
  globalThis.end = host.render({ model, el: document.getElementById("live") });
}"""


@pytest.mark.slow
def test_a_live_player_hides_its_own_copy_and_tells_what_was_taken(browser):
    page = browser.new_page(reduced_motion="no-preference")
    page.evaluate(LIVE, [str(TracePlayer._esm), [RECORDED["blt-s"].to_json()]])
    own, other = page.get_by_text("copy", exact=True), page.get_by_text("another", exact=True)
    assert own.is_hidden() and other.is_visible()
    page.evaluate("values.step = 24; heard['change:step']()")  # while it plays
    page.wait_for_timeout(400)
    assert page.locator(".bltp-readout").text_content().startswith("24 of ")
    assert page.evaluate("values.step") == 24
    written = len(RECORDED["blt-s"].prompt) + 2  # a byte that was
    page.locator(".bltp-bytes [role=option]").nth(written).click()
    page.locator(".bltp-take").first.click()
    taken = page.evaluate("values.wanted")
    assert taken["lane"] == 0 and taken["at"] == written and 0 <= taken["byte"] < 256
    page.evaluate("end(); document.getElementById('live').remove()")
    assert own.is_visible()
    page.close()
