"""Session files made wrong through HDF5 itself: what a bug in another tool, or malice, can write."""

import contextlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Mutation = Callable[[h5py.File, np.random.Generator], str]

NUMBERS = (
    np.nan,
    np.inf,
    -np.inf,
    -1,
    0,
    -0.0,
    1e308,
    -1e308,
    1e-320,
    2**31,
    2**31 - 1,
    2**63 - 1,
    127,
    4,
    3,
)
DTYPES = (
    "i1",
    "u1",
    "i2",
    "u4",
    "i4",
    ">i4",
    "u8",
    "i8",
    "f2",
    "f4",
    "f8",
    ">f8",
    "f16",
    "?",
    "c8",
    "S4",
    "S1",
    "O",
)
NAMES = (
    "times",
    "Events",
    "unit",
    "values",
    "extra",
    "é",
    "a b",
    " a",
    "a ",
    "x\ty",
    "\x7f",
    "n" * 300,
    "..a",
    "\u202e",
)
TEXTS = (
    "",
    " ",
    "continuous",
    "frames",
    "categorical",
    "1.1",
    "2.0",
    "x" * 5_000,
    "é\u2028",
    "a/b",
    "..",
    "\x01",
    "nan",
)
MISSING_FILTER = 32_767


def mutate(path: Path, rng: np.random.Generator) -> str:
    """Change a file in place, one to three times; what was done."""
    done = []
    with h5py.File(path, "r+") as file:
        for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
            mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
            # What HDF5 or NumPy will not do cannot be in a file either.
            with contextlib.suppress(
                OSError, RuntimeError, ValueError, TypeError, LookupError, OverflowError, MemoryError
            ):
                done.append(mutation(file, rng))
    return ", ".join(done)


def _pick(rng: np.random.Generator, options: Any) -> Any:
    options = list(options)
    return options[int(rng.integers(len(options)))]


def _everything(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return found


def _arrays(file: h5py.File) -> list[str]:
    return [path for path in _everything(file) if isinstance(file.get(path), h5py.Dataset)]


def _groups(file: h5py.File) -> list[str]:
    return ["/", *(path for path in _everything(file) if isinstance(file.get(path), h5py.Group))]


def _replace(file: h5py.File, path: str, **settings: Any) -> None:
    del file[path]
    file.create_dataset(path, **settings)


def drop(file: h5py.File, rng: np.random.Generator) -> str:
    path = _pick(rng, _everything(file))
    del file[path]
    return f"drop {path}"


def rename(file: h5py.File, rng: np.random.Generator) -> str:
    path = _pick(rng, _everything(file))
    others = [other.rpartition("/")[2] for other in _everything(file)]
    name = f"{path.rpartition('/')[0]}/{_pick(rng, (*NAMES, *others))}"
    file.move(path, name)
    return f"rename {path} {name!r}"


def copy(file: h5py.File, rng: np.random.Generator) -> str:
    path = _pick(rng, _everything(file))
    to = f"{_pick(rng, _groups(file))}/{_pick(rng, NAMES)}"
    file.copy(file[path], file, to)
    return f"copy {path} to {to!r}"


def add(file: h5py.File, rng: np.random.Generator) -> str:
    to = f"{_pick(rng, _groups(file))}/{_pick(rng, NAMES)}"
    if rng.random() < 0.5:
        file.create_group(to)
    else:
        file[to] = rng.random(int(rng.integers(5)))
    return f"add {to!r}"


def change_dtype(file: h5py.File, rng: np.random.Generator) -> str:
    path, dtype = _pick(rng, _arrays(file)), _pick(rng, DTYPES)
    values = file[path][()]
    if dtype == "O":
        _replace(file, path, data=np.asarray(values).astype(str).astype(object), dtype=h5py.string_dtype())
    else:
        with np.errstate(all="ignore"):
            _replace(file, path, data=values.astype(dtype))
    return f"{path} as {dtype}"


def strange_dtype(file: h5py.File, rng: np.random.Generator) -> str:
    path = _pick(rng, _arrays(file))
    n = max(len(file[path]), 1) if file[path].shape else 1
    kind = int(rng.integers(8))
    if kind == 0:
        _replace(file, path, shape=(n,), dtype=h5py.ref_dtype)
        file[path][0] = file.ref
    elif kind == 1:
        _replace(file, path, shape=(n,), dtype=h5py.regionref_dtype)
    elif kind == 2:
        _replace(file, path, shape=(n,), dtype=h5py.vlen_dtype(np.float64))
        file[path][0] = np.arange(3.0)
    elif kind == 3:
        _replace(file, path, data=np.zeros(n, dtype=[("a", "f8"), ("b", "S3")]))
    elif kind == 4:
        _replace(file, path, shape=(n,), dtype=h5py.enum_dtype({"A": 0, "B": 1}, basetype="i4"))
    elif kind == 5:
        _replace(file, path, data=np.zeros(n, dtype="V7"))
    elif kind == 6:
        _replace(file, path, data=np.zeros((n, 2), dtype="f8"), dtype=np.dtype(("f8", (2,))))
    else:
        del file[path]
        space = h5py.h5s.create_simple((n,))
        h5py.h5d.create(file.id, path.encode(), h5py.h5t.UNIX_D64LE, space)
    return f"{path} as strange dtype {kind}"


def change_shape(file: h5py.File, rng: np.random.Generator) -> str:
    path, kind = _pick(rng, _arrays(file)), int(rng.integers(9))
    values = np.asarray(file[path][()])
    text = h5py.check_string_dtype(file[path].dtype)
    new: Any
    if kind == 0:
        new = values[:, None]
    elif kind == 1:
        new = values[: int(rng.integers(len(values) + 1))]
    elif kind == 2:
        new = np.concatenate([values, values[: int(rng.integers(1, len(values) + 1))]])
    elif kind == 3:
        new = values.T
    elif kind == 4:
        new = values.reshape(-1)[0]
    elif kind == 5:
        new = values[:0]
    elif kind == 6:
        new = h5py.Empty(values.dtype)
    elif kind == 7:
        new = values[None]
    else:
        new = values.reshape(-1)
    dtype = file[path].dtype if text is not None and kind != 6 else None
    _replace(file, path, data=new, dtype=dtype)
    return f"{path} with shape {getattr(new, 'shape', None)}"


def change_values(file: h5py.File, rng: np.random.Generator) -> str:
    path = _pick(rng, _arrays(file))
    values = np.asarray(file[path][()])
    flat, kind = values.reshape(-1), int(rng.integers(7))
    places = rng.integers(flat.size, size=int(rng.choice([1, 1, 2, 10])))
    if values.dtype.kind == "O" or values.dtype.kind == "S":
        flat[places] = _pick(rng, TEXTS).encode()[: values.dtype.itemsize or None]
    elif kind <= 2:
        number = _pick(rng, NUMBERS)
        flat[places] = number
    elif kind == 3:
        a, b = rng.integers(flat.size, size=2)
        flat[[a, b]] = flat[[b, a]]
    elif kind == 4:
        flat[:] = flat[::-1].copy()
    elif kind == 5:
        flat[places] = flat[(places + 1) % flat.size]
    else:
        flat[:] = _pick(rng, NUMBERS)
    file[path][...] = flat.reshape(values.shape)
    return f"{path} values {kind}"


def drop_attribute(file: h5py.File, rng: np.random.Generator) -> str:
    group = _pick(rng, [path for path in _groups(file) if len(file[path].attrs)])
    name = _pick(rng, file[group].attrs)
    del file[group].attrs[name]
    return f"drop {group} attribute {name}"


def change_attribute(file: h5py.File, rng: np.random.Generator) -> str:
    group = _pick(rng, [path for path in _groups(file) if len(file[path].attrs)])
    name = _pick(rng, file[group].attrs)
    values = (
        *NUMBERS,
        *TEXTS,
        True,
        b"bytes",
        b"\xff\xfe",
        np.arange(3),
        np.zeros(0),
        np.array([[5.0]]),
        h5py.Empty("f8"),
        file.ref,
        np.complex64(1),
        1e12,
        10**12,
        10**10,
        np.uint64(2**64 - 1),
        np.float32(3.5),
        np.array(["a", "b"], dtype=object),
        np.zeros(2, dtype=[("a", "f8")]),
        360,
        5,
    )
    value = _pick(rng, values)
    file[group].attrs[name] = value
    return f"{group} attribute {name} = {str(value)[:40]!r}"


def link_outside(file: h5py.File, rng: np.random.Generator) -> str:
    path = _pick(rng, _everything(file))
    target = _pick(rng, ("other.h5", "absent.h5", "/dev/null", ".", "\x00", Path(file.filename).name))
    del file[path]
    file[path] = h5py.ExternalLink(target, path)
    return f"{path} in {target!r}"


def link_inside(file: h5py.File, rng: np.random.Generator) -> str:
    everything = _everything(file)
    path = _pick(rng, everything)
    target = _pick(
        rng, ("/", f"/{path}", "/absent", ".", f"/{path}/a", *(f"/{other}" for other in everything))
    )
    if rng.random() < 0.5:
        del file[path]
    else:
        path = f"{_pick(rng, _groups(file))}/{_pick(rng, NAMES)}"
    file[path] = h5py.SoftLink(target)
    return f"{path} → {target}"


def link_hard(file: h5py.File, rng: np.random.Generator) -> str:
    path, to = _pick(rng, ["/", *_everything(file)]), f"{_pick(rng, _groups(file))}/{_pick(rng, NAMES)}"
    file[to] = file[path]
    return f"{to!r} is {path}"


def huge(file: h5py.File, rng: np.random.Generator) -> str:
    """Declared, and hardly stored."""
    path, kind = _pick(rng, _arrays(file)), int(rng.integers(4))
    shape = file[path].shape
    rows = int(_pick(rng, (10**7, 10**10, 10**13, 2**62)))
    dtype = file[path].dtype
    if kind == 0:
        _replace(file, path, shape=(rows, *shape[1:]), dtype=dtype, chunks=(1024, *shape[1:]))
        file[path][: shape[0]] = 0
    elif kind == 1:
        _replace(file, path, shape=(rows, *shape[1:]), dtype=dtype)
    elif kind == 2:
        fill = 1 if dtype.kind in "biuf" else None  # text has none
        _replace(
            file, path, shape=(rows, *shape[1:]), dtype=dtype, chunks=True, fillvalue=fill, compression="gzip"
        )
    else:
        _replace(file, path, shape=(len(shape) and shape[0], rows), dtype=dtype, chunks=True)
    return f"{path} of {rows} rows, kind {kind}"


def strange_storage(file: h5py.File, rng: np.random.Generator) -> str:
    path, kind = _pick(rng, _arrays(file)), int(rng.integers(9))
    values = file[path][()]
    shape, dtype = values.shape, file[path].dtype
    if kind == 0:
        beside = Path(file.filename).with_name("elsewhere.raw")
        _replace(
            file,
            path,
            shape=shape,
            dtype=dtype,
            external=[(str(beside), 0, values.nbytes)],
        )
        file[path][...] = values
    elif kind == 1:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource("other.h5", path, shape)
        del file[path]
        file.create_virtual_dataset(path, layout)
    elif kind == 2:
        _replace(file, path, data=values, chunks=shape, compression="lzf")
    elif kind == 3:
        _replace(file, path, data=values, chunks=shape, scaleoffset=2 if dtype.kind == "f" else 0)
    elif kind == 4:  # a filter that is not there
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk(shape)
        creation.set_filter(MISSING_FILTER, h5py.h5z.FLAG_OPTIONAL)
        del file[path]
        made = h5py.h5d.create(
            file.id, path.encode(), h5py.h5t.py_create(dtype), h5py.h5s.create_simple(shape), creation
        )
        made.write_direct_chunk((0,) * len(shape), values.tobytes(), 0)
    elif kind == 5:  # a chunk that is no deflated data
        _replace(file, path, shape=shape, dtype=dtype, chunks=shape, compression="gzip")
        file[path].id.write_direct_chunk((0,) * len(shape), rng.bytes(int(rng.integers(1, 200))))
    elif kind == 6:  # a chunk that swells
        _replace(file, path, shape=shape, dtype=dtype, chunks=shape, compression="gzip")
        # Not a shorter one: HDF5 gives what lies in memory behind it, which no reader can tell from data; the checksums
        # that the writer sets (fletcher32) would.
        size = int(_pick(rng, (values.nbytes + 1, values.nbytes + 2, 2 * values.nbytes, 10**6, 3 * 10**8)))
        file[path].id.write_direct_chunk((0,) * len(shape), zlib.compress(bytes(size), 1))
    elif kind == 7:  # a chunk of another size
        _replace(file, path, shape=shape, dtype=dtype, chunks=shape)
        file[path].id.write_direct_chunk(
            (0,) * len(shape), rng.bytes(int(rng.integers(1, 2 * values.nbytes)))
        )
    else:  # chunks that were never written
        _replace(file, path, shape=shape, dtype=dtype, chunks=tuple(max(size // 3, 1) for size in shape))
        half = max(len(values) // 2, 1)
        file[path][:half] = values[:half]
    return f"{path} storage {kind}"


def nest(file: h5py.File, rng: np.random.Generator) -> str:
    group = _pick(rng, _groups(file))
    depth, width = _pick(rng, ((1, 1), (1, 30), (5, 3), (100, 1)))
    for k in range(width):
        file.create_group(f"{group}/g{k}" + "/g" * depth)
    return f"{width} x {depth} groups below {group}"


def strange_text(file: h5py.File, rng: np.random.Generator) -> str:
    """Text that is no UTF-8, of fixed or variable length, or padded by spaces or zeros."""
    path, kind = _pick(rng, _arrays(file)), int(rng.integers(4))
    n = max(len(file[path]), 1)
    if kind == 0:
        _replace(file, path, data=np.full(n, b"\xff\xfe\xfd"), dtype=h5py.string_dtype("utf-8", 3))
    elif kind == 1:
        _replace(file, path, shape=(n,), dtype=h5py.string_dtype())
        file[path][0] = b"\xc3\x28"
    elif kind == 2:
        _replace(file, path, data=np.full(n, b"\xe9a"), dtype=h5py.string_dtype("ascii", 2))
    else:
        _replace(file, path, shape=(n,), dtype=h5py.string_dtype())
    return f"{path} strange text {kind}"


MUTATIONS: tuple[Mutation, ...] = (
    drop,
    rename,
    copy,
    add,
    change_dtype,
    change_dtype,
    strange_dtype,
    change_shape,
    change_shape,
    change_values,
    change_values,
    change_values,
    change_values,
    drop_attribute,
    change_attribute,
    change_attribute,
    change_attribute,
    link_outside,
    link_inside,
    link_hard,
    huge,
    strange_storage,
    strange_storage,
    nest,
    strange_text,
)
