"""ONNX files: checked, their nodes grouped into layers."""
