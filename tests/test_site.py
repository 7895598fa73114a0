"""A folder of pages that need no server: the tour, recordings and patches."""

import re
from dataclasses import replace

import pytest
from conftest import UNSAFE, Tags
from test_player import EVIL, RECORDED, evil

from bltlab.__main__ import main
from bltlab.checkpoints import assets
from bltlab.trace import Trace
from bltlab.viz import site


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_the_shipped_recordings_become_a_site(tmp_path, capsys):
    assert main(["view", "--site", str(tmp_path)]) is None
    assert capsys.readouterr().out == f"wrote {tmp_path / 'index.html'}\n"
    recorded = {f"{name}.html" for name in RECORDED}
    assert names(tmp_path) == recorded | {
        "index.html",
        "race.html",
        "patches.html",
        "inside.html",
    }
    for path in tmp_path.iterdir():
        text = path.read_text(encoding="utf-8")
        links = re.findall(r'href="([^"]*)"', text)
        assert set(links) == names(tmp_path) - {path.name}  # every other page, and nothing else
        assert text.count('aria-current="page"') == 1
        assert "http://" not in text and "https://" not in text and "src=" not in text


def test_traces_of_ones_own_take_the_place_of_the_shipped_ones(tmp_path, capsys):
    path, trace = tmp_path / "t.json", RECORDED["blt-s"]
    trace.save(path)
    for paths in ([path], [path, path]):
        assert main(["view", *map(str, paths), "--site", str(tmp_path / "site")]) is None
    found = names(tmp_path / "site")
    assert {"index.html", "race.html", "blt-s.html", "blt-s-2.html"} < found
    assert "ar.html" not in found


def test_names_from_anywhere_stay_in_the_folder_and_inert(tmp_path):
    bad = Trace.from_json(evil() | dict(settings={}))
    odd = [replace(bad, method={"name": name}) for name in ("../x", "index", "race", EVIL)]
    site.write(tmp_path / "site", assets(), odd)
    assert names(tmp_path) == {"site"}
    found = names(tmp_path / "site")
    assert {"index.html", "index-2.html", "race.html", "race-2.html", "---x.html"} < found
    assert len(found) == 1 + 1 + 4 + 2
    for path in (tmp_path / "site").iterdir():
        tags = Tags(path.read_text(encoding="utf-8")).tags
        assert tags.count("script") == 2 and "img" not in tags
    assert not re.search(UNSAFE, site.TOUR)


def test_nothing_is_half_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "index.html").write_text("before")
    monkeypatch.setattr(site, "page", lambda *given, **named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        site.write(tmp_path, assets(), [RECORDED["ar"]])
    assert names(tmp_path) == {"index.html"}
    assert (tmp_path / "index.html").read_text() == "before"
    for flags in ([], ["--site", str(tmp_path / "site"), "--html", str(tmp_path / "a.html")]):
        assert main(["view", *flags]) == 2 and names(tmp_path) == {"index.html"}
        assert "name at least one trace; --site FOLDER alone" in capsys.readouterr().err


@pytest.mark.slow
def test_the_site_works_from_a_disk_and_asks_nobody(browser, tmp_path):
    main(["view", "--site", str(tmp_path)])
    asked, faults = [], []
    page = browser.new_page(reduced_motion="no-preference")
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "index.html").as_uri())
    page.get_by_role("button", name="Next").click()
    page.get_by_text("2 of 9").wait_for()
    page.get_by_role("button", name="Pause").wait_for()  # the page of the tour plays by itself
    page.get_by_role("button", name="Play").wait_for()  # and rests at what its text speaks of
    page.locator(".bltp-pinned").wait_for()
    for title, shown in (
        ("Race", ".bltp-several .bltp-lane"),
        ("blt-s", ".bltp-one .bltp-lane"),
        ("Patches", ".bltp-patches-view"),
        ("Inside", ".bltp-view"),
    ):
        page.get_by_role("link", name=title, exact=True).click()
        page.locator(shown).first.wait_for()
        assert page.locator("[aria-current=page]").text_content() == title
    page.close()
    assert faults == [] and {url.rpartition("/")[0] for url in asked} == {tmp_path.as_uri()}
