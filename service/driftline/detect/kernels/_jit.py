"""The one jit policy of the kernels.

Owns: which options a kernel is compiled with. Every kernel of this package is decorated with ``jit`` or
``jit_inline`` and with nothing else.

- No fastmath. A replay of the same mailbox must give the same state to the last bit; fastmath lets LLVM
  reorder sums by vector width, which differs between machines and between compiler releases. Without it LLVM
  neither reassociates nor contracts ``a * b + c`` to a fused multiply-add.
- ``error_model="numpy"``: a division by zero gives inf or NaN as in C, without a Python exception branch in
  every loop. Kernels guard the divisions that matter.
- ``nogil``: a kernel never touches a Python object, so other threads (checkpoint encoder, watchdog) run on.
- ``cache=True``: machine code goes to ``NUMBA_CACHE_DIR``, which the application sets before it imports this
  package (a folder of its own, keyed by version and CPU, behind a file lock). Nothing here touches ``os``.
"""

from __future__ import annotations

from typing import Final

import numba

jit: Final = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
jit_inline: Final = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy", inline="always")
