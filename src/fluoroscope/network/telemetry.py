"""onnxruntime is to keep to itself."""

from __future__ import annotations

import os


def forbid_telemetry() -> None:
    """To be called before onnxruntime is imported.

    From 1.29 on its official builds write files into the user's cache, and send usage data over the network,
    unless this variable is set before they start
    (https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md). What a user has set is left alone.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
