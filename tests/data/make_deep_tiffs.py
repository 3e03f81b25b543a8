"""Writes deep_tiffs.zip: TIFF pictures by a library that is not ours, with the arrays they hold.

Needs `pip install tifffile imagecodecs`; made with tifffile 2026.3.3. Every pair of choices (type, colours,
compression, predictor, strips or tiles, planes, byte order, BigTIFF) occurs in at least one file.
"""

from __future__ import annotations

import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
import tifffile

HEIGHT, WIDTH = 18, 19
CHOICES = (
    ("u2", "u4", "i1", "i2", "f2", "f4", "f8"),
    ("grey", "rgb"),
    ("none", "lzw", "deflate", "packbits", "zstd"),
    ("", "predictor"),
    ("strip", "strips", "tiles"),
    ("contig", "planes"),
    ("little", "big"),
    ("", "bigtiff"),
)


def pairs(combination):
    return set(itertools.combinations(enumerate(combination), 2))


def covering(rng):
    possible = [
        c
        for c in itertools.product(*CHOICES)
        if not (c[3] and c[2] in ("none", "packbits")) and not (c[5] == "planes" and c[1] == "grey")
    ]
    missing = set().union(*map(pairs, possible))
    while missing:
        tried = [possible[k] for k in rng.choice(len(possible), 200, replace=False)]
        best = max(tried, key=lambda c: len(pairs(c) & missing))
        if found := pairs(best) & missing:
            missing -= found
            yield best


def values(rng, dtype, shape):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        array = rng.random(shape).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        array = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    array[: HEIGHT // 2] = array[:1]  # Something for a compressor to do.
    return array


def written(array, order="<", big=False, **options):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, byteorder=order, bigtiff=big) as writer:
        writer.write(array, metadata=None, software=False, **options)
    return stream.getvalue()


def pictures(rng):
    for dtype, colours, compression, predictor, parts, planes, order, big in sorted(covering(rng)):
        rgb = colours == "rgb"
        array = values(rng, dtype, (HEIGHT, WIDTH, 3) if rgb else (HEIGHT, WIDTH))
        options = {"strips": {"rowsperstrip": 5}, "tiles": {"tile": (16, 16)}, "strip": {}}[parts]
        if rgb:
            options["planarconfig"] = "separate" if planes == "planes" else "contig"
        data = written(
            np.moveaxis(array, -1, 0) if planes == "planes" else array,
            "<" if order == "little" else ">",
            bool(big),
            photometric="rgb" if rgb else "minisblack",
            compression=None if compression == "none" else compression,
            predictor=bool(predictor),
            **options,
        )
        name = (dtype, colours, compression, predictor, parts, planes, order, big)
        yield "-".join(filter(None, name)), data, array
    for bits in (10, 12, 14):
        array = values(rng, "u2", (HEIGHT, WIDTH)) >> (16 - bits)
        yield f"packed{bits}", written(array, bitspersample=bits, photometric="minisblack"), array
    array = values(rng, "u2", (HEIGHT, WIDTH))
    yield "white_is_zero", written(array, photometric="miniswhite"), 65535 - array


def main():
    rng = np.random.default_rng(7)
    target = Path(__file__).with_name("deep_tiffs.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, array in pictures(rng):
            stream = io.BytesIO()
            np.save(stream, array)
            for suffix, content in ((".tif", data), (".npy", stream.getvalue())):
                entry = zipfile.ZipInfo(name + suffix, (2026, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)


if __name__ == "__main__":
    main()
