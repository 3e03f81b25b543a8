"""Fluoroscope: see a trained network from inside, every channel of every layer."""

__version__ = "0.1.0.dev0"
