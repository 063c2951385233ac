"""The web page in a real, headless Chromium: the slider moves, pictures change, who dies is shown dead."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_live import AFTER, BEFORE, HEIGHT, WIDTH
from tests.running_service import PATIENCE, TOKEN, RunningService

pytest.importorskip("starlette", reason="needs the serve extra")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (the dev extra)")

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]

WAIT = PATIENCE * 1000
PIXEL = """(at) => {
  const canvas = document.getElementById("picture");
  return canvas.getContext("2d").getImageData(at * canvas.width, canvas.height - 2, 1, 1).data[0];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        # as root its sandbox can't be had, and nothing but our own page is loaded
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    streams = [
        {"id": "gate", "title": "Gate <b id=injected>&", "source": "fake://runs"},
        {"id": "mortal", "source": "fake://runs", "preview": False},
        {"id": "frozen", "source": "fake://runs", "preview": False},
    ]
    restart = {"first_delay": 60, "longest_delay": 60, "hang_timeout": 600}
    with RunningService(tmp_path_factory.mktemp("page"), restart=restart, drain_seconds=1, streams=streams) as running:
        for stream in streams:
            running.until(stream["id"], "running")
        yield running


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that must not fail in the console, nor ask another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(WAIT)
    opened.wrong, opened.asked = [], []
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.on("console", lambda said: said.type == "error" and opened.wrong.append(said.text))
    opened.on("request", lambda request: opened.asked.append(request.url))
    yield opened
    context.close()


def wait_for_luma(page: Any, at: float, wanted: int) -> None:
    """Wait until the picture at `at` (0 left … 1 right) has this luma, which the page shows in full range."""
    page.wait_for_function(
        f"([at, wanted]) => Math.abs(({PIXEL})(at) - wanted) < 12", arg=[at, (wanted - 16) * 255 / 219]
    )


@pytest.mark.parametrize("transport", ["mjpeg", "webrtc"])
def test_pictures_change_and_the_slider_parts_before_from_after(
    service: RunningService, page: Any, transport: str
) -> None:
    page.goto(f"{service.url}/?transport={transport}#/gate")
    page.wait_for_function("() => Number(document.getElementById('picture').dataset.shown) > 2")
    assert page.inner_text("#transport").lower() == transport
    size = page.evaluate("() => [document.getElementById('picture').width, document.getElementById('picture').height]")
    assert size == [WIDTH, HEIGHT]
    shown = int(page.get_attribute("#picture", "data-shown"))
    page.wait_for_function(f"() => Number(document.getElementById('picture').dataset.shown) > {shown} + 2")
    before = page.evaluate("() => document.getElementById('picture').toDataURL()")
    page.wait_for_function("(before) => document.getElementById('picture').toDataURL() !== before", arg=before)

    page.locator("#notice").wait_for(state="hidden")
    wait_for_luma(page, 0.2, BEFORE)
    wait_for_luma(page, 0.8, AFTER)
    box = page.locator("#stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.95 * box["width"], middle, steps=4)
    page.mouse.up()
    assert page.evaluate("() => Number(document.getElementById('slider').value)") > 850
    wait_for_luma(page, 0.8, BEFORE)
    divider = page.locator("#divider").bounding_box()
    assert divider["x"] > box["x"] + 0.85 * box["width"], "the line goes along"
    page.focus("#slider")
    page.keyboard.press("Home")
    wait_for_luma(page, 0.2, AFTER)
    assert page.wrong == []


def test_all_streams_at_a_glance(service: RunningService, page: Any) -> None:
    page.goto(service.url)
    card = page.locator('.stream[data-id="gate"]')
    card.locator(".fps").filter(has_text="22.5 fps").wait_for()
    assert card.locator(".state").inner_text() == "running"
    assert card.locator(".name").inner_text() == "Gate <b id=injected>&", "a title is text, whatever it holds"
    assert page.locator("#injected").count() == 0
    page.wait_for_function("() => document.querySelector('.stream[data-id=gate] img').naturalWidth > 0")
    assert page.locator(".stream").count() == 3
    assert all(url.startswith((service.url, f"blob:{service.url}", "data:")) for url in page.asked), page.asked
    assert page.wrong == []


def test_one_stream_tells_its_rain_its_numbers_and_its_past(service: RunningService, page: Any) -> None:
    page.goto(f"{service.url}/?transport=mjpeg#/gate")
    taken_out = (AFTER - BEFORE) * 255 / 219  # but where the bar is, which is the same in both
    page.wait_for_function("() => Number(document.getElementById('rain-now').textContent) > 100")
    assert 0.85 * taken_out < float(page.inner_text("#rain-now")) < 1.02 * taken_out
    assert "12.0 % of its neurons fire" in page.inner_text("#rain-note")
    page.locator("#log .kind").filter(has_text="reset").wait_for()
    page.locator("#numbers").filter(has_text="30 / 90 ms").wait_for()
    page.locator("#busy").filter(has_text="60 %").wait_for()
    page.locator("#age-legend").filter(has_text="p99").wait_for()
    page.locator("#drop-legend").filter(has_text="overload").wait_for()
    drawn = """(name) => {
      const canvas = document.getElementById(name);
      const data = canvas.getContext("2d").getImageData(60, 0, canvas.width - 60, canvas.height - 22).data;
      const colours = new Set();
      for (let n = 0; n < data.length; n += 4) if (data[n + 3] > 200) colours.add(data.slice(n, n + 3).join());
      return colours.size;
    }"""
    for chart in ("age-chart", "drop-chart"):
        page.wait_for_function(f"() => ({drawn})('{chart}') > 1")  # the grid has one colour
    assert page.wrong == []


@pytest.mark.parametrize(("name", "how"), [("mortal", signal.SIGKILL), ("frozen", signal.SIGSTOP)])
def test_who_dies_is_shown_dead_within_three_seconds(
    service: RunningService, page: Any, name: str, how: signal.Signals
) -> None:
    began = time.monotonic()
    page.goto(service.url)
    card = page.locator(f'.stream[data-id="{name}"]')
    card.locator(".state").filter(has_text="running").wait_for()
    slow = max(0.0, time.monotonic() - began - 1)  # how much slower than a free machine this one is now
    os.kill(service.stream(name)["pid"], how)
    killed = time.monotonic()
    card.locator(".state").filter(has_text="dead").wait_for()
    assert time.monotonic() - killed < 3 + slow
    assert card.get_attribute("data-tone") == "bad"
    card.click()
    page.locator("#notice strong").filter(has_text="dead").wait_for()
    assert page.locator("#notice").is_visible()


def test_nothing_is_shown_alive_where_the_service_is_gone(browser: Any, page: Any, tmp_path: Path) -> None:
    with RunningService(tmp_path, streams=[{"id": "a", "source": "fake://runs"}]) as running:
        running.until("a", "running")
        page.goto(running.url)
        page.locator('.stream[data-id="a"] .state').filter(has_text="running").wait_for()
        running.process.kill()
        page.locator("#link").filter(has_text="service gone").wait_for()
        assert page.locator('.stream[data-id="a"]').get_attribute("data-tone") == "bad"
        assert page.locator("#banner").is_visible()


def test_a_stream_that_is_not_there_is_said_once_and_not_asked_for(service: RunningService, page: Any) -> None:
    """The page showed the wall without a word, and asked for pictures and past of the stream twice a second."""
    page.goto(f"{service.url}/#/late")
    page.locator("#missing").filter(has_text="There is no stream named late").wait_for()
    page.wait_for_timeout(2500)
    assert [url for url in page.asked if "/streams/late" in url] == []
    assert service.ask("/api/streams", "POST", {"id": "late", "source": "fake://runs"})[0] == 201
    page.wait_for_function("() => Number(document.getElementById('picture').dataset.shown) > 0")
    page.locator("#missing").wait_for(state="hidden")
    assert service.ask("/api/streams/late", "DELETE")[0] == 200
    page.locator("#missing").wait_for()
    page.goto(f"{service.url}/#/%E0%A4%A")
    page.locator("#missing").filter(has_text="named %E0%A4%A").wait_for()
    assert page.wrong == []


def test_changes_ask_for_the_token(service: RunningService, page: Any) -> None:
    page.goto(f"{service.url}/#/gate")
    page.click("text=Stop")
    page.fill("#token", "wrong-wrong-wrong-wrong")
    page.keyboard.press("Enter")
    page.locator("#token-wrong").filter(has_text="token").wait_for()
    assert service.stream("gate")["state"] == "running"
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.locator("#token-dialog").wait_for(state="hidden")
    page.click("#add")
    page.fill("#add-id", "added")
    page.fill("#add-source", "fake://runs")
    page.locator("#add-dialog button.primary").click()
    page.locator("#title").filter(has_text="added").wait_for()
    service.until("added", "running")
    page.click("#actions [data-action=stop]")
    page.locator("#state").filter(has_text="stopped").wait_for()
    page.click("#actions [data-action=remove]")
    page.locator('.stream[data-id="added"]').wait_for(state="detached")
    assert "added" not in service.streams()
