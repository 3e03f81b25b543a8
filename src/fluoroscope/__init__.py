"""Fluoroscope: see a trained network from inside while it sees a picture.

>>> import fluoroscope as fs
>>> acts = fs.capture(fs.demo.network_path(), fs.demo.image_path())
>>> acts["conv2d_2"].values.shape
(72, 72, 64)
>>> acts.save("Intermediate_Activations_Visualized.pdf")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fluoroscope import demo, errors
    from fluoroscope.activations import Activations, FeatureMap, FeatureMaps
    from fluoroscope.capturing import Groups, capture, capture_many
    from fluoroscope.checking import CheckReport, check
    from fluoroscope.drawing.scaling import Limits, Scaling
    from fluoroscope.drawing.sheet import Sheet
    from fluoroscope.drawing.style import Style
    from fluoroscope.errors import FluoroscopeError
    from fluoroscope.formats import open_network
    from fluoroscope.images import Image, Prepared, Preprocessing, open_image, preprocess
    from fluoroscope.network.budget import Budget
    from fluoroscope.network.protocol import InputSpec, Layer, Network, Provenance, ReceptiveField
    from fluoroscope.network.selection import select
    from fluoroscope.preparing import prepare
    from fluoroscope.statistics.channels import ChannelStatistics

# Where each public name lives: importing the package loads none of them (a start must take a blink).
_HOMES = {
    "Activations": "activations",
    "Budget": "network.budget",
    "ChannelStatistics": "statistics.channels",
    "CheckReport": "checking",
    "FeatureMap": "activations",
    "FeatureMaps": "activations",
    "FluoroscopeError": "errors",
    "Groups": "capturing",
    "Image": "images",
    "InputSpec": "network.protocol",
    "Layer": "network.protocol",
    "Limits": "drawing.scaling",
    "Network": "network.protocol",
    "Prepared": "images",
    "Preprocessing": "images",
    "Provenance": "network.protocol",
    "ReceptiveField": "network.protocol",
    "Scaling": "drawing.scaling",
    "Sheet": "drawing.sheet",
    "Style": "drawing.style",
    "capture": "capturing",
    "capture_many": "capturing",
    "check": "checking",
    "demo": "",
    "errors": "",
    "open_image": "images",
    "open_network": "formats",
    "prepare": "preparing",
    "preprocess": "images",
    "select": "network.selection",
}

__all__ = [
    "Activations",
    "Budget",
    "ChannelStatistics",
    "CheckReport",
    "FeatureMap",
    "FeatureMaps",
    "FluoroscopeError",
    "Groups",
    "Image",
    "InputSpec",
    "Layer",
    "Limits",
    "Network",
    "Prepared",
    "Preprocessing",
    "Provenance",
    "ReceptiveField",
    "Scaling",
    "Sheet",
    "Style",
    "__version__",
    "capture",
    "capture_many",
    "check",
    "demo",
    "errors",
    "open_image",
    "open_network",
    "prepare",
    "preprocess",
    "select",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not home:
        return import_module(f"fluoroscope.{name}")
    value = getattr(import_module(f"fluoroscope.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
