"""What we use of reportlab, imported without running anything that is not part of it.

On import reportlab looks for modules ``reportlab_mods`` and ``reportlab_settings`` anywhere on the path, for
``local_rl_mods`` and ``local_rl_settings`` in itself, and for files ``~/.reportlab_mods`` and
``~/.reportlab_settings``, and runs what it finds. Empty modules of those names stand in its way; the files
are then not looked for. A reportlab that somebody has imported before is taken as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType

_RUN_ON_IMPORT = (
    "reportlab_mods",
    "reportlab_settings",
    "reportlab.local_rl_mods",
    "reportlab.local_rl_settings",
)


@contextmanager
def _nothing_to_run() -> Generator[None, None, None]:
    ours = [name for name in _RUN_ON_IMPORT if name not in sys.modules]
    sys.modules.update({name: ModuleType(name) for name in ours})
    try:
        yield
    finally:
        for name in ours:
            sys.modules.pop(name, None)


with _nothing_to_run():
    from reportlab import rl_config
    from reportlab.pdfbase import pdfdoc, pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

__all__ = ["Canvas", "TTFont", "pdfdoc", "pdfmetrics", "rl_config"]
