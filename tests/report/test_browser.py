"""The pages in a browser: Chromium without a window, where there is one."""

import pytest

from mixit_lightning.report.page import write_report

from ..helpers.browser import chromium
from ..helpers.runs import LABELS, make_page, make_runs

pytestmark = pytest.mark.slow

WIDTHS = (1280, 400)
LOADED = "[...document.querySelectorAll('audio')].every((audio) => audio.readyState > 0 && audio.duration > 0)"
# Whatever ends beyond the right edge, unless it can be scrolled to inside its box or is cut off by design.
BEYOND = """() => [...document.querySelectorAll('body *')]
    .filter((part) => part.getBoundingClientRect().right > innerWidth + 1 && !part.closest('.wide, pre'))
    .map((part) => part.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Both pages of the same runs."""
    runs = make_runs(tmp_path_factory.mktemp("runs"))
    make_page(runs, labels=(*LABELS[:2], "a" * 90))
    return {"report.html": write_report(runs[0]), "comparison.html": runs[0].parent / "out" / "comparison.html"}


@pytest.fixture(params=[(name, width) for name in ("report.html", "comparison.html") for width in WIDTHS], ids=str)
def opened(request, browser, pages):
    """A page in a window of its own, whatever it complained of, and whatever it asked for."""
    name, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    complaints, addresses = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: addresses.append(asked.url.partition(":")[0]))
    page.goto(pages[name].as_uri())
    yield page, complaints, addresses
    context.close()


def wait_for(page, holds):
    """Until a condition of the page holds. Its policy forbids what playwright waits with by itself."""
    for _ in range(300):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"30 s later it is still not so that {holds}")


def test_a_page_loads_without_a_complaint_and_fits_the_window(opened):
    page, complaints, addresses = opened
    page.wait_for_load_state("networkidle")
    assert not complaints
    assert addresses.count("file") == 1 and set(addresses) <= {"file", "data"}
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not page.evaluate(BEYOND)
    assert page.evaluate("[...document.querySelectorAll('.wide')].every((box) => box.scrollWidth <= box.clientWidth)")
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("[...document.querySelectorAll('audio')].every((audio) => audio.clientWidth > 100)")


def test_sounds_load_and_play_one_at_a_time(opened):
    page, complaints, _ = opened
    wait_for(page, LOADED)
    assert page.evaluate("document.querySelectorAll('audio').length") > 10
    page.evaluate("document.querySelectorAll('audio').forEach((audio) => { audio.loop = true; })")
    for number in (0, 5):
        page.evaluate(f"document.querySelectorAll('audio')[{number}].play()")
        wait_for(page, f"document.querySelectorAll('audio')[{number}].currentTime > 0")
    playing = "[...document.querySelectorAll('audio')].flatMap((audio, number) => audio.paused ? [] : [number])"
    assert page.evaluate(playing) == [5]
    assert not complaints
