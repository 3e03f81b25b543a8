"""A canonical Keras model as an ONNX graph with a table of its layers."""

from fluoroscope.formats.keras.translate.translation import translate

__all__ = ["translate"]
