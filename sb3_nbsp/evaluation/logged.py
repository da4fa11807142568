"""What an evaluation leaves in SB3's logger."""

from stable_baselines3.common.logger import Logger

from sb3_nbsp.evaluation.metrics import summarize
from sb3_nbsp.evaluation.performance_kind import NORMALISED
from sb3_nbsp.evaluation.results import Evaluation, SequenceResults

# The text logger cuts keys at 36 characters, of which 3 indent and the longest suffix, "_success", takes 8.
MAX_LOGGED_NAME = 25


def record_evaluation(logger: Logger, results: SequenceResults, evaluation: Evaluation) -> None:
    """
    :param logger: where to; nothing is dumped
    :param results: a run
    :param evaluation: its newest evaluation
    """
    names = results.task_names
    too_long = any(len(name) > MAX_LOGGED_NAME for name in names)
    for index, name in enumerate(names):
        if name not in evaluation.mean_return:
            continue
        key = f"continual/task{index}" if too_long else f"continual/{name}"
        if evaluation.success[name] is not None:
            logger.record(f"{key}_success", evaluation.success[name])
        logger.record(f"{key}_return", evaluation.mean_return[name])
        if name in results.reference_scores:
            logger.record(f"{key}_hns", results.performance(evaluation, NORMALISED.name)[name])
    logger.record("continual/task", results.segment_indices[evaluation.segment])
    if evaluation.kind == "switch":
        values = summarize(results.metrics())
        for key, name in ((results.measure.average.lower(), "asr"), ("fm", "fm"), ("fwt", "fwt")):
            if values[name] is not None:
                logger.record(f"continual/{key}", values[name])
