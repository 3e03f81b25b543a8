"""Make the fonts in `src/fluoroscope/output/fonts` from Inter's own files.

    pip install fonttools brotli
    npm pack inter-ui@4.1.1 && tar xzf inter-ui-4.1.1.tgz
    python tools/subset_fonts.py package/web

Kept are the outlines of the characters in `typography.COVERAGE`. The digits become Inter's tabular ones, so
that columns of numbers align without layout features, which PDF has not. Hinting and layout tables go.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

from fluoroscope.output.typography import FONTS, covered

TABULAR = "0123456789−"


def tabular_glyphs(font: TTFont) -> dict[str, str]:
    """Glyph name -> glyph name, by the feature ``tnum``."""
    table = font["GSUB"].table
    lookups = next(
        record.Feature.LookupListIndex
        for record in table.FeatureList.FeatureRecord
        if record.FeatureTag == "tnum"
    )
    mapping: dict[str, str] = {}
    for index in lookups:
        for entry in table.LookupList.Lookup[index].SubTable:
            mapping.update(getattr(entry, "ExtSubTable", entry).mapping)
    return mapping


def make(source: Path, target: Path) -> None:
    """Write the subset of one font, as TrueType."""
    font = TTFont(source)
    points = {ord(char) for char in covered()}
    missing = points - set(font.getBestCmap())
    if missing:
        raise SystemExit(f"{source} lacks {sorted(map(hex, missing))}: take them out of COVERAGE.")
    tabular = tabular_glyphs(font)
    for cmap in font["cmap"].tables:
        for digit in TABULAR:
            glyph = cmap.cmap.get(ord(digit))
            if glyph in tabular:
                cmap.cmap[ord(digit)] = tabular[glyph]

    options = subset.Options()
    options.hinting = False
    options.layout_features = []
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.name_languages = [0x409]
    options.recalc_timestamp = False
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "STAT", "DSIG", "MVAR", "gasp", "meta"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=points)
    subsetter.subset(font)
    font.flavor = None
    font.save(target)
    print(f"{target}: {target.stat().st_size:,} bytes, {len(points)} characters")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where Inter-Regular.woff2 and Inter-SemiBold.woff2 are")
    folder = parser.parse_args().folder
    for weight in ("Regular", "SemiBold"):
        make(folder / f"Inter-{weight}.woff2", FONTS / f"Inter-{weight}.ttf")


if __name__ == "__main__":
    main()
