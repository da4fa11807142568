"""
What a game's score is worth: the best of the 18 policies that press one button for ever, and a random one. See README.md.

    OMP_NUM_THREADS=1 python docs/results/atari/games.py Boxing Krull > bars.jsonl    # a minute or two per game
    python docs/results/atari/games.py --table bars.jsonl RUNS                        # beside what was learned

``RUNS`` is a folder of single-game runs: sb3-nbsp train --env sb3_nbsp/AtariRam-v0 --env-kwargs "tasks:['Boxing']" ...
"""

import argparse
import json
from pathlib import Path

import gymnasium as gym
import numpy as np

from sb3_nbsp.tasks import atari_sequence
from sb3_nbsp.tasks.atari_scores import SCORES

MAX_FRAMES = 30_000


def score(env: gym.Env, action: int | None, seed: int) -> float:
    """The raw score of one whole game. ``None``: at random."""
    env.reset(seed=seed)
    random, total, over = np.random.default_rng(seed), 0.0, False
    while not over:
        _, reward, terminated, truncated, _ = env.step(int(random.integers(18)) if action is None else action)
        total, over = total + float(reward), terminated or truncated
    return total


def bars(game: str, few: int, many: int) -> dict[str, object]:
    """
    Scores of the policies that learn nothing. Each button is pressed through ``few`` games; the best three of them, and a
    random player, are measured anew in ``many``: the best of 18 short looks is too good by luck.
    """
    env = atari_sequence(game, obs_type="ram", max_evaluation_frames=MAX_FRAMES).make_task_env(game, evaluation=True)
    names = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
    first = [np.mean([score(env, action, 1000 + i) for i in range(few)]) for action in range(18)]
    best = {a: float(np.mean([score(env, a, 2000 + i) for i in range(many)])) for a in map(int, np.argsort(first)[-3:])}
    button = max(best, key=best.__getitem__)
    random = float(np.mean([score(env, None, 3000 + i) for i in range(many)]))
    env.close()
    return {"game": game, "constant": best[button], "button": names[button], "random": random, "games": [few, many]}


def table(file: Path, runs: Path) -> None:
    """One row for each run, the last evaluation's mean score."""
    known = {row["game"]: row for row in map(json.loads, file.read_text().splitlines())}
    print("| game | seed | steps | learned | best constant | random | human |\n|---|---|---|---|---|---|---|")
    for path in sorted(runs.rglob("results.json")):
        results = json.loads(path.read_text())
        last, game = results["evaluations"][-1], results["tasks"][0]
        row, human = known[game], SCORES[game][1]
        bar = f"{row['constant']:.1f} ({row['button']})"
        learned = f"{last['mean_return'][0]:.1f}"
        print(f"| {game} | {results['seed']} | {last['step']:,} | {learned} | {bar} | {row['random']:.1f} | {human} |")


def main() -> None:
    """The command above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("games", nargs="*")
    parser.add_argument("--few", type=int, default=2)
    parser.add_argument("--many", type=int, default=10)
    parser.add_argument("--table", nargs=2, type=Path, metavar=("BARS", "RUNS"))
    arguments = parser.parse_args()
    if arguments.table:
        table(*arguments.table)
    for game in arguments.games:
        print(json.dumps(bars(game, arguments.few, arguments.many)), flush=True)


if __name__ == "__main__":
    main()
