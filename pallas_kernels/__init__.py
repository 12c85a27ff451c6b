"""The heavy operations of fast-weight models. Depends on JAX alone, knows nothing of ZipMap.

What has a kernel is Newton-Schulz orthogonalisation: it costs the same for one view as for a
thousand, and is half the arithmetic of a model that streams view after view.

The gradient of the fast weights has none. It is six products, which XLA hands to cuBLAS, and one
elementwise SwiGLU backward, which XLA already fuses into a single pass. Fusing that pass into the
products would save the traffic of its intermediates, by estimate at most 12 % of the update and
less of a whole step: not worth a second kernel to keep right on every new JAX.
"""

from pallas_kernels.newton_schulz import newton_schulz, newton_schulz_update

__all__ = ["newton_schulz", "newton_schulz_update"]
