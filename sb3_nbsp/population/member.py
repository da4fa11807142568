"""
One member's ``learn()``, cut into the pieces between which a population acts and learns for all.

Piece by piece it is SB3's ``OffPolicyAlgorithm.learn`` and ``collect_rollouts``: the same calls, in the same order.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback, ConvertCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.base.finite import NotFiniteError
from sb3_nbsp.base.random_states import ProcessStreams
from sb3_nbsp.checkpoints.callback_state import every_callback
from sb3_nbsp.checkpoints.safe_point import safe_point
from sb3_nbsp.common.finite_checks import check_losses
from sb3_nbsp.population.own_random import OwnBlock


class Member:
    """
    A model that learns in lock-step with others.

    :param model: an NBSPSAC
    :param streams: its random numbers
    """

    callback: BaseCallback
    is_watched: bool  # whether someone else's callback may exchange parts of the model at any step

    def __init__(self, model: Any, streams: ProcessStreams):
        self.model = model
        self.streams = streams
        self.has_stopped = False
        self.error: Exception | None = None  # with which it left
        self.before_log: Callable[[], None] | None = None  # called before a line of the log is written
        self._log_interval: int | None = None
        self._locals: dict[str, Any] = {}
        self._mark: tuple[Any, ...] = ()
        self._actions: tuple[np.ndarray, np.ndarray] | None = None
        self._told: Any = None  # by the env, of the last step
        self._evaluations: list[Any] = []  # callbacks that play episodes
        self.coming_evaluation: tuple[Any, Any] | None = None  # one of them, and the rollout that the step brings

    def own_streams(self) -> OwnBlock:
        """
        Inside the block, which is not entered twice, the process's random numbers are this member's. Where an error comes up,
        e.g. that the member has diverged, the block ends, the member has stopped, and its error is kept: the others have
        nothing to do with it.
        """
        return OwnBlock(self.model, self.streams, self.leave_with)

    def leave_with(self, error: Exception) -> None:
        """
        :param error: why it cannot go on; the first one counts
        """
        if self.error is None:
            warnings.warn(f"Member with seed {self.model.seed} leaves its population: {error!r}", stacklevel=2)
        self.has_stopped, self.error = True, self.error or error

    # learn()

    def set_up(self, total_timesteps: int, callback: MaybeCallback, log_interval: int | None, **setup: Any) -> None:
        """
        Everything before the callbacks' ``on_training_start``, which :meth:`begin` calls.

        :param total_timesteps: env steps
        :param callback: as for SB3's ``learn()``
        :param log_interval: episodes between two lines of the log
        :param setup: further arguments of ``_setup_learn``
        """
        self._log_interval = log_interval
        self.model.is_learning = True
        with self.own_streams():
            total_timesteps, self.callback = self.model._setup_learn(total_timesteps, callback, **setup)
            self.is_watched = any(map(_is_foreign, every_callback(self.callback)))
            self._evaluations = [part for part in every_callback(self.callback) if hasattr(part, "coming_rollout")]
            if self.model.position.pending is None:
                self._note_coming((part, part.first_rollout()) for part in self._evaluations)
        self._locals = {**setup, "self": self.model, "total_timesteps": total_timesteps}

    def _note_coming(self, rollouts: Iterable[tuple[Any, Any]]) -> None:
        self.coming_evaluation = next((pair for pair in rollouts if pair[1] is not None), None)

    def begin(self) -> None:
        """The beginning of training."""
        if not self.has_stopped:
            with self.own_streams():
                self.callback.on_training_start(self._locals, globals())
        self.coming_evaluation = None

    @property
    def is_done(self) -> bool:
        """Whether it has taken its steps, or a callback has stopped it."""
        return self.has_stopped or self.model.num_timesteps >= self.model._total_timesteps

    def end(self) -> None:
        """The end of training. As in SB3, callbacks are not told of one that an error brings."""
        if self.error is None:
            with self.own_streams():
                self.callback.on_training_end()
        self.model.taken_steps = None

    # collect_rollouts()

    def begin_rollout(self) -> bool:
        """
        Before the steps that are taken between two trainings: here a checkpoint may be written.

        :return: whether it has begun; else a task is to be consolidated, and :meth:`start_rollout` goes on
        """
        model = self.model
        if model.policy.training:
            model.policy.set_training_mode(False)
        self._locals = {
            "self": model,
            "env": model.env,
            "callback": self.callback,
            "train_freq": model.train_freq,
            "replay_buffer": model.replay_buffer,
            "action_noise": model.action_noise,
            "learning_starts": model.learning_starts,
            "log_interval": self._log_interval,
            "num_collected_steps": 0,
            "num_collected_episodes": 0,
            "continue_training": True,
        }
        with self.own_streams():
            safe_point(model, self.callback)
            if self.awaits_rollout:
                return False
            self.callback.on_rollout_start()
        return True

    def start_rollout(self) -> None:
        """What is left of :meth:`begin_rollout`: the consolidation."""
        if not self.has_stopped:
            with self.own_streams():
                self.callback.on_rollout_start()
        self.model.taken_steps = None

    def stop_here(self) -> None:
        """
        Write a checkpoint at the beginning of a rollout and stop, where someone asked for it just now.

        :raises Stopped: where it did
        """
        with self.own_streams():
            safe_point(self.model, self.callback)

    @property
    def explores_at_random(self) -> bool:
        """Whether the next action comes from the action space: during the warm-ups."""
        model = self.model
        return bool(model.num_timesteps < max(model.learning_starts, model._warmup_until))

    def send_action(self, drawn: tuple[np.ndarray, np.ndarray] | None) -> None:
        """
        Start an env step.

        :param drawn: what the policy drew, [n_envs, ...]: the actions and those for the replay buffer; ``None`` has the
            model choose
        """
        model = self.model
        with self.own_streams():
            self._actions = drawn or model._sample_action(model.learning_starts, model.action_noise, model.env.num_envs)
            model.env.step_async(self._actions[0])

    def end_step(self, is_last: bool) -> bool:
        """
        Wait for the env and do what follows a step.

        :param is_last: whether the rollout ends with it
        :return: whether that was done; else its callbacks are about to play or to score, and :meth:`finish_step` goes on
        """
        with self.own_streams():
            self._told = self.model.env.step_wait()
            self._note_coming((part, part.coming_rollout(self._told[3])) for part in self._evaluations)
            if self.awaits_rollout:
                return False
            self._finish_step(is_last)
        return True

    @property
    def awaits_rollout(self) -> bool:
        """Whether its callbacks are about to play episodes, or to take steps; see :mod:`~sb3_nbsp.population.rollouts`."""
        return self.coming_evaluation is not None or self.model.position.pending is not None

    def finish_step(self, is_last: bool) -> None:
        """
        What is left of :meth:`end_step`. Where a callback stops the training, nothing is stored, as in SB3.

        :param is_last: whether the rollout ends with it
        """
        if not self.has_stopped:
            with self.own_streams():
                self._finish_step(is_last)
        self.coming_evaluation = self.model.taken_steps = None

    def _finish_step(self, is_last: bool) -> None:
        model, callback = self.model, self.callback
        assert self._actions is not None
        new_obs, rewards, dones, infos = self._told
        actions, buffer_actions = self._actions
        model.num_timesteps += model.env.num_envs
        self._locals["num_collected_steps"] += 1
        self._locals.update(
            actions=actions, buffer_actions=buffer_actions, new_obs=new_obs, rewards=rewards, dones=dones, infos=infos
        )
        callback.update_locals(self._locals)
        if not callback.on_step():
            self.has_stopped = True
            return
        model._update_info_buffer(infos, dones)
        model._store_transition(model.replay_buffer, buffer_actions, new_obs, rewards, dones, infos)
        model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
        model._on_step()
        for index, done in enumerate(dones):
            if done:
                self._end_episode(index)
        if is_last:
            callback.on_rollout_end()

    def _end_episode(self, index: int) -> None:
        model = self.model
        self._locals["num_collected_episodes"] += 1
        model._episode_num += 1
        if model.action_noise is not None:
            model.action_noise.reset(**({"indices": [index]} if model.env.num_envs > 1 else {}))
        if self._log_interval is not None and model._episode_num % self._log_interval == 0:
            if self.before_log is not None:
                self.before_log()
            model.dump_logs()

    # train()

    def may_have_changed(self) -> bool:
        """Whether parts of the model (not their values) may be others than at the last call."""
        mark = self.model.n_task_ends, self.model.in_stack, RemovableHandle.next_id
        before, self._mark = self._mark, mark
        return self.is_watched or mark != before

    @property
    def is_ready_to_train(self) -> bool:
        """Whether warm-ups are over."""
        model = self.model
        warms_up = model._warmup_until > 0 and model.num_timesteps <= model._warmup_until
        return bool(model.num_timesteps > 0 and model.num_timesteps > model.learning_starts and not warms_up)

    @property
    def gradient_steps(self) -> int:
        """How many steps follow a rollout."""
        model = self.model
        return model.gradient_steps if model.gradient_steps >= 0 else self._locals["num_collected_steps"] * model.env.num_envs

    def check_losses(self) -> None:
        """Have it leave where a loss that its model has recorded is NaN or infinite."""
        try:
            check_losses(self.model)
        except NotFiniteError as error:
            self.leave_with(error)

    def train_alone(self) -> None:
        """The model's own update."""
        if self.gradient_steps > 0:
            with self.own_streams():
                self.model.train(batch_size=self.model.batch_size, gradient_steps=self.gradient_steps)


# Callbacks that exchange no parts of a model but in consolidate(), save() and load_state_dict() of networks.
KNOWN_CALLBACKS = (
    "sb3_nbsp.checkpoints.",
    "sb3_nbsp.common.",
    "sb3_nbsp.evaluation.",
    "sb3_nbsp.zoo.",
    "stable_baselines3.common.callbacks",
    "rl_zoo3.",
)


def _is_foreign(callback: BaseCallback) -> bool:
    if isinstance(callback, ConvertCallback):
        return callback.callback is not None
    return not type(callback).__module__.startswith(KNOWN_CALLBACKS)
