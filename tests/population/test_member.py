"""A member's learn(), piece by piece: what it knows of its callbacks, and where its log goes."""

import pytest
from helpers import NBSP_SETTINGS, sequence_env
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback, EveryNTimesteps

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.random_states import ProcessStreams
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.population.member import Member


class Own(BaseCallback):
    """Someone else's: it may do anything to its model."""

    def _on_step(self) -> bool:
        return True


KNOWN = {
    "none": lambda: None,
    "a list": lambda: CallbackList([SequenceEvalCallback(40), EveryNTimesteps(5, CallbackList([]))]),
}
FOREIGN = {
    "alone": Own,
    "a function": lambda: lambda *_: True,
    "in a list": lambda: [SequenceEvalCallback(40), Own()],
    "now and then": lambda: EveryNTimesteps(5, Own()),
    "now and then, in a list": lambda: [EveryNTimesteps(5, CallbackList([Own()]))],
    "after an evaluation": lambda: EvalCallback(sequence_env(), callback_after_eval=Own()),
    "at a new best": lambda: EvalCallback(sequence_env(), callback_on_new_best=Own()),
}


@pytest.mark.parametrize("name", [*KNOWN, *FOREIGN])
def test_a_member_is_watched_by_whatever_callback_is_not_known_wherever_it_is(name):
    model = NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS)
    member = Member(model, ProcessStreams())
    member.set_up(10, {**KNOWN, **FOREIGN}[name](), None, reset_num_timesteps=True, tb_log_name="SAC")
    assert member.is_watched == (name in FOREIGN)
