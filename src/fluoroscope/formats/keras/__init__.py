"""Keras files of every version: their architecture and weights in one canonical form, and that as ONNX."""
