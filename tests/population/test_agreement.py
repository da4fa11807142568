"""Which models can learn together, and what is said of the others."""

import inspect
import re

import pytest
from helpers import NBSP_SETTINGS, POLICY_KWARGS, VECTOR, ToyEnv, sequence_env
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import CallbackList, EvalCallback, EveryNTimesteps, StopTrainingOnMaxEpisodes
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import nn

from sb3_nbsp import NBSPSAC
from sb3_nbsp.population import Population, member
from sb3_nbsp.population.agreement import LOOP


def made(cls=NBSPSAC, steps: int = 60, n_envs: int = 1, **kwargs):
    return cls("MlpPolicy", sequence_env(n_envs, steps), **{**NBSP_SETTINGS, **kwargs})


DIFFERENT = {
    "batch_size": ({"batch_size": 32}, "batch_size differs: 16 in member 0, 32 in member 1"),
    "networks": ({"policy_kwargs": {"net_arch": [8, 4]}}, "shapes of the networks differs"),
    "activation": ({"policy_kwargs": {**POLICY_KWARGS, "activation_fn": nn.Tanh}}, "activations differs"),
    "train_freq": ({"train_freq": 4}, "train_freq differs"),
    "gradient_steps": ({"gradient_steps": 2}, "gradient_steps differs: 1 in member 0, 2 in member 1"),
    "learning_starts": ({"learning_starts": 30}, "learning_starts differs"),
    "task_warmup": ({"task_warmup": 5}, "task_warmup differs"),
    "target": ({"target_update_interval": 2}, "target_update_interval differs"),
    "ent_coef": ({"ent_coef": 0.1}, "a learned entropy coefficient"),
    "segments": ({"steps": 70}, "lengths of the tasks in env steps differs"),
    "sub-envs": ({"n_envs": 2}, "number of sub-envs differs"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_is_named(name):
    settings, reason = DIFFERENT[name]
    with pytest.raises(ValueError, match=reason):
        Population([made(), made(**settings)])


def test_what_may_differ():
    Population(
        [
            made(),
            made(learning_rate=1e-3, gamma=0.9, tau=0.01, target_entropy=-1.0, mask_target="gradient", memory_size=0, seed=7),
            made(skill_fraction=0, replay_interval=3, score="taylor", buffer_size=500, fast_update=False),
            made(policy_kwargs={**POLICY_KWARGS, "optimizer_kwargs": {"eps": 1e-5, "betas": (0.8, 0.99)}}, task_gates=True),
        ]
    )


REFUSED = {
    "n_steps": ({"n_steps": 3}, "needs n_steps=1; member 0 has 3"),
    "gsde": ({"use_sde": True}, "member 0 uses gSDE|Member 0 uses gSDE"),
    "episodes": ({"train_freq": (1, "episode")}, "train_freq counts env steps"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_population_can_train(name):
    settings, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        Population([made(**settings)])


def test_other_classes_are_refused():
    with pytest.raises(TypeError, match="member 1 is a SAC"):
        Population([made(), SAC("MlpPolicy", sequence_env())])
    with pytest.raises(TypeError, match="made of a list of models; got a NBSPSAC"):
        Population(made())


@pytest.mark.parametrize("name", ["learn", "collect_rollouts", "_sample_action", "predict", "train"])
def test_a_class_with_a_loop_of_its_own_is_refused(name):
    own = type("OwnLoop", (NBSPSAC,), {name: lambda self, *args, **kwargs: getattr(NBSPSAC, name)(self, *args, **kwargs)})
    with pytest.raises(TypeError, match=rf"Member 1 has a {name}\(\) of its own"):
        Population([made(), made(own)])


def test_whatever_else_the_loop_calls_is_called_on_members():
    loop = inspect.getsource(OffPolicyAlgorithm.learn) + inspect.getsource(OffPolicyAlgorithm.collect_rollouts)
    called = set(re.findall(r"self\.(\w+)\(", loop)) - set(LOOP)
    pieces = set(re.findall(r"model\.(\w+)\(", inspect.getsource(member)))
    assert len(called) > 5 and called <= pieces


def test_members_are_different_and_have_envs():
    model = made()
    with pytest.raises(ValueError, match="at least one model"):
        Population([])
    with pytest.raises(ValueError, match="one of them twice"):
        Population([model, model])
    other = NBSPSAC("MlpPolicy", model.env, **NBSP_SETTINGS)
    with pytest.raises(ValueError, match="members 0 and 1 share one, a DummyVecEnv"):
        Population([model, other])
    env = ToyEnv(VECTOR)  # SB3 puts it into another DummyVecEnv for each of them
    inside = [made(), *(NBSPSAC("MlpPolicy", env, **NBSP_SETTINGS) for _ in range(2))]
    with pytest.raises(ValueError, match=r"members 1 and 2 share one, a ToyEnv\. Make one for each"):
        Population(inside)
    other.env = None
    with pytest.raises(ValueError, match=r"Member 1 has no env. Give it one with set_env\(\)"):
        Population([model, other])


def test_callbacks_are_by_member():
    with pytest.raises(ValueError, match="one callback"):
        Population([made(), made()]).learn(10, callbacks=[None])
    with pytest.raises(TypeError, match=r"a list with one callback \(or None\) per member, 2; got a StopTraining"):
        Population([made(), made()]).learn(10, callbacks=StopTrainingOnMaxEpisodes(3))
    with pytest.raises(ValueError, match="callback must be None or a callback object"):
        Population([made(), made()]).learn(10, callbacks=[None, StopTrainingOnMaxEpisodes])


SHARED = {
    "alone": lambda one: [one, one],
    "in lists": lambda one: [[one], [StopTrainingOnMaxEpisodes(9), one]],
    "inside others": lambda one: [CallbackList([EveryNTimesteps(5, one)]), one],
    "at a new best": lambda one: [one, EvalCallback(sequence_env(), callback_on_new_best=one)],
}


@pytest.mark.parametrize("name", SHARED)
def test_a_callback_belongs_to_one_member(name):
    models = [made(), made(), made()]
    with pytest.raises(ValueError, match="One StopTrainingOnMaxEpisodes was given to members 1 and 2"):
        Population(models).learn(10, callbacks=[None, *SHARED[name](StopTrainingOnMaxEpisodes(3))])
    assert models[0].num_timesteps == 0 and not hasattr(models[0], "_logger")


def test_a_member_may_have_a_callback_twice_and_members_may_share_a_function():
    twice = StopTrainingOnMaxEpisodes(30)

    def goes_on(*_):
        return True

    Population([made(), made(), made()]).learn(5, callbacks=[[twice, twice], goes_on, goes_on])
