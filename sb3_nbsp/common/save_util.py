"""Saving and loading of the NBSP algorithms, and taking over models of their SB3 parents."""

import inspect
import io
import json
import pathlib
import zipfile
from copy import deepcopy
from typing import Any, ClassVar, TypeVar

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file, open_path, recursive_getattr, recursive_setattr
from stable_baselines3.common.type_aliases import TensorDict

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.common.env_util import is_task_sequence
from sb3_nbsp.protection.masks import NeuronMasks

OTHER_FILES = {"data", "_stable_baselines3_version", "system_info.txt", "pytorch_variables.pth"}  # in every model's file

Self = TypeVar("Self", bound="SavedWithMasks")


class SavedWithMasks(BaseAlgorithm):
    """
    The part of an NBSP algorithm that has to do with files and other models.

    Subclasses set

    - ``sb3_class``: the SB3 parent
    - ``optimizer_names``: the optimizers that are masked, e.g. ``("actor.optimizer", "critic.optimizer")``
    """

    sb3_class: ClassVar[type[BaseAlgorithm]]
    optimizer_names: ClassVar[tuple[str, ...]]

    neuron_masks: NeuronMasks
    learned_tasks: list[str]
    skill_neuron_records: dict[str, dict[str, Any]]
    sequence_steps: int

    def _apply_masks(self) -> None:
        """Put the masks in force."""
        factors = self._parameter_factors()
        for name in self.optimizer_names:
            recursive_getattr(self, name).set_factors(factors)

    def _parameter_factors(self) -> dict[th.Tensor, th.Tensor]:
        """The masks' factors by parameter; to be extended."""
        return self.neuron_masks.parameter_factors()

    def _check_parameters(self, parameters: dict[str, Any]) -> None:
        """
        :raises TypeError: for the parameters of another kind of model (SB3's load() takes a ValueError for an old file)
        """

    def _optional_states(self) -> dict[str, Any]:
        """
        Objects with a state dict that are saved once there is something in them; before, a file has the parent's form.

        :return: by their name as SB3 looks them up
        """
        return {"neuron_masks": self.neuron_masks}

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, variables = super()._get_torch_save_params()
        filled = [name for name, part in self._optional_states().items() if _has_content(part.state_dict())]
        return [*state_dicts, *filled], variables

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "neuron_masks"]

    def save(self, path: str | pathlib.Path | io.BufferedIOBase, *args: Any, **kwargs: Any) -> None:
        """See SB3. A file is replaced as a whole: a process that is killed while it saves leaves the old file."""
        if isinstance(path, io.BufferedIOBase):
            super().save(path, *args, **kwargs)
            return
        path = pathlib.Path(path)
        with replacing(path if path.suffix else path.with_suffix(".zip")) as temporary:
            super().save(temporary, *args, **kwargs)

    def set_parameters(
        self, load_path_or_dict: str | TensorDict, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """
        See SB3. The masks are put in force.

        With ``exact_match``, parameters from before the first consolidation take masks and memory away.
        """
        parameters: Any = load_path_or_dict
        if not isinstance(parameters, dict):
            _, parameters, _ = load_from_zip_file(parameters, device=device, load_data=False)
        self._check_parameters(parameters)
        for name, part in self._optional_states().items():
            if name in parameters:
                part.load_state_dict(parameters[name])
            elif exact_match:
                part.reset()
        if exact_match and self.neuron_masks.has_neurons and self.neuron_masks.n_tasks == 0:
            self.learned_tasks, self.skill_neuron_records = [], {}
        # A task that only its mask tells of needs a name: the next one must not take its place.
        for index in range(len(self.learned_tasks), self.neuron_masks.n_tasks):
            self.learned_tasks.append(f"task {index + 1}")
        super().set_parameters(parameters, exact_match, device)
        self._apply_masks()

    @classmethod
    def load(cls: type[Self], path: str | pathlib.Path | io.BufferedIOBase, *args: Any, **kwargs: Any) -> Self:
        """
        Load a model that this class saved. See SB3 for the arguments.

        :raises ValueError: for a file that another class saved
        """
        cls._check_origin(path)
        try:
            return super().load(path, *args, **kwargs)
        except (TypeError, AttributeError) as error:  # e.g. settings of another algorithm
            raise ValueError(f"{path} cannot be loaded as {cls.__name__} ({error}). Was it saved by another class?") from error

    @classmethod
    def _check_origin(cls, path: str | pathlib.Path | io.BufferedIOBase) -> None:
        file = open_path(path, "r", suffix="zip")
        try:
            if not zipfile.is_zipfile(file):
                return  # SB3 has words for that
            with zipfile.ZipFile(file) as archive:
                names = set(archive.namelist())
                data = json.loads(archive.read("data")) if "data" in names else {}
        finally:
            if file is path:
                file.seek(0)
            else:
                file.close()
        if "skill_fraction" in data and {f"{name}.pth" for name in cls.optimizer_names} <= names:
            return
        raise ValueError(
            f"{path} was not saved by {cls.__name__}: it holds {', '.join(sorted(names - OTHER_FILES))}. "
            f"If a {cls.sb3_class.__name__} model is in it, take it over with {cls.__name__}.from_sb3({str(path)!r})."
        )

    @classmethod
    def from_sb3(cls: type[Self], model: BaseAlgorithm | str | pathlib.Path, env: Any = None, **arguments: Any) -> Self:
        """
        Take over a model of the SB3 parent class: networks, optimizer state, counters, env.

        :param model: the model, or the path of its zip file
        :param env: env to train on; default: the model's own (a file holds none)
        :param arguments: NBSP's arguments
        :raises TypeError: for a model of another class, or an argument that is not NBSP's
        """
        own = set(inspect.signature(cls).parameters) - set(inspect.signature(cls.sb3_class).parameters)
        if not set(arguments) <= own:
            raise TypeError(
                f"{cls.__name__}.from_sb3 takes NBSP's arguments ({', '.join(sorted(own))}); got "
                f"{', '.join(sorted(set(arguments) - own))}. Set {cls.sb3_class.__name__}'s own before, e.g. in its load()."
            )
        if isinstance(model, str | pathlib.Path):
            model = cls.sb3_class.load(model, env=env)
        if not isinstance(model, cls.sb3_class) or isinstance(model, cls):
            raise TypeError(f"{cls.__name__}.from_sb3 takes a {cls.sb3_class.__name__} model; got {type(model).__name__}.")
        new = cls._with_settings_of(model, arguments)
        parameters = deepcopy(model.get_parameters())
        new.set_parameters(parameters)  # type: ignore[arg-type]
        for name in model._get_torch_save_params()[1]:
            if recursive_getattr(model, name) is not None:
                recursive_setattr(new, f"{name}.data", recursive_getattr(model, name).data.clone())
        if env is not None:
            new.env = None  # no task is left, of which set_env() would remind
            new.set_env(env)
        if new.env is not None and is_task_sequence(new.env):
            new.sequence_steps = new.env.get_attr("sequence_steps", 0)[0]
        return new

    @classmethod
    def _with_settings_of(cls: type[Self], model: BaseAlgorithm, arguments: dict[str, Any]) -> Self:
        """A new model with another's settings and counters, made as SB3 makes one when it loads."""
        states, variables = model._get_torch_save_params()
        left_out = {name.split(".")[0] for name in [*model._excluded_save_params(), *states, *variables]}
        settings = deepcopy({name: value for name, value in model.__dict__.items() if name not in left_out})
        settings["policy_class"] = cls._own_policy(model.policy_class)
        new = cls(settings["policy_class"], model.env, device=model.device, _init_setup_model=False)  # type: ignore[call-arg]
        new.__dict__.update(cls._own_settings(settings) | arguments)
        new._setup_model()
        return new

    @classmethod
    def _own_policy(cls, policy_class: type[BasePolicy]) -> type[BasePolicy]:
        """Our policy in place of SB3's; a user's own stays."""
        for alias, standard in cls.sb3_class.policy_aliases.items():
            if policy_class is standard:
                return cls.policy_aliases[alias]
        return policy_class

    @classmethod
    def _own_settings(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Exchange settings of an SB3 model that name the parent's own parts."""
        return settings


def _has_content(state_dict: dict[str, Any]) -> bool:
    """Whether a (nested) state dict holds any number."""
    return any(_has_content(v) if isinstance(v, dict) else v.numel() > 0 for v in state_dict.values())
