"""Newton-Schulz orthogonalisation for fast-weight models, in XLA and as Pallas kernels.

The package depends on JAX only and is independent of ZipMap. `newton_schulz` orthogonalises a batch
of matrices; `newton_schulz_update` is the fast-weight update around it. The cost of the
orthogonalisation does not depend on the number of views, and it is half the arithmetic of a
streaming model.

The gradient of the fast weights has no kernel. It consists of six products, which XLA computes with
cuBLAS, and one elementwise SwiGLU backward pass, which XLA fuses. Fusing this pass into the
products would save the memory traffic of its intermediates, an estimated 12 % of the update at
most, which does not justify the maintenance of a second kernel.
"""

from pallas_kernels.newton_schulz import newton_schulz, newton_schulz_update

__all__ = ["newton_schulz", "newton_schulz_update"]
