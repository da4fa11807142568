"""Files, copies and parameters of models with task gates."""

import copy
import json
import zipfile

import pytest
from helpers import same
from helpers.gated import (
    CLASSES,
    PARENTS,
    STEPS,
    difference,
    gated_env,
    made,
    observations,
    on,
    outputs,
    owners,
    quiet,
    settings,
)

from sb3_nbsp import NBSPSAC

pytestmark = quiet


@pytest.mark.parametrize("cls", CLASSES)
def test_a_model_saved_within_a_task_goes_on(cls, tmp_path):
    model = on(made(cls, memory_size=40), STEPS)
    before, owner = outputs(model, observations("east")), owners(model)
    on(model, STEPS // 2).save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", env=gated_env(cls))
    assert loaded.task_gates and same(owners(loaded), owner)
    assert difference(before, outputs(loaded, observations("east"))) == 0.0
    middle = outputs(loaded, observations("west"))
    on(loaded, STEPS)
    assert loaded.learned_tasks == ["east", "west"] and loaded.gates.owns(1)
    assert difference(before, outputs(loaded, observations("east"))) == 0.0
    assert difference(middle, outputs(loaded, observations("west"))) > 1e-3


def test_a_model_saved_while_it_relearns_a_task(tmp_path):
    two = ("east", "west")
    model = on(made(env=gated_env(tasks=two, cycles=2)), 2 * STEPS + 20)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model", env=gated_env(tasks=two, cycles=2))
    before = {task: outputs(loaded, observations(task, tasks=two)) for task in two}
    on(loaded, 20)
    assert difference(before["west"], outputs(loaded, observations("west", tasks=two))) == 0.0
    assert difference(before["east"], outputs(loaded, observations("east", tasks=two))) > 0


@pytest.mark.parametrize("cls", CLASSES)
def test_a_file_from_before_the_first_consolidation_has_the_parents_form(cls, tmp_path):
    made(cls).save(tmp_path / "gated")
    made(cls, task_gates=False).save(tmp_path / "plain")
    names = [set(zipfile.ZipFile(tmp_path / f"{name}.zip").namelist()) for name in ("gated", "plain")]
    assert names[0] == names[1]
    loaded = on(cls.load(tmp_path / "gated", env=gated_env(cls)), STEPS)
    assert loaded.gates.owns(0)


def test_a_file_from_before_there_were_gates(tmp_path):
    on(made(task_gates=False), STEPS).save(tmp_path / "new")
    with zipfile.ZipFile(tmp_path / "new.zip") as new, zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "data":
                data = json.loads(content)
                del data["task_gates"]
                content = json.dumps(data).encode()
            old.writestr(name, content)
    loaded = NBSPSAC.load(tmp_path / "old", env=gated_env())
    assert not loaded.task_gates and loaded.gates is None
    assert on(loaded, STEPS).learned_tasks == ["east", "west"]


def test_a_file_without_gates_is_not_loaded_with_them(tmp_path):
    on(made(task_gates=False), STEPS).save(tmp_path / "model")
    with pytest.raises(ValueError, match="task_gates"):
        NBSPSAC.load(tmp_path / "model", env=gated_env(), task_gates=True)


def test_parameters_go_from_model_to_model():
    model = on(made(), STEPS)
    before, earlier = outputs(model, observations("east")), made().get_parameters()
    other = made()
    other.set_parameters(copy.deepcopy(model.get_parameters()))
    assert same(owners(other), owners(model)) and difference(before, outputs(other, observations("east"))) == 0.0
    model.set_parameters(earlier)
    assert not model.gates.owns(0) and model.gates.free_share() == 1 and model.learned_tasks == []
    assert not model.actor.optimizer.is_masking


def test_gated_parameters_in_a_model_without_gates():
    parameters = on(made(), STEPS).get_parameters()
    with pytest.raises(TypeError, match="task_gates"):
        made(task_gates=False).set_parameters(parameters)


def test_a_copy_stands_for_itself():
    model = on(made(), STEPS)
    before = outputs(model, observations("east"))
    other = copy.deepcopy(model)
    on(other, STEPS)
    assert other.gates.owns(1) and not model.gates.owns(1)
    for one in (model, other):
        assert difference(before, outputs(one, observations("east"))) == 0.0


@pytest.mark.parametrize("cls", CLASSES)
def test_a_model_of_the_parent_is_taken_over(cls):
    parent = PARENTS[cls]
    plain = parent("MlpPolicy", gated_env(cls), **settings(parent)).learn(STEPS // 2)
    model = cls.from_sb3(plain, task_gates=True, memory_size=0, scoring_steps=60)
    before = outputs(on(model, STEPS // 2), observations("east"))
    assert model.learned_tasks == ["east"] and model.gates.owns(0)
    assert difference(before, outputs(on(model, STEPS), observations("east"))) == 0.0
