"""Pictures: read at full depth from any file, and prepared for a network, every step stated."""

from fluoroscope.images.image import Image, to_levels
from fluoroscope.images.preprocessing import Prepared, Preprocessing, describe, preprocess
from fluoroscope.images.reading import MAX_PIXELS, open_image

__all__ = [
    "MAX_PIXELS",
    "Image",
    "Prepared",
    "Preprocessing",
    "describe",
    "open_image",
    "preprocess",
    "to_levels",
]
