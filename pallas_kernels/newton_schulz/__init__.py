"""Newton-Schulz orthogonalisation, and the fast-weight update around it."""

from pallas_kernels.newton_schulz.op import newton_schulz
from pallas_kernels.newton_schulz.update import newton_schulz_update

__all__ = ["newton_schulz", "newton_schulz_update"]
