"""Scores as a table on the terminal."""

from collections.abc import Sequence

from ccnet_train.bootstrap import Interval
from ccnet_train.metrics import Scores


def table(scores: Scores, classes: Sequence[str], miou: Interval) -> str:
    """Return the scores in percent: three totals, then IoU and accuracy per class ("-" where a class is absent).

    `miou` is the interval of the mIoU over pictures.
    """
    width = max(map(len, classes))
    around = f"{_percent(miou.low)} to {_percent(miou.high)}"
    lines = [f"mIoU {_percent(scores.miou)} ({around})  mAcc {_percent(scores.macc)}  aAcc {_percent(scores.aacc)}", ""]
    lines.append(f"{'class':{width}}    IoU    Acc")
    for name, iou, accuracy in zip(classes, scores.iou, scores.accuracy, strict=True):
        lines.append(f"{name:{width}} {_percent(iou):>6} {_percent(accuracy):>6}")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return "-" if share != share else f"{100 * share:.2f}"
