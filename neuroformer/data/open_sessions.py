"""How many session files are open at once: a system lets a process have some hundreds, a study may have thousands."""

from __future__ import annotations

import weakref
from collections import OrderedDict

from neuroformer.session import Session

MOST = 256
_open: OrderedDict[int, weakref.ref[Session]] = OrderedDict()


def reading(session: Session) -> None:
    """Say that a session is about to be read; those that were not read for longest are closed, and open anew on use."""
    _open[id(session)] = weakref.ref(session)
    _open.move_to_end(id(session))
    while len(_open) > MOST:
        _, reference = _open.popitem(last=False)
        oldest = reference()
        if oldest is not None:
            oldest.close()
