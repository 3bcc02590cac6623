import io
import subprocess
import sys

import numpy as np
from PIL import Image

from ccnet_train import chart

HOSTILE = ("a$\\frac{1", "x" * 100, "日本語 🚲", "line\nbreak\x00", "<b>&amp;</b>", "", "$$$")


def test_names_of_any_kind_are_drawn_as_they_are():
    drawn = chart.figure(3, 3)
    axes = drawn.add_axes((0, 0, 1, 1))
    chart.name_ticks(axes.yaxis, HOSTILE)
    with Image.open(io.BytesIO(chart.png(drawn))) as picture:
        assert picture.format == "PNG"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["a$\\frac{1", "x" * 31 + "…", "日本語 🚲", "line break", "<b>&amp;</b>", "unnamed", "$$$"]


def test_a_picture_is_cut_to_what_is_drawn():
    drawn = chart.figure(2, 2)
    drawn.add_axes((0, 0, 1, 1)).set_axis_off()
    drawn.text(0.5, 0.5, "in the middle")
    with Image.open(io.BytesIO(chart.png(drawn))) as picture:
        assert np.asarray(picture).shape[0] <= 2 * chart.DOTS + 0.2 * chart.DOTS + 2


def test_the_chart_room_loads_matplotlib_when_a_chart_is_drawn_and_never_pyplot():
    program = (
        "import sys; from ccnet_train import chart; assert 'matplotlib' not in sys.modules; "
        "chart.png(chart.figure(1, 1)); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
