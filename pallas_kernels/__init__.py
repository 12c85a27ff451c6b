"""The heavy operations of fast-weight models. Depends on JAX alone, knows nothing of ZipMap.

What has a kernel is Newton-Schulz orthogonalisation: of a streaming step with one view, whose every
other product is as large as the view, it is half the arithmetic (3.9 of 7.4 TFLOP).

The gradient of the fast weights has none. It is six products, which XLA hands to cuBLAS, and one
elementwise SwiGLU backward, which XLA already fuses into a single pass. Fusing that pass into the
products would save the traffic of its intermediates, at most 12 % of the update, and less of a whole
step: not worth a second kernel to keep right on every new JAX.
"""

from pallas_kernels.newton_schulz import newton_schulz, newton_schulz_update

__all__ = ["newton_schulz", "newton_schulz_update"]
