"""An SB3 algorithm whose neurons can be held: NBSP's arguments, masks on its optimizers, files."""

import inspect
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import recursive_getattr, recursive_setattr
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from sb3_nbsp.base.arguments import check_arguments, check_values
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.checkpoints import methods as checkpoints
from sb3_nbsp.common import beginnings, finite_checks, from_sb3, gate_requirements, save_util, settings_file, space_mismatch
from sb3_nbsp.common.file_checks import naming_damage, naming_other_networks
from sb3_nbsp.common.learned_tasks import fit_to_masks
from sb3_nbsp.common.older_files import moved_modules
from sb3_nbsp.common.parents_arguments import check_learn, check_policy_kwargs
from sb3_nbsp.common.position import SequencePosition
from sb3_nbsp.common.scoring_losses import ScoringLoss
from sb3_nbsp.common.settings_in_vain import warn_of_settings
from sb3_nbsp.common.task_end import try_score
from sb3_nbsp.neurons.networks import find_networks
from sb3_nbsp.neurons.skill_neurons import SkillNeurons
from sb3_nbsp.protection.gates import TaskGates
from sb3_nbsp.protection.masks import NeuronMasks
from sb3_nbsp.protection.optimizer import MaskedOptimizer, check_masked
from sb3_nbsp.protection.protection import Protection
from sb3_nbsp.rehearsal.memory import TaskMemory

Self = TypeVar("Self", bound="ProtectedAlgorithm")


class ProtectedAlgorithm(BaseAlgorithm):
    """
    What the NBSP algorithms are apart from learning: built, saved, loaded, taken over from SB3.

    An algorithm sets the class variables below and lists all arguments in its constructor, which calls :meth:`_construct`.
    The arguments are stored under their own names, as SB3's loading demands.

    - ``sb3_class``: the SB3 parent
    - ``parents_arguments``: what the parent's arguments may be, see :mod:`sb3_nbsp.common.parents_arguments`
    - ``optimizer_names``: the optimizers that are masked, e.g. ``("actor.optimizer", "critic.optimizer")``
    - ``target_networks``: pairs of a network and the target network that follows it
    - ``clips_gradients``: whether ``train()`` clips gradients before the optimizers' step
    - ``scoring_losses``: how to run each part of the model for scoring, see :mod:`sb3_nbsp.common.scoring_losses`
    - ``buffer_name``, ``mixed_buffers``: the parent's buffer, and ours by SB3's class
    """

    sb3_class: ClassVar[type[BaseAlgorithm]]
    parents_arguments: ClassVar[Mapping[str, Any]]
    optimizer_names: ClassVar[tuple[str, ...]]
    target_networks: ClassVar[tuple[tuple[str, str], ...]] = ()
    clips_gradients: ClassVar[bool] = False
    scoring_losses: ClassVar[Mapping[str, ScoringLoss]]
    buffer_name: ClassVar[str]
    mixed_buffers: ClassVar[Mapping[Any, Any]]

    # Arguments, see sb3_nbsp.common.arguments
    skill_fraction: float
    mask_coef: float
    mask_target: Any
    mask_networks: Any
    mask_sides: Any
    mask_output_biases: bool
    task_gates: bool
    score: str
    select_among: Any
    goal_metric: Any
    scoring_steps: int
    memory_size: int
    reset_optimizer: bool
    schedules_per_task: bool

    # State that is saved with the model, in plain types
    learned_tasks: list[str]
    skill_neuron_records: dict[str, dict[str, Any]]
    position_record: dict[str, Any]
    beginnings: dict[str, Any]

    protection: Protection

    _written: Any = None  # this and what follows: for checkpoints
    _going_on: Any = None
    _kept_elsewhere: frozenset[str] = frozenset()
    steps_left = property(checkpoints.steps_left)
    goes_on_exactly = property(checkpoints.goes_on_exactly)
    save_checkpoint = checkpoints.save_checkpoint
    save_stored = settings_file.save_stored
    load_checkpoint = classmethod(checkpoints.load_checkpoint)

    # Construction

    def _construct(self, arguments: dict[str, Any]) -> None:
        """
        Do what a constructor does, for constructors that list the parent's arguments and NBSP's.

        :param arguments: the constructor's ``locals()``
        """
        parents = {name: arguments[name] for name in inspect.signature(self.sb3_class).parameters}
        own = {name: value for name, value in arguments.items() if name not in (*parents, "self", "__class__")}
        check_values(self.parents_arguments, parents)
        if isinstance(parents["policy"], str) and parents["policy"] not in self.policy_aliases:
            raise ValueError(unknown_name_message("policy", parents["policy"], self.policy_aliases))
        if parents["env"] is None and parents["_init_setup_model"]:
            raise ValueError(f"env must be given to {type(self).__name__}; got None.")
        self.sb3_class.__init__(self, **{**parents, "_init_setup_model": False})
        self.__dict__.update(own)
        self._init_state()
        self._is_made: bool = arguments["_init_setup_model"]  # else it is loaded
        if self._is_made:
            self._setup_model()
            self.protection.check_wanted(self.skill_fraction)
            try_score(self)
            warn_of_settings(self)

    def _init_state(self) -> None:
        """Start with no task learned."""
        self.learned_tasks = []
        self.skill_neuron_records = {}
        self.position_record = SequencePosition.new_record()
        self.beginnings = beginnings.new_record()

    def _setup_model(self) -> None:
        self._check_arguments()
        self.position_record = SequencePosition.record_of_older(self.__dict__) or self.position_record
        super()._setup_model()  # type: ignore[safe-super]
        if self.task_gates:
            gate_requirements.check_policy(self.policy)
        self.protection = Protection(
            find_networks(self.policy),
            self.mask_networks,
            self.mask_sides,
            self.mask_output_biases,
            self.task_gates,
            [(recursive_getattr(self, name), recursive_getattr(self, target)) for name, target in self.target_networks],
        ).to(self.device)
        for name in self.optimizer_names:
            base = recursive_getattr(self, name)
            recursive_setattr(self, name, MaskedOptimizer(base, self.mask_target, self.clips_gradients))

    def _check_parents_arguments(self) -> None:
        """Before anything is made of them; a file's settings may have been changed by ``load()``."""
        check_values(self.parents_arguments, self.__dict__)

    def _check_arguments(self) -> None:
        described = next(cls for cls in type(self).__mro__ if "sb3_class" in vars(cls))  # a user's class may list less
        check_arguments(vars(described)["__init__"], self.__dict__)
        check_policy_kwargs(self.policy_class, self.policy_kwargs, self.policy_class in self.policy_aliases.values())

    # Learning

    def learn(self: Self, *args: Any, **kwargs: Any) -> Self:
        """See SB3. NaN and infinity are refused, see :mod:`sb3_nbsp.common.finite_checks`."""
        check_learn(args, kwargs)
        with finite_checks.explained(self):
            return super().learn(*args, **kwargs)  # type: ignore[safe-super]

    def train(self, *args: Any, **kwargs: Any) -> None:
        """See SB3."""
        super().train(*args, **kwargs)  # type: ignore[misc]
        finite_checks.check_losses(self)

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        return super()._init_callback(finite_checks.guarded(callback), progress_bar)

    # What it has

    @property
    def position(self) -> SequencePosition:
        """Where the model stands in what it learns."""
        return SequencePosition(self.position_record)

    @property
    def neuron_masks(self) -> NeuronMasks:
        """The factor of each neuron and task."""
        return self.protection.masks

    @property
    def gates(self) -> TaskGates | None:
        """The task gates, ``None`` without ``task_gates``."""
        return self.protection.gates

    @property
    def memory(self) -> TaskMemory[Any] | None:
        """What is kept of old tasks for replay (NBSPPPO: for cloning, too); ``None`` where the buffer cannot keep any."""
        memory = getattr(getattr(self, self.buffer_name, None), "memory", None)
        return memory if isinstance(memory, TaskMemory) else None

    @property
    def skill_neurons(self) -> dict[str, SkillNeurons]:
        """The skill neurons of every task consolidated so far, by name."""
        return {task: SkillNeurons.from_dict(record) for task, record in self.skill_neuron_records.items()}

    def _optimizers(self) -> list[MaskedOptimizer]:
        return [check_masked(name, recursive_getattr(self, name)) for name in self.optimizer_names]

    def _apply_masks(self) -> None:
        """Put the masks in force."""
        factors = self.protection.parameter_factors()
        for optimizer in self._optimizers():
            optimizer.set_factors(factors)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """See SB3."""
        with space_mismatch.explained(env):
            super().set_env(env, force_reset)

    # Files and other models

    def _optional_states(self) -> dict[str, Any]:
        """What is saved beside the parent's, by SB3's names, once there is something in it. It has a state dict."""
        memory = {} if self.memory is None else {f"{self.buffer_name}.memory": self.memory}
        return {**self.protection.states(), **memory}

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, variables = super()._get_torch_save_params()
        filled = [name for name, part in checkpoints.kept_in_file(self).items() if save_util.has_content(part.state_dict())]
        if "neuron_masks" not in filled:  # before the first consolidation gates say nothing
            filled = [name for name in filled if name != "gates"]
        return [*state_dicts, *filled], variables

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "protection", "is_learning", "goes_beyond", *checkpoints.ATTRIBUTES]

    def save(self, path: save_util.File, *args: Any, **kwargs: Any) -> None:
        """
        See SB3. One deflated zip archive, replaced as a whole: a process that is killed while it saves leaves the old file.
        """
        with save_util.whole_file(path, ".zip") as target, save_util.deflated(target) as stored:
            super().save(stored, *args, **kwargs)
            settings_file.add_settings(stored, self)

    @classmethod
    def load(
        cls: type[Self],
        path: save_util.File,
        env: Any = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        *args: Any,
        trust: bool = True,
        **kwargs: Any,
    ) -> Self:
        """
        Load a model that this class saved. See SB3 for the other arguments.

        :param trust: whether code in the file may run. With ``False`` nothing is unpickled: settings are read from
            ``settings.json``, networks, masks and memory as tensors (``weights_only``). A file with own classes, functions or
            schedules other than constants and ``lin_x`` is refused unless ``custom_objects`` gives these.
        :raises ValueError: for a file that another class saved, one that needs trust, or an argument that no model has
        """
        kwargs = save_util.attributes_for(cls, path, kwargs)
        if not trust:
            custom_objects = settings_file.plain_settings(cls, path, custom_objects or {})
        try:
            with moved_modules(), space_mismatch.explained(env), naming_damage(path, "a model's file"):
                return super().load(path, env, device, custom_objects, *args, **kwargs)
        except (TypeError, AttributeError) as error:  # e.g. settings of another algorithm
            raise ValueError(f"{path} cannot be loaded as {cls.__name__} ({error}). Was it saved by another class?") from error

    def set_parameters(self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto") -> None:
        """See SB3. Masks are put in force. With ``exact_match``, parameters without masks and memory take the model's away."""
        parameters = self._parameters_for(save_util.read_parameters(load_path_or_dict, device))
        save_util.check_gates(parameters, self.task_gates)
        masks_before = self.neuron_masks.state_dict()
        with naming_other_networks(load_path_or_dict):
            save_util.load_states(self._optional_states(), parameters, exact_match)
            super().set_parameters(parameters, exact_match, device)
        fit_to_masks(self, masks_before, exact_match)
        self._apply_masks()

    def _parameters_for(self, found: dict[str, Any]) -> dict[str, Any]:
        """Those of a file's parameters that ``set_parameters`` takes."""
        return found

    @classmethod
    def from_sb3(cls: type[Self], model: BaseAlgorithm | str | pathlib.Path, env: Any = None, **arguments: Any) -> Self:
        """
        Take over a model of the SB3 parent class: networks, optimizer state, counters, env.

        :param model: the model, or the path of its zip file
        :param env: env to train on; default: the model's own (a file holds none)
        :param arguments: NBSP's arguments
        :raises TypeError: for a model of another class, or an argument that is not NBSP's
        """
        return from_sb3.take_over(cls, model, env, arguments)

    def to_sb3(self) -> Any:
        """
        Give the parent's model: the same networks, optimizer state, settings and counters, on the same env. Its ``predict``
        gives the same actions, with gates too, and what its ``save()`` writes is loaded without sb3_nbsp. Nothing protects
        what was learned where it goes on learning. The inverse of :meth:`from_sb3`.

        :return: a new model of the SB3 parent class
        """
        return from_sb3.give_back(self)
