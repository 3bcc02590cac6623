"""The page as people see it, in the machine's own Chromium, of a server in a process of its own."""

import contextlib
import io
import json
import re
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
from ccnet_core import render
from ccnet_core.config import TTA_SCALES
from ccnet_core.outputs import areas

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SEGMENT = 1  # the function that the page calls, after that of the samples
OUTSIDE = re.compile(r"^(?!data:|blob:|http://127\.0\.0\.1:)")


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """A folder with two pictures, of 37x51 and 40x30 pixels."""
    folder = tmp_path_factory.mktemp("samples")
    generator = np.random.default_rng(0)
    for name, size in (("odd", (37, 51)), ("other", (30, 40))):
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def served(serve, make_varied, samples):
    limits = ["--max-pixels", 500_000, "--max-upload", 2]
    with serve(make_varied(), "--samples", samples, *limits) as served:
        yield served


@pytest.fixture
def model(served):
    return served.model


@pytest.fixture
def file(samples):
    """A picture of 51x37 pixels, which is drawn many times as large."""
    return samples / "odd.png"


class Visit:
    """A page that is open, and what it has asked for and complained of."""

    def __init__(self, browser, url, **options):
        self.page = browser.new_page(**options)
        self.page.set_default_timeout(60_000)
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda told: self.complaints.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def drop(self, path):
        self.page.set_input_files("input[type=file]", str(path))

    def segment(self, path):
        self.drop(path)
        self.page.wait_for_selector("#view .stage:not([hidden])")
        self.page.wait_for_selector("#view .message >> text=Point at")

    def place(self, x, y):
        """Return where the middle of a pixel of the 51x37 picture is on the page."""
        canvas = self.page.locator("#view canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        return box["x"] + (x + 0.5) / 51 * box["width"], box["y"] + (y + 0.5) / 37 * box["height"]

    def says(self):
        return self.page.locator("#view .message").inner_text()

    def seen(self):
        """Return the middles of the picture's pixels as they are on the screen, int (37, 51, 3)."""
        stage = self.page.locator("#view .stage")
        screen = np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB"), int)
        rows, columns = ((np.arange(n) + 0.5) / n * edge for n, edge in zip((37, 51), screen.shape, strict=False))
        return screen[rows.astype(int)[:, None], columns.astype(int)]

    def labels(self, tmp_path):
        """Download the label PNG and return its content."""
        with self.page.expect_download() as download:
            self.page.click("#view .download")
        assert download.value.suggested_filename == "odd_labels.png"
        download.value.save_as(tmp_path / "downloaded.png")
        return (tmp_path / "downloaded.png").read_bytes()


@pytest.fixture
def visit(chromium, served):
    visit = Visit(chromium, served.url, viewport=DESKTOP)
    yield visit
    assert [url for url in visit.requests if OUTSIDE.match(url)] == []
    assert visit.complaints == []


def pixels_of(file):
    return np.asarray(Image.open(file))


def test_the_overlay_is_on_the_screen(visit, model, file):
    visit.segment(file)
    picture = pixels_of(file)
    labels = ccnet.predict(model, picture).labels
    assert len(np.unique(labels)) > 2
    for opacity in (50, 0, 100):
        visit.page.locator("#view .opacity").fill(str(opacity))
        expected = render.overlay(picture, labels, model.config.palette, opacity / 100)
        assert np.abs(visit.seen() - expected).max() <= 2


def test_the_class_under_the_mouse_is_named(visit, model, file):
    visit.segment(file)
    labels = ccnet.predict(model, file).labels
    assert visit.page.locator("#view canvas").bounding_box()["width"] > 4 * 51
    for x, y in [(0, 0), (50, 0), (0, 36), (50, 36), (17, 20), (18, 20), (33, 7), (9, 30)]:
        visit.page.mouse.move(*visit.place(x, y))
        name = model.config.classes[labels[y, x]]
        assert visit.says() == f"{name} (x {x}, y {y})"
        assert visit.page.locator("#view .legend .here").inner_text().split("\t")[1] == name
    visit.page.mouse.move(0, 0)
    assert visit.says().startswith("Point at the picture")


def test_the_legend_has_the_areas(visit, model, file):
    visit.segment(file)
    classes = areas(ccnet.predict(model, file).labels, model.config.classes)["classes"]
    expected = sorted((part for part in classes if part["pixels"]), key=lambda part: -part["pixels"])
    rows = visit.page.locator("#view .legend tr").all_inner_texts()
    assert rows == [f"\t{part['name']}\t{100 * part['share']:.1f} %" for part in expected]
    colours = visit.page.eval_on_selector_all("#view .legend b", "all => all.map(one => one.style.background)")
    assert colours == ["rgb({}, {}, {})".format(*model.config.palette[part["index"]]) for part in expected]


@pytest.mark.parametrize("point", [(33, 18), (50, 36), (0, 0)])
def test_a_click_shows_what_that_pixel_looks_at(visit, model, file, point):
    visit.segment(file)
    visit.page.mouse.click(*visit.place(*point))
    visit.page.wait_for_function("document.querySelectorAll('.image-frame img').length == 2")
    maps = [ccnet.attention_map(model, file, point=point, recurrence=step) for step in (1, 2)]
    expected = render.attention_panels(pixels_of(file), point, maps)[1:]
    for image, drawing in zip(visit.page.locator(".image-frame img").all(), expected, strict=True):
        content = urllib.request.urlopen(image.get_attribute("src")).read()
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), drawing)


def test_the_download_is_the_file_of_predict(visit, model, file, run, tmp_path):
    visit.segment(file)
    model.save_pretrained(tmp_path / "weights")
    assert run("predict", file, "--model", tmp_path / "weights", "--out", tmp_path).returncode == 0
    assert visit.labels(tmp_path) == (tmp_path / "odd_labels.png").read_bytes()


def test_every_way_answers_as_predict_does(visit, model, file, tmp_path):
    visit.segment(file)
    for words, options in (
        ("windows of 512x512", {"mode": "slide", "crop": (512, 512), "stride": (341, 341)}),
        ("six scales + mirror images", {"scales": TTA_SCALES, "flip": True}),
        ("whole picture", {}),
    ):
        visit.page.get_by_label(words).check()
        labels = ccnet.predict(model, file, **options).labels
        expected = render.png(render.label_png(labels, model.config.palette))
        for _ in range(40):  # the answer before stays until the next one is here
            visit.page.wait_for_timeout(250)
            if visit.labels(tmp_path) == expected:
                break
        assert visit.labels(tmp_path) == expected


def test_a_sample_can_be_picked(visit, model, samples):
    visit.page.click("button[aria-label='Thumbnail 2 of 2']")
    visit.page.wait_for_selector("#view .stage:not([hidden])")
    assert visit.page.evaluate("document.querySelector('#view canvas').width") == 40


def write(kind, path, picture):
    """Write a file that must be refused."""
    image = Image.fromarray(picture)
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "half":
        image.save(path)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "moving":
        image.save(path, format="GIF", save_all=True, append_images=[Image.fromarray(255 - picture)])
    elif kind == "deep":
        Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(path)
    elif kind == "many":
        Image.new("RGB", (1000, 501)).save(path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("text", "a.png: not a picture. Give a PNG, JPEG, WEBP, BMP, TIFF, GIF or PPM file."),
        ("half", "a.png: damaged or unreadable ("),
        ("moving", "a.png: holds several pictures. Save one of them as PNG."),
        ("deep", "a.png: has 16 bit or float pixels (mode I;16). Save it with 8 bits a channel."),
        ("many", "a.png: 1000x501 is more than 500000 pixels. Make it smaller."),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_in_the_page(visit, file, tmp_path, kind, says):
    visit.segment(file)
    write(kind, tmp_path / "a.png", pixels_of(file))
    visit.page.click("button[aria-label='Clear']")
    visit.page.wait_for_selector("#view .stage", state="hidden")
    visit.drop(tmp_path / "a.png")
    visit.page.wait_for_selector("#view .message.error")
    assert visit.says().startswith(says)
    assert not visit.page.locator("#view .stage").is_visible()
    assert not visit.page.locator("#view .legend").is_visible()


def test_a_file_that_is_too_large_is_an_error_in_the_page(chromium, served, tmp_path):
    visit = Visit(chromium, served.url, viewport=DESKTOP)
    (tmp_path / "large.png").write_bytes(bytes(2**21 + 1))
    visit.drop(tmp_path / "large.png")
    told = visit.page.wait_for_selector(".toast-body.error").inner_text()
    assert told.endswith('exceed the maximum allowed size of 2.0 Mb: "large.png"')


def test_the_server_refuses_what_the_page_would_not_send(served):
    with pytest.raises(urllib.error.HTTPError) as refused:
        upload(served.url, bytes(2**21 + 1))
    assert refused.value.code == 413
    refused.value.close()
    assert not [path for path in served.files.rglob("*") if path.is_file() and path.stat().st_size > 2**21]


@pytest.mark.parametrize("path", ["/etc/passwd", "http://192.0.2.1/picture.png", "http://example.com/picture.png"])
def test_a_request_cannot_name_what_was_not_uploaded(served, path):
    join_queue(served.url, path, "thief")
    with urllib.request.urlopen(f"{served.url}gradio_api/queue/data?session_hash=thief") as lines:
        told = next(line for line in lines if b"process_completed" in line)
    assert json.loads(told[5:])["success"] is False


def upload(url, content):
    """Send a file, and return where the server has put it."""
    head = b"--limit\r\nContent-Disposition: form-data; name=files; filename=a.png\r\n\r\n"
    return post(
        f"{url}gradio_api/upload", head + content + b"\r\n--limit--\r\n", "multipart/form-data; boundary=limit"
    )[0]


def join_queue(url, path, session):
    """Ask for a segmentation that takes a while, and do not wait for it."""
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "six scales + mirror images"]
    call = {"data": data, "fn_index": SEGMENT, "session_hash": session}
    post(f"{url}gradio_api/queue/join", json.dumps(call).encode(), "application/json")


def post(url, body, kind):
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind})) as answer:
        return json.load(answer)


def test_the_page_fits_a_phone_and_a_tap_works(chromium, served, model, file):
    visit = Visit(chromium, served.url, viewport=PHONE, has_touch=True)
    visit.segment(file)
    visit.page.touchscreen.tap(*visit.place(33, 18))
    visit.page.wait_for_function("document.querySelectorAll('.image-frame img').length == 2")
    name = model.config.classes[ccnet.predict(model, file).labels[18, 33]]
    assert visit.says() in (
        f"{name} (x 33, y 18)",
        "Point at the picture for its classes, click for what a pixel looks at.",
    )
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_page_fits_a_desktop(visit, file):
    visit.segment(file)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= DESKTOP["width"]
    assert visit.page.evaluate("document.title") == "CCNet"
    assert "/weights: 4 classes, criss-cross attention, R = 2, on " in visit.page.locator("body").inner_text()


def test_a_network_without_attention_says_so(chromium, serve, file):
    with serve(ccnet.CCNet.from_config("ccnet_tiny", recurrence=0)) as served:
        visit = Visit(chromium, served.url)
        visit.segment(file)
        visit.page.mouse.click(*visit.place(33, 18))
        assert visit.page.get_by_text("This network has no criss-cross attention").is_visible()
        assert "click" not in visit.says()
        assert visit.page.locator(".image-frame").count() == 0
        assert visit.complaints == []


def test_a_network_with_one_step_shows_one_map(chromium, serve, file):
    with serve(ccnet.CCNet.from_config("ccnet_tiny", recurrence=1)) as served:
        visit = Visit(chromium, served.url)
        visit.segment(file)
        visit.page.mouse.click(*visit.place(33, 18))
        visit.page.wait_for_function("document.querySelectorAll('.image-frame img').length == 1")
        assert visit.complaints == []


# The last one: what waits then would keep the others waiting.
def test_a_full_queue_says_so_in_the_page(chromium, served, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (700, 700)).save(buffer, format="PNG")
    path = upload(served.url, buffer.getvalue())
    visit = Visit(chromium, served.url, viewport=DESKTOP)
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    with contextlib.suppress(urllib.error.HTTPError):  # 503, when the queue is full
        for index in range(40):
            join_queue(served.url, path, f"other{index}")
    visit.drop(tmp_path / "a.png")
    told = visit.page.wait_for_selector(".toast-body.error")
    assert "This application is currently busy. Please try again." in told.inner_text()
