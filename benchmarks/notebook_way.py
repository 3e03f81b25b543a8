"""Draw a network's activations as notebooks do: Keras, then matplotlib. What Fluoroscope is compared with.

Two variants, after two widely copied notebooks:

``lab``
    One figure with a subplot a channel, 16 a row, saved as one PDF. Layers 0 to 7 of ``lab.h5``, 150x150.
``vgg``
    One figure a layer with the channels in a grid, 16 a row, each saved as a PNG into a folder. The
    eighteen convolution and pooling layers of ``vgg.h5``, 300x300.

Both load the picture, stretch it to the network's size and divide by 255; run a model with all layers as
outputs; and draw ``(x - mean) / std * 64 + 128``, clipped to 0..255, channel by channel. Written as a user
would, neither slowed nor sped up, but correct where the notebooks were not: names go with their own layers,
the last layer is there, a channel count that is no multiple of 16 loses no channel, a map that is not
square is not cut, a flat channel is not divided by zero. A figure is closed once it is saved.

    python benchmarks/notebook_way.py lab MODEL.h5 PICTURE OUT.pdf
    python benchmarks/notebook_way.py vgg MODEL.h5 PICTURE OUT_DIR
"""

import argparse
import math
import os
import resource
import sys
import time

start = time.perf_counter()  # before the imports: they are part of what a user waits for

import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from tf_keras import models  # noqa: E402
from tf_keras.models import load_model  # noqa: E402
from tf_keras.preprocessing import image  # noqa: E402

COLUMNS = 16


def picture_tensor(path, size):
    """The picture as a batch of one, ``(1, *size, 3)`` in [0, 1]."""
    img = image.load_img(path, target_size=size)
    img_tensor = image.img_to_array(img)
    img_tensor = np.expand_dims(img_tensor, axis=0)
    img_tensor /= 255.0
    return img_tensor


def run(model, layers, img_tensor):
    """Pairs of a layer's name and its activation, ``(1, height, width, channels)``."""
    activation_model = models.Model(inputs=model.input, outputs=[layer.output for layer in layers])
    activations = activation_model.predict(img_tensor)
    return list(zip([layer.name for layer in layers], activations, strict=True))


def palatable(channel_image):
    """A channel as grey levels: its mean at 128, one standard deviation 64 levels."""
    channel_image -= channel_image.mean()
    std = channel_image.std()
    if std > 0:
        channel_image /= std
    channel_image *= 64
    channel_image += 128
    return np.clip(channel_image, 0, 255).astype("uint8")


def lab(named_activations, out):
    """All channels of all layers in one figure, a subplot each; `out` is the PDF."""
    total_features = sum(activation.shape[-1] for _, activation in named_activations)
    n_rows = math.ceil(total_features / COLUMNS)
    fig, axes = plt.subplots(nrows=n_rows, ncols=COLUMNS, figsize=(COLUMNS, n_rows * 1.5))

    iteration = 0
    for layer_name, layer_activation in named_activations:
        for ch_idx in range(layer_activation.shape[-1]):
            ax = axes[iteration // COLUMNS, iteration % COLUMNS]
            ax.imshow(palatable(layer_activation[0, :, :, ch_idx]), aspect="auto", cmap="viridis")
            ax.get_xaxis().set_ticks([])
            ax.get_yaxis().set_ticks([])
            if ch_idx == 0:
                ax.set_title(layer_name, fontsize=10)
            iteration += 1
    for ax in axes.flat[iteration:]:
        ax.axis("off")

    fig.subplots_adjust(hspace=1.25)
    plt.savefig(out)
    plt.close(fig)


def vgg(named_activations, out):
    """The channels of each layer in one grid, a figure each; `out` is the folder of the PNGs."""
    os.makedirs(out, exist_ok=True)
    for layer_name, layer_activation in named_activations:
        _, height, width, n_features = layer_activation.shape
        n_rows = math.ceil(n_features / COLUMNS)
        display_grid = np.zeros((height * n_rows, COLUMNS * width))
        for channel in range(n_features):
            row, col = divmod(channel, COLUMNS)
            display_grid[row * height : (row + 1) * height, col * width : (col + 1) * width] = palatable(
                layer_activation[0, :, :, channel]
            )

        figure = plt.figure(figsize=(display_grid.shape[1] / width, display_grid.shape[0] / height))
        plt.title(layer_name)
        plt.grid(False)
        plt.imshow(display_grid, aspect="auto", cmap="viridis")
        plt.savefig(os.path.join(out, f"{layer_name}.png"))
        plt.close(figure)


VARIANTS = {  # the drawing, the size of the network's input, and which layers are drawn
    "lab": (lab, (150, 150), slice(0, 8)),
    "vgg": (vgg, (300, 300), slice(1, 19)),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("model", metavar="MODEL.h5", help="lab.h5 or vgg.h5, written by benchmarks/models.py")
    parser.add_argument("picture", metavar="PICTURE")
    parser.add_argument("out", metavar="OUT", help="a PDF for lab, a folder for vgg")
    args = parser.parse_args()
    draw, size, which = VARIANTS[args.variant]

    times = {"import": time.perf_counter() - start}

    def lap(stage):
        times[stage] = time.perf_counter() - start - sum(times.values())

    model = load_model(args.model)
    lap("load")
    named_activations = run(model, model.layers[which], picture_tensor(args.picture, size))
    lap("run")
    draw(named_activations, args.out)
    lap("draw")

    channels = sum(activation.shape[-1] for _, activation in named_activations)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    megabytes = peak / (1e6 if sys.platform == "darwin" else 1e3)  # macOS counts bytes, Linux kilobytes
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in times.items())
    print(f"{len(named_activations)} layers, {channels} channels: {stages}; peak memory {megabytes:.0f} MB")


if __name__ == "__main__":
    main()
