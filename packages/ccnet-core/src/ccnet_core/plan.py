"""How a picture becomes labels."""

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from ccnet_core.checks import LARGEST_SIZE, is_pair, is_positive, require

Mode = Literal["whole", "slide", "fit"]
"""How :class:`InferencePlan` cuts a picture."""

TTA_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales of the published multi-scale figures, each with its mirror image."""


@dataclass(frozen=True, kw_only=True)
class InferencePlan:
    """How a picture becomes labels; the same object in config.json, `predict`, command line and evaluation.

    `mode` "whole" takes the picture as it is. "slide" takes windows of `crop`, every `stride` pixels, both (height,
    width); a crop larger than the picture is cut to it. "fit" fits the picture into `crop`, black around it, takes that
    whole, and leads its scores back to the picture's pixels: see `ccnet_core.fit.Fit`. `scales` resize the
    picture, or the crop of mode "fit"; `flip` adds the mirror image of each; several views are averaged as class
    probabilities. `base_scale` is the published (long edge, short edge) to which `resize="plan"` fits a picture before
    it is scaled; without `resize` it does nothing.
    """

    mode: Mode = "whole"
    crop: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    base_scale: tuple[int, int] | None = None
    resize: Literal["plan"] | None = None

    def __post_init__(self) -> None:
        """Refuse plans that cannot be carried out."""
        require(self.mode in get_args(Mode), f"mode must be 'whole', 'slide' or 'fit', got {self.mode!r}")
        require(self.resize in (None, "plan"), f"resize must be None or 'plan', got {self.resize!r}")
        for name in ("crop", "stride", "base_scale"):
            pair = getattr(self, name)
            require(pair is None or is_pair(pair), f"{name} must be two whole numbers above 0, got {pair!r}")
        if self.mode == "slide":
            require(
                self.crop and self.stride,
                f"mode 'slide' needs crop and stride, each height and width, got {self.crop}, {self.stride}",
            )
        if self.mode == "fit":
            self._require_fit()
        if self.crop and self.stride:
            covered = all(step <= size for step, size in zip(self.stride, self.crop, strict=True))
            require(covered, f"stride {self.stride} must not be larger than crop {self.crop}")
        require(isinstance(self.flip, bool), f"flip must be True or False, got {self.flip!r}")
        positive = isinstance(self.scales, tuple) and all(map(is_positive, self.scales))
        require(self.scales and positive, f"scales must be numbers above 0 in a tuple, got {self.scales!r}")
        if self.resize == "plan":
            require(
                self.base_scale,
                "resize='plan' needs base_scale=(long edge, short edge), and this plan has none. Leave resize out",
            )

    def _require_fit(self) -> None:
        fits = self.crop is not None and all(2 <= edge <= LARGEST_SIZE for edge in self.crop)
        require(fits, f"mode 'fit' needs crop, height and width from 2 to {LARGEST_SIZE} pixels, got {self.crop}")
        require(self.stride is None, f"mode 'fit' has no windows and no stride, got {self.stride}")
        require(self.resize is None, "mode 'fit' sizes the picture itself. Leave resize out")

    def with_options(
        self,
        *,
        mode: Mode | None = None,
        crop: tuple[int, int] | None = None,
        stride: tuple[int, int] | None = None,
        scales: tuple[float, ...] = (1.0,),
        flip: bool = False,
        resize: Literal["plan"] | None = None,
    ) -> "InferencePlan":
        """Return this plan with what is given instead: `mode`, `crop` and `stride` default to its own.

        The others default to one view of the picture at its own size. Raises ConfigError for what does not fit.
        """
        own_stride = None if mode == "fit" else self.stride
        plan = dataclasses.replace(
            self,
            mode=self.mode if mode is None else mode,
            crop=self.crop if crop is None else crop,
            stride=own_stride if stride is None else stride,
            scales=scales,
            flip=flip,
            resize=resize,
        )
        belongs = plan.mode == "slide" or not (stride or (crop and plan.mode == "whole"))
        require(belongs, "crop and stride belong to mode='slide', and crop to mode='fit'")
        return plan
