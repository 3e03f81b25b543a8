"""Pictures: read at full depth from any file, and prepared for a network, every step stated."""

from fluoroscope.images.image import Image, to_levels
from fluoroscope.images.input_array import InputArray, open_array
from fluoroscope.images.preprocessing import Prepared, Preprocessing, describe, preprocess
from fluoroscope.images.reading import MAX_PIXELS, open_image

Fed = Prepared | InputArray
"""What one input of a network gets, with all that was done to it."""

__all__ = [
    "MAX_PIXELS",
    "Fed",
    "Image",
    "InputArray",
    "Prepared",
    "Preprocessing",
    "describe",
    "open_array",
    "open_image",
    "preprocess",
    "to_levels",
]
