"""Which compositions are held out from all training, and kept for evaluation."""

from __future__ import annotations

import hashlib

from silmm.shapeworld.language import Spec, Unit, composition_keys

FOLDS = 5  # one composition in five is held out


def is_held_out_key(key: str) -> bool:
    """A fixed split by hash: the same on every machine and for every seed."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") % FOLDS == 0


def is_held_out(spec: Spec) -> bool:
    """Whether a prompt uses any held-out composition."""
    return any(is_held_out_key(key) for key in composition_keys(spec))


def is_held_out_unit(unit: Unit) -> bool:
    """Whether a relation question uses a held-out composition."""
    if unit.kind != "relation" or unit.a is None or unit.b is None:
        return False
    return is_held_out(Spec(((1, unit.a), (1, unit.b)), ((unit.relation, 0, 1),)))
