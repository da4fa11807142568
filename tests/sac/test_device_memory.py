"""How much of a GPU's memory agents take is what their tensors take; here they are on the CPU. On a GPU: tests/gpu."""

from typing import Any

import pytest
import torch as th
from helpers.fast_updates import held, made

from sb3_nbsp.sac.agent_batches import AgentBatches
from sb3_nbsp.sac.agent_stack import AgentStack
from sb3_nbsp.sac.device_memory import batch_bytes, n_parameters, parts_of, shape_of, stack_bytes, statement
from sb3_nbsp.sac.mirrored_rows import mirror_bytes


def bytes_of(*things: Any) -> int:
    """What the tensors that hang on some objects take, each memory once."""
    found: dict[int, int] = {}

    def look(thing: Any) -> None:
        if isinstance(thing, th.Tensor):
            found[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
        elif isinstance(thing, list | tuple):
            for part in thing:
                look(part)
        elif type(thing).__name__ == "Outputs":
            look(thing.layers)

    for thing in things:
        for name, part in vars(thing).items():
            look(part if name != "_seen" else None)  # the models' own factors
    return sum(found.values())


@pytest.mark.parametrize("cloning", [False, True])
def test_what_is_computed_is_what_tensors_take(cloning):
    settings = {"rehearsal": "clone" if cloning else "replay", "memory_size": 50}
    models = [made(double=False, seed=seed, **settings) for seed in range(3)]
    shape = shape_of(models)
    assert (shape.n_agents, shape.n_critics, shape.n_old) == (3, 2, models[0].clone_batch_size if cloning else 0)
    stack = AgentStack(models)
    for model in models:
        held(model, [0.0, 0.0, 0.3, 0.7])
    for adam in stack.adams.values():
        adam.refresh()
    flats = [flat for name, flat in stack.flats.items() if name != "ent_coef"]
    adams = [adam for name, adam in stack.adams.items() if name != "ent_coef"]
    few = 4_000  # counts of steps, rates
    assert 0 <= bytes_of(*flats, *adams) - stack_bytes(shape) < few
    assert 0 <= bytes_of(AgentBatches(shape.batch_size, shape.n_old, stack)) - batch_bytes(shape) < few


def test_the_parts_and_what_is_said():
    models = [made(double=False, seed=seed) for seed in range(2)]
    parts = parts_of(models, has_mirror=True, outside=500_000_000)
    assert parts["replay buffers and memories"] >= mirror_bytes(models)
    assert parts_of(models, has_mirror=False, outside=0)["replay buffers and memories"] == 0
    assert parts["CUDA and other programs"] > 500_000_000
    said = statement(parts, th.device("cuda"))
    assert f"{sum(parts.values()) / 1e9:.2f} GB while they learn (CUDA and other programs" in said
    assert n_parameters((3, 5, 2)) == 3 * 5 + 5 + 5 * 2 + 2
