"""What the arguments of the evaluation callback must be."""

import os
from typing import Annotated, Any

from sb3_nbsp.base.arguments import Is, Whole

PathHint = Annotated[Any, Is("a path", lambda value: isinstance(value, str | os.PathLike))] | None
ARGUMENTS: dict[str, Any] = {
    "eval_freq": Annotated[int, Whole(0, "env steps")],
    "n_eval_episodes": Annotated[int, Whole(1, "episodes")],
    "log_path": PathHint,
    "deterministic": bool,
    "best_model_save_path": PathHint,
    "settings": Annotated[dict, Is("a dict", lambda value: isinstance(value, dict))] | None,
    "resume_from": PathHint,
    "seed": Annotated[int, Whole(0, "a seed")] | None,
    "verbose": bool | Annotated[int, Whole(0, "a level of messages")],
}
