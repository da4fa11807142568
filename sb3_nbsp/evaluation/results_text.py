"""The results of one run in words and numbers, for a terminal."""

import math

from sb3_nbsp.base.plain_text import aligned, two_decimals
from sb3_nbsp.evaluation.results import SequenceResults

MEANINGS = {
    "asr": "mean over tasks at the end",
    "fm": "forgetting: how far earlier tasks are below their best, mean over them",
    "fwt": "mean over tasks, each right after it was learned first",
}


def results_text(results: SequenceResults) -> str:
    """
    :param results: of one run
    :return: a table of the performance on every task after each segment, and ASR (for returns: AR), FM and FWT with their
        meaning; what is not known yet is left out
    :raises TypeError: for anything but results
    """
    if not isinstance(results, SequenceResults):
        raise TypeError(f"results must be SequenceResults, of one run; got {type(results).__name__}.")
    measure, episodes = results.measure, results.settings.get("n_eval_episodes", "?")
    names = results.task_names
    rows = [
        [f"{k + 1}. {results.segments[k]}", *map(two_decimals, row)]
        for k, row in enumerate(results.matrix().tolist())
        if not all(map(math.isnan, row))
    ]
    if results.evaluations and results.evaluations[-1].kind != "switch":
        last = results.evaluations[-1]
        now = results.performance(last)
        rows.append([f"(at step {last.step:,})", *(two_decimals(now[name]) for name in names)])
    title = f"{measure.title.capitalize()} on every task, after training (mean of {episodes} episodes):"
    table = aligned(["after training", *(f"on {name}" for name in names)], rows)
    metrics = results.metrics()
    labels = {"asr": measure.average, "fm": "FM", "fwt": "FWT"}
    lines = [
        f"{label:<4}{two_decimals(value):>8}  {MEANINGS[name]}"
        for name, label in labels.items()
        if not math.isnan(value := getattr(metrics, name))
    ]
    return "\n\n".join([f"{title}\n\n{table}", *(["\n".join(lines)] if lines else [])])
