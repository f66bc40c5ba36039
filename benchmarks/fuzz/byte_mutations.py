"""Damage to the bytes of a file, as disks, cables and interrupted copies do it."""

import numpy as np

SPECIAL = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x00" * 8,
    b"\xff" * 8,
    b"\x00\x00\x00\x80",
)


def damage(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Damaged bytes, and what was done."""
    found = bytearray(data)
    done = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 4, 16]))):
        if not found:
            break
        place = int(rng.integers(len(found)) if rng.random() < 0.6 else rng.integers(min(len(found), 2048)))
        size = int(2 ** rng.uniform(0, np.log2(max(len(found) // 4, 2))))
        match rng.integers(8):
            case 0 | 1:
                found[place] ^= 1 << int(rng.integers(8))
                done.append(f"bit at {place}")
            case 2:
                found[place] = int(rng.integers(256))
                done.append(f"byte at {place}")
            case 3:
                put = SPECIAL[int(rng.integers(len(SPECIAL)))]
                found[place : place + len(put)] = put
                done.append(f"{put.hex()} at {place}")
            case 4:
                del found[place:]
                done.append(f"cut at {place}")
            case 5:
                del found[place : place + size]
                done.append(f"{size} bytes gone at {place}")
            case 6:
                found[place:place] = rng.bytes(min(size, 4096))
                done.append(f"{min(size, 4096)} bytes put in at {place}")
            case 7:
                other = int(rng.integers(len(found)))
                found[place : place + size] = found[other : other + size]
                done.append(f"{size} bytes copied from {other} to {place}")
    return bytes(found), ", ".join(done)
