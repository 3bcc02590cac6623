"""What Gradio draws of :mod:`ccnet_core.demo.answers`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ccnet_core.demo.answers import Answers
from ccnet_core.demo.memory import give_back
from ccnet_core.demo.upload import read_upload
from ccnet_core.errors import CCNetError

if TYPE_CHECKING:
    import gradio as gr

WAITING = 16
"""Requests that may wait for the network; it answers one at a time."""

CACHE = (60, 1800)
"""Seconds from one look at the temporary files to the next, and the age at which they are deleted."""

STEPS = ("R = 1: its row and column", "R = 2: every pixel, through the crossings")

T = TypeVar("T")


def build(answers: Answers, samples: Sequence[Path], about: str) -> "gr.Blocks":
    """Return the page, with the pictures `samples` to pick from and `about` under its title.

    Raises PictureError for a sample that is no picture within the limits.
    """
    import gradio as gr

    with gr.Blocks(title="CCNet", analytics_enabled=False, delete_cache=CACHE) as page:
        gr.Markdown(f"# CCNet\n{about}")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                file = gr.File(
                    label=f"Picture of at most {answers.largest / 1e6:g} million pixels",
                    file_types=["image", ".tif", ".tiff", ".bmp"],
                    height=150,
                )
                ways = list(answers.ways())
                way = gr.Radio(ways, value=ways[0], label="How")
                if samples:
                    _add_samples(file, samples, answers.largest)
            with gr.Column(scale=3, min_width=320):
                view = _view(attends=answers.attention() > 0)
                seen = _attention(answers.attention())
        _connect(answers, file, way, view, seen)
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def _view(*, attends: bool) -> "gr.HTML":
    import gradio as gr

    html, css, js = (Path(__file__).with_name(f"view.{ending}").read_text("utf-8") for ending in ("html", "css", "js"))
    return gr.HTML(html_template=html, css_template=css, js_on_load=js, attends=attends, elem_id="view")


def _attention(steps: int) -> "list[gr.Image]":
    """Return where what a pixel looks at is drawn, after each step."""
    import gradio as gr

    if not steps:
        gr.Markdown("This network has no criss-cross attention, so there is nothing to click for.")
    seen = []
    with gr.Row():
        for name in STEPS[:steps]:
            with gr.Column(min_width=240):
                gr.Markdown(name)
                seen.append(
                    gr.Image(show_label=False, format="png", interactive=False, buttons=["download", "fullscreen"])
                )
    return seen


def _add_samples(file: "gr.File", samples: Sequence[Path], largest: int) -> None:
    import gradio as gr

    pictures = [(read_upload(path, largest).permute(1, 2, 0).numpy(), path.stem) for path in samples]
    gallery = gr.Gallery(
        pictures, label="Samples", columns=2, height="auto", allow_preview=False, interactive=False, buttons=[]
    )

    def pick(event: gr.SelectData) -> str:
        return str(samples[event.index])

    gallery.select(pick, outputs=file, show_progress="hidden")


def _connect(answers: Answers, file: "gr.File", way: "gr.Radio", view: "gr.HTML", seen: "list[gr.Image]") -> None:
    import gradio as gr

    def segment(path: str | None, words: str) -> Any:
        drawn = None if path is None else _or_error(lambda: answers.segment(path, words))
        return _outputs([drawn, *[None] * len(seen)])

    def attend(path: str | None, event: gr.EventData) -> Any:
        if path is None:
            raise gr.Error("There is no picture any more. Drop it again.", print_exception=False)
        point: Any = (getattr(event, "x", None), getattr(event, "y", None))
        maps = _or_error(lambda: answers.attend(path, point))
        if isinstance(maps, dict):
            raise gr.Error(maps["error"], print_exception=False)
        return _outputs(maps)

    # One at a time for both together: a second network pass would only slow down the first.
    network: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1}
    gr.on([file.change, way.change], segment, [file, way], [view, *seen], trigger_mode="always_last", **network)
    if seen:
        view.select(attend, [file], [*seen], trigger_mode="always_last", **network)


def _outputs(values: list[Any]) -> Any:
    """Return what Gradio takes for these outputs: of a single one the value itself, not a list of it."""
    return values[0] if len(values) == 1 else values


def _or_error(answer: Callable[[], T]) -> T | dict[str, str]:
    """Return the answer, or what view.js shows instead of a picture that cannot be answered."""
    try:
        return answer()
    except CCNetError as error:
        return {"error": str(error)}
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        return {"error": "Not enough memory for this picture. Make it smaller, or choose windows."}
    finally:
        give_back()
