"""Evaluations over a task sequence: the callback that makes them, the metrics, and how both are shown."""

from sb3_nbsp.evaluation.callback import SequenceEvalCallback
from sb3_nbsp.evaluation.contexts import playing, register_context
from sb3_nbsp.evaluation.evaluator import TaskEvaluator
from sb3_nbsp.evaluation.metrics import (
    Metrics,
    area_under_curve,
    average_success,
    average_success_without_last,
    cw_forgetting,
    cw_forward_transfer,
    cw_performance,
    forgetting_measure,
    forward_transfer,
    summarize,
)
from sb3_nbsp.evaluation.performance_kind import Measure, normalised_return
from sb3_nbsp.evaluation.plots import plot_matrix, plot_sequence
from sb3_nbsp.evaluation.results import Evaluation, SequenceResults
from sb3_nbsp.evaluation.results_text import results_text
from sb3_nbsp.evaluation.score_plots import plot_score_histogram, plot_score_histograms
from sb3_nbsp.evaluation.statistics import bootstrap_interval
from sb3_nbsp.evaluation.table import results_table

__all__ = [
    "Evaluation",
    "Measure",
    "Metrics",
    "SequenceEvalCallback",
    "SequenceResults",
    "TaskEvaluator",
    "area_under_curve",
    "average_success",
    "average_success_without_last",
    "bootstrap_interval",
    "cw_forgetting",
    "cw_forward_transfer",
    "cw_performance",
    "forgetting_measure",
    "forward_transfer",
    "normalised_return",
    "playing",
    "plot_matrix",
    "plot_score_histogram",
    "plot_score_histograms",
    "plot_sequence",
    "register_context",
    "results_table",
    "results_text",
    "summarize",
]
