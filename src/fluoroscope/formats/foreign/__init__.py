"""Files that are no network this program opens, told apart by content: programs above all.

A user who gives one is told what it is and how to get a network out of it. A program (a pickle, TorchScript,
a SavedModel) is never run to find out more: of a pickle the names that it would import are read from its
opcodes, of an archive the names of its members.
"""

from __future__ import annotations

from fluoroscope.formats.foreign.archives import in_archive
from fluoroscope.formats.foreign.kinds import Foreign
from fluoroscope.formats.foreign.pickles import PICKLED_MODULE, pickled
from fluoroscope.formats.foreign.signatures import PLAIN_PROGRAMS, SAVED_MODEL, marked, tensorflow_graph

__all__ = ["PICKLED_MODULE", "PLAIN_PROGRAMS", "SAVED_MODEL", "Foreign", "identify", "tensorflow_graph"]


def identify(data: bytes) -> Foreign | None:
    """What kind of file that is not opened here `data` is; None where nothing is known of it.

    Raises
    ------
    NetworkError, BudgetExceeded
        A zip archive that is damaged, leads out of itself, or has far too many members.
    """
    return in_archive(data) or pickled(data) or tensorflow_graph(data) or marked(data)
