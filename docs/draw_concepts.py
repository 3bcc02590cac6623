"""Draw the pictures of the pages in concepts/ as SVG: python docs/draw_concepts.py [FOLDER].

The same script gives the same bytes; a test compares them with the files that are committed.
"""

import math
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

Position = tuple[int, ...]
Point = tuple[float, float]

INK, LINE, PALE = "#1f2933", "#9aa5b1", "#f1f3f5"
BLUE, ORANGE, GREEN = "#7fb2e5", "#f4a259", "#8cc084"
CELL = 22

HEIGHT, WIDTH = 7, 9
HERE, FAR = (2, 2), (5, 7)
"""(row, column) of the pixel that looks, and of one that it reaches in two steps."""

CLIP = (3, 5, 6)
CLIP_HERE = (1, 2, 2)
"""(frame, row, column)."""

NETWORK = (
    ("picture", (3, 512, 1024)),
    ("backbone: ResNet-50, stride 8", (2048, 64, 128)),
    ("reduce: 3x3 convolution", (512, 64, 128)),
    ("criss-cross attention, step 1", (512, 64, 128)),
    ("criss-cross attention, step 2, same weights", (512, 64, 128)),
    ("refine: 3x3 convolution", (512, 64, 128)),
    ("concatenate with the backbone's features", (2560, 64, 128)),
    ("fuse: 3x3 convolution", (512, 64, 128)),
    ("classify: 1x1 convolution", (19, 64, 128)),
    ("upsample, bilinear", (19, 512, 1024)),
)
"""Each part and the shape (channels, height, width) of what leaves it."""

NEAR_MARGIN, FAR_MARGIN = 0.5, 1.5
"""`variance_margin` and `distance_margin` of the category consistent loss, as published."""

BLUE_FEATURES = ((1.7, 2.4), (2.2, 2.0), (2.4, 2.6), (0.8, 1.6), (2.2, 3.4))
GREEN_FEATURES = ((4.6, 2.6), (4.3, 2.1), (4.9, 2.2), (5.6, 3.2), (4.1, 2.4))
"""Two channels of a few pixels of two classes."""


def cross(here: Position, size: Position) -> set[Position]:
    """Return what `here` attends to in one step: every position that differs in at most one coordinate."""
    lines = ({(*here[:axis], i, *here[axis + 1 :]) for i in range(size[axis])} for axis in range(len(size)))
    return set().union(*lines)


def text(at: Point, words: str, *, size: int = 13, anchor: str = "middle", weight: str = "normal") -> str:
    """Return a line of text whose baseline is at `at`."""
    x, y = at
    style = f'font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{INK}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{words}</text>'


def box(corner: Point, size: Point, fill: str = "white", stroke: str = LINE, more: str = "") -> str:
    """Return a rectangle with its upper left corner at `corner`."""
    (x, y), (width, height) = corner, size
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" stroke="{stroke}"{more}/>'


def line(start: Point, end: Point, *, arrow: bool = False, dashed: bool = False, colour: str = INK) -> str:
    """Return a straight line."""
    (x, y), (u, v) = start, end
    more = ' marker-end="url(#arrow)"' * arrow + ' stroke-dasharray="5 4"' * dashed
    return f'<line x1="{x:g}" y1="{y:g}" x2="{u:g}" y2="{v:g}" stroke="{colour}" stroke-width="1.6"{more}/>'


def circle(centre: Point, radius: float, fill: str = "none", stroke: str = INK, more: str = "") -> str:
    """Return a circle."""
    return f'<circle cx="{centre[0]:g}" cy="{centre[1]:g}" r="{radius:g}" fill="{fill}" stroke="{stroke}"{more}/>'


def page(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """Return a whole SVG file on white, with `title` for those who cannot see it."""
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>'
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">'
    )
    paper = box((0, 0), (width, height), stroke="none")
    return "\n".join([head, f"<title>{title}</title>", arrow, paper, *parts, "</svg>", ""])


def middle(corner: Point, position: Position) -> Point:
    """Return the middle of the cell at (row, column) of a grid."""
    row, column = position
    return corner[0] + (column + 0.5) * CELL, corner[1] + (row + 0.5) * CELL


def grid(corner: Point, size: Position, seen: Collection[Position], marks: dict[Position, str]) -> list[str]:
    """Return the cells of a map; `seen` ones are blue, those in `marks` have the colour that stands there."""
    cells = []
    for row in range(size[0]):
        for column in range(size[1]):
            position = (row, column)
            fill = marks.get(position, BLUE if position in seen else PALE)
            cells.append(box((corner[0] + column * CELL, corner[1] + row * CELL), (CELL, CELL), fill))
    return cells


def draw_steps() -> str:
    """What a pixel sees after one step, how a far one reaches it, what it sees after two steps."""
    size, corners = (HEIGHT, WIDTH), [(20 + panel * 235, 48) for panel in range(3)]
    everything = {(row, column) for row in range(HEIGHT) for column in range(WIDTH)}
    seen = cross(HERE, size)
    turns = [(HERE[0], FAR[1]), (FAR[0], HERE[1])]
    parts = grid(corners[0], size, seen, {HERE: ORANGE})
    parts += grid(corners[1], size, [], {HERE: ORANGE, FAR: BLUE, turns[0]: GREEN, turns[1]: GREEN})
    parts += grid(corners[2], size, everything, {HERE: ORANGE})
    for turn in turns:
        for start, end in ((FAR, turn), (turn, HERE)):
            parts.append(line(middle(corners[1], start), middle(corners[1], end), arrow=True))
    titles = ("After one step", "The way of a far pixel", "After two steps")
    notes = (f"{len(seen)} of {len(everything)} positions", "step 1 to a corner, step 2 on", "all positions")
    for (x, y), title, note in zip(corners, titles, notes, strict=True):
        centre = x + WIDTH * CELL / 2
        parts.append(text((centre, y - 16), title, weight="bold"))
        parts.append(text((centre, y + HEIGHT * CELL + 24), note))
    return page(708, 250, "What the orange pixel sees after one and after two criss-cross steps", parts)


def draw_softmax() -> str:
    """The energies of one pixel along column and row, and the weights that one softmax makes of them."""
    column = [0.4, -0.6, None, 1.3, 0.2, -1.0, 0.9]
    row = [-0.3, 0.8, 2.0, 0.1, -0.9, 0.6, 1.6, -0.4, 0.3]
    energies = [*column, *row]
    total = sum(math.exp(energy) for energy in energies if energy is not None)
    parts = [text((20, 30), "energy = query . key", anchor="start", weight="bold")]
    parts += [text((20, 190), "weight = softmax over all 15 energies together", anchor="start", weight="bold")]
    for index, energy in enumerate(energies):
        x = 24 + index * 30 + (16 if index >= HEIGHT else 0)
        if energy is None:
            parts += [text((x + 10, 77), "not", size=11), text((x + 10, 90), "twice", size=11)]
            continue
        fill = ORANGE if index == HEIGHT + HERE[1] else BLUE
        top, height = (96 - energy * 26, energy * 26) if energy > 0 else (96, -energy * 26)
        parts.append(box((x, top), (20, height), fill))
        weight = math.exp(energy) / total
        tall = weight * 320
        parts.append(box((x, 300 - tall), (20, tall), fill))
        parts.append(text((x + 10, 296 - tall), f"{weight:.2f}", size=10))
    for y in (96, 300):
        parts += [line((20, y), (226, y), colour=LINE), line((246, y), (516, y), colour=LINE)]
    for y in (146, 320):
        parts += [text((124, y), "its column: H - 1 = 6"), text((380, y), "its row: W = 9, itself among them (orange)")]
    return page(536, 336, "Fifteen energies of one pixel and their joint softmax", parts)


def draw_network() -> str:
    """The network from picture to scores, and the two outputs that only training uses."""
    left, width, step = 60, 330, 54
    parts = []
    for index, (name, shape) in enumerate(NETWORK):
        top = 16 + index * step
        fill = ORANGE if name.startswith("criss") else PALE
        parts.append(box((left, top), (width, 36), fill, more=' rx="5"'))
        parts.append(text((left + width / 2, top + 23), name))
        parts.append(text((left + width + 10, top + 23), " x ".join(map(str, shape)), anchor="start", size=12))
        if index:
            parts.append(line((left + width / 2, top - step + 36), (left + width / 2, top - 2), arrow=True))
    backbone, joined = 16 + step + 18, 16 + 6 * step + 18
    parts += [line((left, backbone), (30, backbone)), line((30, backbone), (30, joined))]
    parts.append(line((30, joined), (left - 2, joined), arrow=True))
    for index, name in ((1, "auxiliary head on stage 3 (1024 channels)"), (4, "1x1 to 16 channels: consistent loss")):
        y = 16 + index * step + 36 + 9
        parts.append(text((left + width + 10, y), f"training: {name}", anchor="start", size=11))
    return page(690, 16 + len(NETWORK) * step, "CCNet with R-50 on a picture of 512 x 1024 pixels, 19 classes", parts)


def pull(distance: float) -> float:
    """Return phi of the category consistent loss: what a pixel at this distance from its class mean costs."""
    if distance <= NEAR_MARGIN:
        return 0.0
    if distance <= FAR_MARGIN:
        return (distance - NEAR_MARGIN) ** 2
    return distance - FAR_MARGIN + (FAR_MARGIN - NEAR_MARGIN) ** 2


def draw_loss() -> str:
    """Features of two classes to scale, with what pulls and what pushes; and phi, the cost of a distance."""
    unit, means = 60, []
    parts = [text((20, 26), "Features of two classes, their means and margins", anchor="start", weight="bold")]
    for fill, features in ((BLUE, BLUE_FEATURES), (GREEN, GREEN_FEATURES)):
        mean = (sum(x for x, _ in features) / len(features), sum(y for _, y in features) / len(features))
        means.append(mean)
        parts.append(circle((mean[0] * unit, mean[1] * unit), NEAR_MARGIN * unit, more=' stroke-dasharray="4 3"'))
        for x, y in features:
            dx, dy = mean[0] - x, mean[1] - y
            if math.hypot(dx, dy) > NEAR_MARGIN:
                end = ((x + 0.4 * dx) * unit, (y + 0.4 * dy) * unit)
                parts.append(line((x * unit, y * unit), end, arrow=True))
            parts.append(circle((x * unit, y * unit), 4, fill))
        parts.append(circle((mean[0] * unit, mean[1] * unit), 5, INK))
    parts += [line((112, 226), (72, 226), arrow=True), line((286, 226), (326, 226), arrow=True)]
    apart = math.dist(*means)
    parts.append(text((200, 262), f"the means are pushed to {2 * FAR_MARGIN:g} apart, here {apart:.2f}", size=12))
    parts.append(text((200, 280), f"a pixel within {NEAR_MARGIN:g} of its mean (dashed) costs nothing", size=12))
    left, floor, scale = 450, 240, 80
    parts.append(text((left - 10, 26), "phi(d) over the distance d", anchor="start", weight="bold"))
    parts += [line((left, floor), (left + 2.6 * scale, floor), arrow=True), line((left, floor), (left, 50), arrow=True)]
    curve = [(d / 20, pull(d / 20)) for d in range(51)]
    points = " ".join(f"{left + d * scale:g},{floor - cost * scale:.4g}" for d, cost in curve)
    parts.append(f'<polyline points="{points}" fill="none" stroke="{INK}" stroke-width="2"/>')
    for margin, name in ((NEAR_MARGIN, "0.5"), (FAR_MARGIN, "1.5")):
        x = left + margin * scale
        parts += [line((x, floor), (x, floor - 160), dashed=True, colour=LINE), text((x, floor + 18), name, size=12)]
    for d, words in ((0.25, "0"), (1.0, "square"), (2.0, "line")):
        parts.append(text((left + d * scale, floor + 38), words, size=12))
    return page(690, 300, "The category consistent loss", parts)


def draw_clip() -> str:
    """What a pixel of a clip attends to in one step: its row, its column, and its place in every frame."""
    frames, height, width = CLIP
    seen, parts = cross(CLIP_HERE, CLIP), []
    for frame in range(frames):
        corner = (20 + frame * (width * CELL + 30), 40)
        inside = {(row, column) for at, row, column in seen if at == frame}
        marks: dict[Position, str] = {CLIP_HERE[1:]: ORANGE} if frame == CLIP_HERE[0] else {}
        parts += grid(corner, (height, width), inside, marks)
        parts.append(text((corner[0] + width * CELL / 2, 26), f"frame {frame + 1}", weight="bold"))
    note = f"{frames} + {height} + {width} - 2 = {len(seen)} of {math.prod(CLIP)} positions"
    parts.append(text((246, 40 + height * CELL + 26), note))
    return page(492, 190, "What the orange pixel of a clip attends to in one step", parts)


def draw_icon() -> str:
    """A cross in a small grid, for the tab of the browser."""
    size, here = (5, 5), (2, 2)
    return page(5 * CELL, 5 * CELL, "CCNet", grid((0, 0), size, cross(here, size), {here: ORANGE}))


PICTURES = {
    "icon": draw_icon,
    "steps": draw_steps,
    "softmax": draw_softmax,
    "network": draw_network,
    "category-consistent": draw_loss,
    "clip": draw_clip,
}


def main() -> int:
    """Write every picture."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "concepts"
    for name, draw in PICTURES.items():
        (folder / f"{name}.svg").write_text(draw(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
