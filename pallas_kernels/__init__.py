"""Fused kernels for fast-weight models. Depends on JAX alone and knows nothing of ZipMap."""

from pallas_kernels.newton_schulz.op import newton_schulz

__all__ = ["newton_schulz"]
