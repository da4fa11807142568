"""The callback that tells a display how far a training is."""

import math
import time
from collections.abc import Sequence

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from sb3_nbsp.base.plain_text import two_decimals
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.zoo.progress_display import UPDATE_SECONDS, Display


class ProgressCallback(BaseCallback):
    """
    Tells a display, twice a second and at every task end, how far the training is and how good the agent was when it was last
    evaluated. It stands after the evaluations, and with several agents in the last one's callbacks.

    :param display: what shows it
    :param evaluations: the callbacks that evaluate the agents, one each; none without a task sequence
    """

    def __init__(self, display: Display, evaluations: Sequence[SequenceEvalCallback] = ()) -> None:
        super().__init__()
        self.display = display
        self.evaluations = evaluations
        self._due = 0.0
        self._has_sequence = False

    def _on_training_start(self) -> None:
        self._has_sequence = self.training_env.has_attr("task_sequence")
        self.display.start(self.num_timesteps, self.model._total_timesteps)
        if self._has_sequence:
            self._segments = self.training_env.get_attr("task_sequence", 0)[0].segments

    def _on_step(self) -> bool:
        info = self.locals["infos"][0] if self._has_sequence else {}
        ended = self._has_sequence and info["task_done"]
        now = time.monotonic()
        if now < self._due and not ended:
            return True
        self._due = now + UPDATE_SECONDS
        task = ""
        if self._has_sequence:
            task = f"{info['task_name']} ({info['segment'] + 1} of {len(self._segments)})"
        standing = self._standing()
        if ended:
            self.display.say(f"{task} ended at step {self.num_timesteps:,}. {standing}".rstrip())
        self.display.update(self.num_timesteps, task, standing)
        return True

    def _on_training_end(self) -> None:
        if not self._has_sequence and (standing := self._standing()):  # of a sequence there is a table
            self.display.say(standing)
        self.display.stop()

    def _standing(self) -> str:
        """The newest evaluations, their mean where there are several agents."""
        if not self._has_sequence:
            returns = [episode["r"] for episode in self.model.ep_info_buffer or ()]
            return f"Return of the last {len(returns)} episodes: {two_decimals(np.mean(returns))}" if returns else ""
        told = [evaluation.results for evaluation in self.evaluations if evaluation.results.evaluations]
        if not told:
            return ""
        values: dict[str, list[float]] = {}  # by task: agents may learn different ones
        for results in told:
            for task, value in results.performance(results.evaluations[-1]).items():
                values.setdefault(task, []).append(value)
        means = {task: float(np.mean(of_agents)) for task, of_agents in values.items()}
        shown = ", ".join(f"{task} {two_decimals(value)}" for task, value in means.items() if not math.isnan(value))
        step = told[0].evaluations[-1].step
        return f"{told[0].measure.name.capitalize()} at step {step:,}: {shown}"
