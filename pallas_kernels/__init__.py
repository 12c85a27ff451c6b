"""The heavy operations of fast-weight models. Depends on JAX alone, knows nothing of ZipMap."""

from pallas_kernels.newton_schulz.op import newton_schulz

__all__ = ["newton_schulz"]
