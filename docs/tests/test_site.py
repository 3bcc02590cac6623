"""The built site as a browser shows it: nothing is asked of another machine, and search finds what is there."""

import functools
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.browser

SITE = Path(__file__).resolve().parents[2] / "site"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAGES = ["index.html", "concepts/criss-cross.html", "tutorials/train.html", "api/ccnet-core.html", "commands.html"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def address():
    if not (SITE / "index.html").is_file():
        pytest.skip("there is no site/: nox -s docs builds it")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, address):
    """Open a page; at the end fail if it complained, or asked anything of another machine."""
    requests, complaints, contexts = [], [], []

    def open_it(place, viewport=DESKTOP, scheme="light"):
        context = chromium.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda response: response.ok or complaints.append(f"{response.status} {response.url}"))
        page.goto(address + place, wait_until="load")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert [url for url in requests if not url.startswith((address, "data:"))] == []
    assert complaints == []


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", PAGES)
def test_page_is_whole_and_fits(open_page, tmp_path, place, viewport, scheme):
    page = open_page(place, viewport, scheme)
    widths = page.eval_on_selector_all("main img, article img", "images => images.map(image => image.naturalWidth)")
    assert all(width > 0 for width in widths)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.screenshot(path=tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        paper = picture.convert("L").getpixel((viewport["width"] - 4, viewport["height"] - 4))
    assert paper > 240 if scheme == "light" else paper < 40


@pytest.mark.parametrize(
    ("word", "title", "place"),
    [
        ("CategoryConsistentLoss", "CategoryConsistentLoss", "/api/ccnet-core.html"),
        ("gamma", "Criss-cross attention", "/concepts/criss-cross.html"),
        ("torchrun", "Training on many machines", "/many-machines.html"),
    ],
)
def test_search_finds(open_page, word, title, place):
    page = open_page("index.html")
    page.get_by_role("textbox").first.fill(word)
    page.keyboard.press("Enter")
    page.locator("ul.search li a").filter(has_text=title).first.click()
    page.wait_for_url(f"**{place}*")
