"""A member's learn(), piece by piece: what it knows of its callbacks, and where its log goes."""

import numpy as np
import pytest
from helpers import NBSP_SETTINGS, sequence_env
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback, EveryNTimesteps
from stable_baselines3.common.logger import Logger

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.random_states import ProcessStreams, RandomStates, RandomStreams
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


def test_a_loss_that_is_none_is_noted_inside_a_block_too_and_random_streams_stay_in_their_place():
    model = NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS)
    model.set_logger(Logger(None, []))
    model.logger.record("train/critic_loss", float("nan"))
    member, before = Member(model, RandomStreams(RandomStates())), np.random.get_bit_generator()
    with member.own_streams():
        member.check_losses()
    assert np.random.get_bit_generator() is before
    assert member.has_stopped and "train/critic_loss is nan" in str(member.error)


def test_errors_of_a_members_own_are_kept_and_others_go_on_their_way():
    member = Member(NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS), ProcessStreams())
    for error in (EOFError("all"), KeyboardInterrupt("all")):
        with pytest.raises(type(error), match="all"), member.own_streams():
            raise error
    assert not member.has_stopped
    for error in (ValueError("mine"), KeyError("later")):
        with member.own_streams():
            raise error
    assert member.has_stopped and str(member.error) == "mine"
