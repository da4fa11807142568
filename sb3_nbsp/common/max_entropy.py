"""What SAC and its relatives share: an entropy coefficient that is learned."""

from typing import Any

import numpy as np


def reset_ent_coef(model: Any) -> None:
    """
    Set a learned entropy coefficient back to its initial value; a fixed one stays.

    :param model: SAC or TQC
    """
    if model.ent_coef_optimizer is not None and model.log_ent_coef is not None:
        initial = float(str(model.ent_coef).partition("_")[2] or 1.0)  # "auto" or "auto_<initial value>"
        model.log_ent_coef.data.fill_(np.log(initial))
        model.ent_coef_optimizer.state.clear()
