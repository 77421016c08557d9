"""The page in a browser."""

import numpy as np
import pytest
import soundfile

from ..helpers.browser import chromium

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(params=[1280, 400])
def page(request, browser, address):
    """The page in a window; it asks nobody but its server."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    complaints, asked = [], set()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.add(request.url))
    page.goto(address)
    yield page
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert complaints == []
    page.close()


def drop(page, path):
    page.locator("input[type=file]").set_input_files(str(path))


def test_a_recording_is_separated_mixed_played_and_downloaded(page, tmp_path):
    samples = 0.1 * np.random.default_rng(0).standard_normal((16000 * 5, 2))
    soundfile.write(tmp_path / "two voices.wav", samples, 16000)
    drop(page, tmp_path / "two voices.wav")
    page.wait_for_selector("text=Output 3")
    for gain in page.locator("input[type=range]").all()[1:]:
        gain.fill("-40")
    page.get_by_role("button", name="Mix", exact=True).click()
    page.get_by_role("button", name="Pause").wait_for()  # the mix is played at once
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with page.expect_download() as first:
        page.get_by_role("button", name="Download").nth(1).click()
    with page.expect_download() as last:
        page.get_by_role("button", name="Download").last.click()
    assert first.value.suggested_filename == "two voices output 1.wav"
    assert last.value.suggested_filename == "two voices mix.wav"
    output, mix = (soundfile.read(download.value.path())[0] for download in (first, last))
    assert np.abs(mix - output).max() < 1e-6


def test_a_file_that_is_no_recording_is_explained_and_the_next_one_is_separated(page, tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "good.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    drop(page, tmp_path / "text.wav")
    page.get_by_test_id("toast-body").get_by_text("text.wav").wait_for()
    page.get_by_text("Drop File Here").wait_for()
    drop(page, tmp_path / "good.wav")
    page.wait_for_selector("text=Output 3")
