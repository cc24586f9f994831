"""Which formats of a subnet are written."""

from __future__ import annotations

import logging

import pytest

from supernets.export import formats as export_formats
from supernets.export.formats import choose_formats


def test_what_can_be_written_is_chosen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_formats(["timm", "pt2"], "mobilenetv3") == ("pt2", "timm")
    assert choose_formats([], "nasbench201") == ()
    assert "timm" not in choose_formats(None, "nasbench201")
    with pytest.raises(ValueError, match="Unknown format 'h5'; choose from pt2, onnx, timm"):
        choose_formats(["h5"], "mobilenetv3")
    with pytest.raises(ValueError, match="timm has no networks of space 'nasbench201'"):
        choose_formats(["timm"], "nasbench201")
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(export_formats, "find_spec", lambda name: None if "x" in name else name)
    assert choose_formats(None, "mobilenetv3") == ("pt2", "timm")
    message = r"ONNX needs onnx, onnxscript, onnxruntime; pip install 'paceline\[onnx\]'"
    assert "subnet.onnx is left out: ONNX needs" in caplog.text
    with pytest.raises(ValueError, match=message):
        choose_formats(["onnx"], "mobilenetv3")
