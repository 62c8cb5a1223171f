"""What takes long to compute, kept in `.cache` under a fingerprint of all that it depends on."""

import hashlib
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from errors import replacing

CACHE = Path(__file__).parent / ".cache"


def cached(depends_on, compute):
    """Return what `compute()` returns, computed only once for the same `depends_on`.

    Nothing found in the cache is ever stale, since whatever changes the answer changes its name.
    What is broken there is computed again, and so is what could not be written.

    Args:
        depends_on: iterable of str and bytes.
        compute: function without arguments that returns a dict of NumPy arrays.
    """
    digest = hashlib.sha256()
    for part in depends_on:
        part = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        digest.update(len(part).to_bytes(8, "little") + part)
    path = CACHE / f"{digest.hexdigest()[:32]}.safetensors"
    with suppress(OSError, SafetensorError):
        return load_file(path)
    arrays = compute()
    with suppress(OSError, SafetensorError), replacing(path) as temporary:
        save_file(arrays, temporary)
    return arrays
