"""
The table of the ten tasks alone: success by decisions, mean over seeds, from ten_tasks.csv.

    python docs/results/continual-world/ten_tasks.py
"""

import csv
from pathlib import Path
from statistics import mean

from sb3_nbsp.evaluation.table import markdown_table

STEPS = (10_000, 20_000, 30_000, 35_000)
LEARNED, AFTER = 0.8, 20_000  # a task counts as learned whose mean is this, after so many decisions

success: dict[str, dict[int, list[float]]] = {}
with (Path(__file__).parent / "ten_tasks.csv").open() as file:
    for row in csv.DictReader(file):
        success.setdefault(row["task"], {}).setdefault(int(row["step"]), []).append(float(row["success"]))

header = ["task", f"{STEPS[0]:,} decisions", *(f"{step:,}" for step in STEPS[1:]), f"seeds at {STEPS[-1]:,}"]
rows = [
    [
        f"**{task}**" if mean(found[AFTER]) >= LEARNED else task,
        *(f"{mean(found[step]):.2f}" for step in STEPS),
        ", ".join(f"{value:.1f}" for value in found[STEPS[-1]]),
    ]
    for task, found in success.items()
]
print(markdown_table(header, rows))
