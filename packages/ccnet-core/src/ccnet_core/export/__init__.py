"""A network as a file that other programs run: ONNX, torch.export, AOTInductor.

Every file takes pictures as bytes, uint8 (B, 3, H, W) RGB, and normalises them itself. It gives labels at the size of
the picture and logits, or logits alone. It is compared with the network before it takes its place.
"""

from ccnet_core.export.agreement import Agreement
from ccnet_core.export.aot import Package, export_aot, load_aot
from ccnet_core.export.graph import Output
from ccnet_core.export.onnx_file import export_onnx, require_packages
from ccnet_core.export.program import export_program

__all__ = [
    "Agreement",
    "Output",
    "Package",
    "export_aot",
    "export_onnx",
    "export_program",
    "load_aot",
    "require_packages",
]
