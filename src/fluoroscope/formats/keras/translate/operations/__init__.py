"""Functions that files list among their layers: of ``keras.ops``, of TensorFlow, and of TensorFlow's graphs.

One table of functions (`table`), each by the name that ``keras.ops`` has for it; three lists of what the
three call it and its arguments (`keras_ops`, `tensorflow`, `graph_nodes`). Axes are counted with the batch as
0. What would mix the pictures of a batch has no translation.
"""
