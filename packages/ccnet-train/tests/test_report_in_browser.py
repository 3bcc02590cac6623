"""The report as a browser shows it. The browser is the machine's own Chromium, without any network."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ccnet_train.datasets import load_split
from ccnet_train.report import write_report
from ccnet_train.run_folder import RunFolder

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
RECORDS = [{"step": 1, "loss": 2.0, "lr": 0.1}, {"step": 1, "miou": 0.4, "macc": 0.5, "aacc": 0.6}]


@pytest.fixture
def report(squares, tmp_path, evaluation_of, make_subject):
    """Write the report of ten pictures, some of which are predicted worse than others."""
    dataset = load_split(squares("data.val.length=10").data, "val")
    wrong = np.array([[0, 3, 0], [0, 0, 2], [1, 0, 0]])
    matrices = [np.diag([500, 100, 80]) + 9 * index * wrong for index in range(10)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    path = tmp_path / "report.html"
    write_report(
        path,
        evaluation_of(dataset.classes, matrices, names=f"a very long name of a picture/{'x' * 90}{{}}.png"),
        make_subject(weights="/a/long/path" * 20),
        dataset=dataset,
        predict=lambda sample: np.ones_like(sample["label"]),
        run=RunFolder(tmp_path),
    )
    return path


@pytest.fixture
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_and_fits(report, chromium, tmp_path, viewport, scheme):
    context = chromium.new_context(viewport=viewport, color_scheme=scheme)
    context.set_offline(True)
    page = context.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report.as_uri(), wait_until="load")

    assert page.locator(".score").count() == 3
    assert page.locator("#mIoU strong").inner_text().endswith(" %")
    assert page.locator("tbody tr").count() == 3
    assert page.locator("article").count() == 8
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) == 1 + 3 + 8 * 4
    assert min(widths) > 0
    # Nothing sticks out of the window, and the table needs no scrolling either.
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.eval_on_selector(".scroll", "box => box.scrollWidth - box.clientWidth") == 0

    page.screenshot(path=tmp_path / "report.png", full_page=True)
    with Image.open(tmp_path / "report.png") as picture:
        paper = picture.convert("L").getpixel((2, 2))
    assert paper > 240 if scheme == "light" else paper < 40
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert complaints == []


def test_a_bar_is_as_long_as_its_number_says(report, chromium):
    page = chromium.new_page(viewport=DESKTOP)
    page.goto(report.as_uri())
    row = page.locator("tbody tr").first
    share = float(row.locator("td").first.inner_text()) / 100
    track, bar = (row.locator(part).bounding_box()["width"] for part in (".bar", ".bar i"))
    assert bar == pytest.approx(share * track, abs=1)


def test_the_page_may_not_ask_for_anything(report, chromium):
    page = chromium.new_page()
    page.goto(report.as_uri())
    refused = page.evaluate(
        """new Promise(refused => {
            document.addEventListener("securitypolicyviolation", event => refused(event.violatedDirective));
            new Image().src = "http://127.0.0.1:9/picture.png";
        })"""
    )
    assert refused == "img-src"


def test_the_page_prints(report, chromium, tmp_path):
    page = chromium.new_page()
    page.goto(report.as_uri())
    assert page.pdf(path=tmp_path / "report.pdf").startswith(b"%PDF")
