"""The ways in which an optimizer with trust ratios can step, all of them on CPU tensors."""

from __future__ import annotations

import pytest

from hpc_adabatch.optim import kernels, layerwise


@pytest.fixture(params=["fused", "plain", "device"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Layer by layer in torch's fused kernels, the same without them, all layers together as on a GPU."""
    if request.param == "plain":
        monkeypatch.setattr(kernels, "has_fused", lambda _: False)
    if request.param == "device":
        monkeypatch.setattr(layerwise, "on_host", lambda _: False)
    return str(request.param)
