"""What an evaluation of a Mask R-CNN found: the objects of every picture, from which all scores follow."""

from dataclasses import dataclass
from functools import cached_property

from ccnet_train.detection.average_precision import Kind, Precision, average_precision, results_of, truth_of
from ccnet_train.detection.coco_records import PictureObjects

KINDS: tuple[Kind, ...] = ("box", "mask")
PLURAL: dict[Kind, str] = {"box": "boxes", "mask": "masks"}
COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
"""What people call :data:`~ccnet_train.detection.average_precision.TOTALS`."""


@dataclass(frozen=True, kw_only=True)
class InstanceEvaluation:
    """The `pictures` of a split, in its order, with objects of K classes."""

    classes: tuple[str, ...]
    pictures: tuple[PictureObjects, ...]

    @property
    def has_truth(self) -> bool:
        """Whether there is any true object but crowds."""
        return any(not annotation["iscrowd"] for picture in self.pictures for annotation in picture.truth)

    @cached_property
    def precision(self) -> dict[Kind, Precision]:
        """The average precisions of boxes and of masks."""
        truth = truth_of(self.pictures, self.classes)
        return {kind: average_precision(truth, results_of(self.pictures, kind), kind) for kind in KINDS}

    @property
    def metrics(self) -> dict[str, float]:
        """`box_ap`, `mask_ap` and the others, from 0 to 1; those of sizes that no object has are left out."""
        numbers = {f"{kind}_{name}": value for kind in KINDS for name, value in self.precision[kind].totals.items()}
        return {name: value for name, value in numbers.items() if value == value}

    def line(self) -> str:
        """Return AP and AP50 of boxes and masks on one line."""
        boxes, masks = (self.precision[kind].totals for kind in KINDS)
        return (
            f"mask AP {masks['ap']:.4f}  AP50 {masks['ap50']:.4f}  box AP {boxes['ap']:.4f}  AP50 {boxes['ap50']:.4f}"
        )

    def table(self) -> str:
        """Return two rows of totals in percent, then the AP of each class ("-" where a class has no object)."""
        width = max(len("class"), *map(len, self.classes))
        lines = [" ".join([f"{'':{width}}", *(f"{name:>6}" for name in COLUMNS)])]
        for kind in KINDS:
            numbers = map(_percent, self.precision[kind].totals.values())
            lines.append(" ".join([f"{PLURAL[kind]:{width}}", *numbers]))
        lines += ["", f"{'class':{width}}  boxes  masks"]
        rows = zip(self.classes, *(self.precision[kind].classes for kind in KINDS), strict=True)
        return "\n".join([*lines, *(f"{name:{width}} {_percent(box)} {_percent(mask)}" for name, box, mask in rows)])


def _percent(share: float) -> str:
    return f"{'-' if share != share else f'{100 * share:.2f}':>6}"
