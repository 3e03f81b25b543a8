"""A network in a child process: what crashes, hangs or takes too much there harms nothing here.

`isolated` is the door; `limits` says what is guaranteed on which system.
"""

from fluoroscope.network.worker.isolated import Content, IsolatedNetwork, isolated

__all__ = ["Content", "IsolatedNetwork", "isolated"]
