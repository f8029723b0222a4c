"""torchvision, made importable beside a CPU build of torch: the package imports it through this module.

torchvision's PyPI wheel is a CUDA build. Beside a CPU torch its C++ library cannot load, and the import fails when it
decorates two operators that this library would have declared (non-maximum suppression of boxes, which the package never
calls). Declaring their schemas here lets models, datasets and transforms work.
"""

from __future__ import annotations

import sys
import warnings

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # the declarations live as long as this object

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Failed to load image Python extension")
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            _library.define(schema)  # type: ignore[no-untyped-call]
        import torchvision
    from torchvision import datasets, models

__all__ = ["datasets", "models", "torchvision"]
