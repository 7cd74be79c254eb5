"""Kernels: small operations that cost time, each with a plain-torch `reference` that is its definition.

`silmm.kernels.<op>(..., impl="auto")` takes `reference`, `cpp` where there is one, or `auto` (the fastest that is there
for the tensors' device); what they have in common (the same bits, or rounding) is said where each is defined. Needs
torch and numpy alone; the C++ extension is looked up at the first call.
"""

from silmm.kernels._dispatch import available
from silmm.kernels.decode_attention import decode_attention
from silmm.kernels.divdrop import divdrop
from silmm.kernels.kc_dpo import kc_dpo
from silmm.kernels.nucleus import nucleus
from silmm.kernels.selective_logps import selective_logps

# After these lines the names are the functions, not the modules.
__all__ = ["available", "decode_attention", "divdrop", "kc_dpo", "nucleus", "selective_logps"]
