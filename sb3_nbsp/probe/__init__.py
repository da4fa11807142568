"""Look into a trained agent: what its skill neurons do, and how much it can still learn."""

from sb3_nbsp.probe.plasticity import dormant_share, effective_rank
from sb3_nbsp.probe.silencing import silenced
from sb3_nbsp.probe.study import Probe, probe_model

__all__ = ["Probe", "dormant_share", "effective_rank", "probe_model", "silenced"]
