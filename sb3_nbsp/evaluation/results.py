"""What a run over a task sequence leaves behind: its evaluations, and the files that hold them."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sb3_nbsp.base.arguments import check_values, naming
from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.evaluation import metrics as m
from sb3_nbsp.evaluation.json_csv import json_safe, write_csv
from sb3_nbsp.evaluation.metric_arguments import FloatArray
from sb3_nbsp.evaluation.performance_kind import NORMALISED, RETURN, SUCCESS, Measure, Metric, normalised_return
from sb3_nbsp.evaluation.results_check import check_results

FORMAT = "sb3_nbsp.sequence_results/1"
RESULTS = "results.json"
# Continual World takes the mean of the last five evaluations for the performance at a segment's end.
CW_LAST_EVALUATIONS = 5

CSV_NAMES: dict[Metric, str] = {"success": "success", "return": "mean_return", "normalised return": "normalised_return"}
Kind = Literal["start", "interval", "switch", "end"]
# Others stand where a training started, stopped or went on: without them all runs count the same.
REGULAR: tuple[Kind, ...] = ("interval", "switch")


@dataclass(frozen=True)
class Evaluation:
    """
    One evaluation of the agent, on every task of the sequence or on some of them. A task that was left out has no entry in
    ``success`` and ``mean_return``.

    :param step: position in the sequence, in env steps over all sub-envs
    :param segment: index of the segment being trained
    :param kind: ``start`` of training, ``interval`` within a segment, ``switch`` at a segment's last step, ``end`` of a
        training that stopped elsewhere
    :param success: share of successful episodes by task, 0 to 1; ``None`` for a task that never told success
        (:mod:`sb3_nbsp.evaluation.told_success`)
    :param mean_return: mean undiscounted return of an episode by task
    :param wall_s: duration of this evaluation in seconds
    :raises ValueError: for another kind
    """

    step: int
    segment: int
    kind: Kind
    success: dict[str, float | None]
    mean_return: dict[str, float]
    wall_s: float

    def __post_init__(self) -> None:
        check_values({"kind": Kind}, {"kind": self.kind})


@dataclass
class SequenceResults:
    """
    The record of one run over a task sequence.

    :param task_names: the distinct tasks
    :param segments: task name of each segment, in learning order
    :param segment_steps: length of each segment in env steps over all sub-envs
    :param evaluations: in order of their steps
    :param settings: what distinguishes this run, free to choose
    :param seed: the model's seed
    :param versions: see :func:`~sb3_nbsp.evaluation.versions.library_versions`
    :param wall_time_s: duration of training so far in seconds, evaluations included
    :param finished: whether the whole sequence was trained
    :param reference_scores: returns of a random player and of a human, for the tasks where they are known
    :raises ValueError: for what no run can have left behind, e.g. a segment that is no task
    """

    task_names: tuple[str, ...]
    segments: tuple[str, ...]
    segment_steps: tuple[int, ...]
    evaluations: list[Evaluation] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    wall_time_s: float = 0.0
    finished: bool = False
    reference_scores: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("task_names", "segments", "segment_steps"):
            if isinstance(value := getattr(self, name), list):  # two runs are compared by them, and no list is a tuple
                setattr(self, name, tuple(value))
        if isinstance(self.seed, np.integer):
            self.seed = int(self.seed)
        check_results(self)

    @property
    def sequence(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
        """What two runs must share to be compared: task names, segments and segment lengths."""
        return self.task_names, self.segments, self.segment_steps

    @property
    def segment_indices(self) -> list[int]:
        """Index of the task trained in each segment [n_segments]."""
        return [self.task_names.index(name) for name in self.segments]

    @property
    def measure(self) -> Measure:
        """
        What performance is read as: success where every task tells it, else normalised returns where every task has
        reference scores, else returns, which can be compared within a task only.
        """
        if all(value is not None for evaluation in self.evaluations for value in evaluation.success.values()):
            return SUCCESS
        return NORMALISED if set(self.task_names) <= set(self.reference_scores) else RETURN

    @property
    def steps(self) -> FloatArray:
        """Env steps of the evaluations [n_evaluations]."""
        return np.array([evaluation.step for evaluation in self.evaluations], dtype=np.float64)

    def performance(self, evaluation: Evaluation, metric: Metric | None = None) -> dict[str, float]:
        """
        :param evaluation: one of ``evaluations``
        :param metric: what to read; by default the run's own :attr:`measure`
        :return: performance by task, NaN where it is not known: not told, or not played
        :raises ValueError: for another metric
        """
        name = metric or self.measure.name
        if name not in CSV_NAMES:
            raise ValueError(unknown_name_message("metric", name, CSV_NAMES))
        known: Mapping[str, float | None] = evaluation.success if name == SUCCESS.name else evaluation.mean_return
        values = {task: math.nan if (value := known.get(task)) is None else value for task in self.task_names}
        if name != NORMALISED.name:
            return values
        scores = {task: self.reference_scores.get(task, (math.nan, math.nan)) for task in self.task_names}
        return {task: normalised_return(value, scores[task]) for task, value in values.items()}

    def values(self, metric: Metric | None = None) -> FloatArray:
        """
        :param metric: as in :meth:`performance`
        :return: performance in every evaluation [n_evaluations, n_tasks]
        """
        name = metric or self.measure.name
        rows = [self.performance(evaluation, name) for evaluation in self.evaluations]
        flat = [row[name] for row in rows for name in self.task_names]
        return np.array(flat, dtype=np.float64).reshape(len(rows), len(self.task_names))

    def matrix(self, metric: Metric | None = None) -> FloatArray:
        """
        :param metric: as in :meth:`performance`
        :return: performance after each segment, NaN rows where not measured yet, NaN where a task was not played then
            [n_segments, n_tasks]
        """
        matrix = np.full((len(self.segments), len(self.task_names)), math.nan)
        for evaluation, row in zip(self.evaluations, self.values(metric), strict=True):
            if evaluation.kind == "switch":
                matrix[evaluation.segment] = row
        return matrix

    def metrics(
        self, baseline_auc: Mapping[str, float] | None = None, reference: Mapping[str, float] | None = None
    ) -> m.Metrics:
        """
        :param baseline_auc: :meth:`auc` by task of runs that train each task alone, read in this run's :attr:`measure`;
            without it Continual World's forward transfer is NaN
        :param reference: performance by task that FWT compares with, 0 where not given
        :return: all metrics; Continual World's are NaN until the sequence is finished and, at its end, all tasks were played
        """
        matrix, segments = self.matrix(), self.segment_indices
        references = [(reference or {}).get(name, 0.0) for name in self.task_names]
        return m.Metrics(
            m.average_success(matrix),
            m.forgetting_measure(matrix, segments),
            m.forward_transfer(matrix, segments, references),
            *(self._continual_world(baseline_auc) if m.is_complete(matrix, segments) else (math.nan,) * 3),
            m.average_success_without_last(matrix, segments),
        )

    def auc(self, metric: Metric | None = None) -> dict[str, float]:
        """
        :param metric: as in :meth:`performance`; of a task alone, that in which the sequence it is compared with is read
        :return: area under the curve of each trained task in its own first segment by task, NaN while not measured
        """
        values, areas = self.values(metric), {}
        for task, name in enumerate(self.task_names):
            if name in self.segments:
                start, end = self._window(self.segments.index(name))
                areas[name] = m.area_under_curve(self.steps, values[:, task], start, end)
        return areas

    def _continual_world(self, baseline_auc: Mapping[str, float] | None) -> tuple[float, float, float]:
        """Continual World's performance, forgetting and forward transfer of a finished sequence."""
        segments = self.segment_indices
        late = [self._late_evaluations(segment) for segment in range(len(segments))]
        after_training = [m.task_means(rows)[task] for rows, task in zip(late, segments, strict=True)]
        forgetting = m.cw_forgetting(after_training, m.task_means(late[-1])[segments])
        if baseline_auc is None:
            return m.cw_performance(late[-1]), forgetting, math.nan
        auc = self.auc()
        if missing := sorted(set(auc) - set(baseline_auc)):
            raise ValueError(f"Expected a baseline area of every trained task, got none of {missing}. Take them from auc().")
        transfer = m.cw_forward_transfer(list(auc.values()), [baseline_auc[name] for name in auc])
        return m.cw_performance(late[-1]), forgetting, transfer

    def _window(self, segment: int) -> tuple[float, float]:
        """First and last measured env step of a segment; NaN, which no step lies within, while it has not ended."""
        ends = {evaluation.segment: float(evaluation.step) for evaluation in self.evaluations if evaluation.kind == "switch"}
        return ends.get(segment - 1, math.nan) if segment else 0.0, ends.get(segment, math.nan)

    def _late_evaluations(self, segment: int) -> FloatArray:
        """The last evaluations of a segment that has ended [at most 5, n_tasks]; no extra ones where a training stopped."""
        start, end = self._window(segment)
        regular = np.array([evaluation.kind in REGULAR for evaluation in self.evaluations], dtype=bool)
        return self.values()[regular & (self.steps > start) & (self.steps <= end)][-CW_LAST_EVALUATIONS:]

    def to_json(self) -> str:
        """
        :return: everything above and the metrics, as JSON text; numbers that are not finite become ``null``
        """
        derived = {"measure": self.measure.name, "metrics": m.summarize(self.metrics())}
        content = {"format": FORMAT, **derived, **asdict(self)}
        return json.dumps(json_safe(content), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SequenceResults":
        """
        :param text: what :meth:`to_json` gave
        :raises ValueError: if the text is something else
        """
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT!r}")
            del content["metrics"]  # derived from the rest
            content.pop("measure", None)  # so is this, which earlier files lack, like the reference scores
            content["reference_scores"] = {task: (a, b) for task, (a, b) in content.get("reference_scores", {}).items()}
            for name in ("task_names", "segments", "segment_steps"):
                content[name] = tuple(content[name])
            content["evaluations"] = [_evaluation(i, **entry) for i, entry in enumerate(content["evaluations"])]
            return cls(**content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"Expected the results of a sb3_nbsp sequence run, got something else ({error!r}).") from error

    def write(self, folder: str | os.PathLike[str]) -> None:
        """
        Write ``results.json``, ``evaluations.csv`` (one row per evaluation and task played in it) and ``matrix.csv``.

        Each file is replaced as a whole: a run killed while writing leaves the earlier one.

        :param folder: made if missing
        """
        columns = CSV_NAMES if self.reference_scores else {name: CSV_NAMES[name] for name in (SUCCESS.name, RETURN.name)}
        header = ("step", "segment", "trained_task", "kind", "task", *columns.values())
        evaluations = []
        for e in self.evaluations:
            read = [self.performance(e, name) for name in columns]
            told = (e.step, e.segment, self.segments[e.segment], e.kind)
            played = (name for name in self.task_names if name in e.mean_return)
            evaluations += [(*told, name, *(values[name] for values in read)) for name in played]
        matrix_rows = ((k, self.segments[k], *row) for k, row in enumerate(self.matrix().tolist()))
        write_csv(Path(folder, "evaluations.csv"), [header, *evaluations])
        write_csv(Path(folder, "matrix.csv"), [("segment", "trained_task", *self.task_names), *matrix_rows])
        with replacing(Path(folder, RESULTS)) as temporary:
            temporary.write_text(self.to_json())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "SequenceResults":
        """
        :param path: a ``results.json``, or the folder that holds it
        :raises ValueError: if the file is broken or of another kind
        """
        file = Path(path, RESULTS) if os.path.isdir(path) else Path(path)
        try:
            return cls.from_json(file.read_text())
        except ValueError as error:
            raise ValueError(f"{file}: {error} Delete or rename the file to start afresh.") from error


def _evaluation(index: int, mean_return: dict[str, float | None], **entry: Any) -> Evaluation:
    returns = {name: math.nan if value is None else value for name, value in mean_return.items()}
    with naming(f"evaluation {index}"):
        return Evaluation(mean_return=returns, **entry)
