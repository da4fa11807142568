"""SAC's gradient step as one program on a GPU, for one agent and for many: what the graph does is what the operations do."""

import numpy as np
import pytest
import torch as th
from helpers import NBSP_SETTINGS, same, sequence_env
from helpers.fast_updates import NET, difference, held, keep_clones, made
from helpers.sac_models import held_positions, saved_and_loaded, values_at

from sb3_nbsp import NBSPSAC
from sb3_nbsp.base.random_states import RandomStates, RandomStreams
from sb3_nbsp.population import Population
from sb3_nbsp.sac.agent_batches import AgentBatches
from sb3_nbsp.sac.agent_stack import AgentStack
from sb3_nbsp.sac.batched_learner import BatchedLearner
from sb3_nbsp.sac.batched_update import BatchedUpdate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)", "ignore:.*of its neurons free"),
]
SETTINGS = [
    {"mask_target": "gradient", "learning_rate": 1e-3, "rehearsal": "both"},
    {"gamma": 0.9, "tau": 0.02, "rehearsal": "clone"},
    {"memory_size": 0},
]


def agents(device: str, settings=SETTINGS, **common) -> list[NBSPSAC]:
    """In float64, with ordinary replay buffers."""
    models = [made(double=False, device=device, seed=seed, **common, **own) for seed, own in enumerate(settings)]
    for model in models:
        model.policy.double()
        model.log_ent_coef.data = model.log_ent_coef.data.double()
    return models


def learner(models) -> BatchedLearner:
    np.random.seed(3), th.manual_seed(3)
    return BatchedLearner(models, [RandomStreams(RandomStates()) for _ in models])


def end_task(models) -> None:
    for model in models:
        np.random.seed(0)
        if model.memory_size:
            keep_clones(model, 50)
            model.replay_buffer.remember(0)
        held(model, [0.0, 0.0, 0.3, 0.7])
        model.log_ent_coef.data.fill_(0.0)
        model.ent_coef_optimizer.state.clear()


@pytest.mark.parametrize("settings", [SETTINGS[:1], SETTINGS], ids=["one agent", "three"])
def test_a_graph_does_what_the_operations_do(settings, device):
    captured, eager = (learner(agents(device, settings)) for _ in range(2))
    if device == "cuda":
        assert captured.graphs is not None and captured.replay is not None
    eager.graphs = None
    for one in (captured, eager):
        one.train(30, 64)
        end_task(one.models)
        one.train(30, 64)
        one.models[0].actor.optimizer.reset_state()
        for model in one.models:
            model.lr_schedule = lambda _: 2e-3
        one.train(30, 32)  # batches of another size
    assert max(difference(*pair) for pair in zip(captured.models, eager.models, strict=True)) < 1e-10
    if device == "cuda":
        assert captured.graphs is not None and not captured.graphs.has_failed and captured.graphs.n_captured >= 3


def test_a_step_on_the_gpu_is_that_on_the_cpu(device):
    stacks = [AgentStack(agents(place)) for place in ("cpu", device)]
    for stack in stacks:
        end_task(stack.models)
        for agent in range(3):
            stack.put(agent)
    updates, batches = [BatchedUpdate(stack) for stack in stacks], [AgentBatches(64, 0, stack) for stack in stacks]
    for update in updates:
        update.refresh()
    for _ in range(30):
        for name in ("taken", "observations", "drawn", "rewards", "discounts"):
            values = th.randn_like(getattr(batches[0], name))
            for batch in batches:
                getattr(batch, name).copy_(values)
        for batch in batches:
            batch.taken_observations.copy_(batch.now_observations)
        for update, batch in zip(updates, batches, strict=True):
            update.step(batch, True), update.stepped(1)
    # Where a gradient is hardly more than rounding, Adam divides one rounding error by another: not to the last digits.
    for a, b in zip(stacks[0].flats.values(), stacks[1].flats.values(), strict=True):
        assert th.allclose(a.values, b.values.cpu(), rtol=1e-7, atol=1e-7)
    assert updates[0].losses()[2][0] == pytest.approx(updates[1].losses()[2][0], rel=1e-7)


def on_sequence(device: str, seed: int = 0, **kwargs) -> NBSPSAC:
    settings = {**NBSP_SETTINGS, "scoring_steps": 30, "learning_rate": 1e-2, "mask_coef": 0.0, "select_among": "active"}
    return NBSPSAC("MlpPolicy", sequence_env(), **{**settings, "device": device, **kwargs, "seed": seed})


def test_one_agent_learns_a_sequence_without_autograd(device, capsys):
    model = on_sequence(device, verbose=1).learn(80)
    assert model.update_path == "fast" and model.learned_tasks == ["east"]
    positions = held_positions(model)
    before = values_at(model, positions)
    assert positions
    loaded = saved_and_loaded(model, device="cpu")
    assert same({k: v.cpu() for k, v in model.policy.state_dict().items()}, dict(loaded.policy.state_dict()))
    model.learn(100, reset_num_timesteps=False)
    assert model.learned_tasks == ["east", "west"] and same(values_at(model, positions), before)
    assert all(bool(p.isfinite().all()) for p in model.policy.parameters())
    if device == "cuda":
        assert not model._fast.graphs.has_failed and model._fast.graphs._graphs
        assert "replay buffer and memory" in capsys.readouterr().out


def test_a_population_learns_a_sequence(device):
    members = [on_sequence(device, seed, **own) for seed, own in enumerate(SETTINGS)]
    Population(members).learn(140)
    for model in members:
        assert model.learned_tasks == ["east", "west"] and model._n_updates > 60
        assert all(bool(p.isfinite().all()) for p in model.policy.parameters())
        assert "train/critic_loss" in model.logger.name_to_value or model._n_updates
    again = [on_sequence(device, seed, **own) for seed, own in enumerate(SETTINGS)]
    Population(again).learn(140)
    for one, other in zip(members, again, strict=True):  # the same seeds, the same agents
        states = [{k: v.cpu() for k, v in model.policy.state_dict().items()} for model in (one, other)]
        assert max(float((states[0][k] - states[1][k]).abs().max()) for k in states[0]) < 1e-2


def test_where_capturing_fails_training_goes_on(device, monkeypatch, capsys):
    if device == "cpu":
        pytest.skip("nothing is captured on the CPU")

    class Broken:
        def __init__(self, *args, **kwargs):
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore lines")

    model = on_sequence(device, verbose=1)
    monkeypatch.setattr(th.cuda, "graph", Broken)
    model.learn(60)
    said = capsys.readouterr().out
    assert said.count("could be captured in a CUDA graph") == 1 and "more lines" not in said
    assert model._n_updates > 30 and model._fast.graphs.has_failed


def test_where_the_mirror_does_not_fit_batches_come_from_main_memory(device, monkeypatch, capsys):
    if device == "cpu":
        pytest.skip("nothing is mirrored on the CPU")
    monkeypatch.setattr(th.cuda, "mem_get_info", lambda *_: (1000, 2000))
    model = on_sequence(device, verbose=1).learn(60)
    assert "do not fit" in capsys.readouterr().out
    assert model._fast.replay is None and model._fast.graphs._graphs and model.update_path == "fast"


def test_other_networks_use_autograd(device):
    model = on_sequence(device, policy_kwargs={"activation_fn": th.nn.Tanh, **NET}).learn(40)
    assert model.update_path == "autograd" and model.update_obstacle.startswith("an activation of the actor is Tanh")
