"""
What a user meets who has only the wheel: an empty environment, an empty folder, one extra after the other.

    python tests/wheel_check.py

Works from nothing, with the standard library: builds the package, makes its environments in a temporary folder (2.5 GB),
checks what is asked for without an extra and what works with it. Ends with status 1 at the first thing that is wrong.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
CONSTRAINTS = REPO / "constraints.txt"
RUN = "--algo nbspsac --env sb3_nbsp/PointGoal-v0"
STARTED = time.perf_counter()
# No network but pip's: uploading must stop where it would begin.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NOTEBOOK_STEPS": "60", "HF_HUB_OFFLINE": "1", "SDL_VIDEODRIVER": "dummy"}

MAKE = "import gymnasium, sb3_nbsp; env = gymnasium.make('sb3_nbsp/{}-v0'); env.reset(); env.step(env.action_space.sample())"
INTERVAL = "from sb3_nbsp.evaluation import bootstrap_interval; print(bootstrap_interval([0, 1]))"
FIGURE = "from sb3_nbsp.evaluation.plots import new_figure; new_figure(1, 1)"
LEARN = """
import gymnasium as gym
from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import SequenceEvalCallback
env = gym.make("sb3_nbsp/PointGoal-v0", steps_per_task=100, cycles=1)
model = NBSPSAC("MlpPolicy", env, scoring_steps=50, policy_kwargs={"net_arch": [16]})
model.learn(200, callback=SequenceEvalCallback(n_eval_episodes=1, log_path="library"))
model.save("point")
print(NBSPSAC.load("point").learned_tasks)
"""


class Environment:
    """
    A virtual environment, and an empty folder where its commands run.

    :param folder: parent of both
    """

    def __init__(self, folder: Path):
        self.bin, self.cwd = folder / "env" / "bin", folder / "cwd"
        self.cwd.mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)

    def pip_install(self, *packages: str) -> None:
        self.call("pip", "install", "-qq", "-c", str(CONSTRAINTS), *packages)

    def call(self, command: str, *arguments: str, fails: bool = False) -> str:
        """
        :param command: a program of the environment
        :param arguments: its arguments
        :param fails: whether it must fail
        :return: what it printed
        """
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | ENVIRONMENT
        line = [str(self.bin / command), *arguments]
        done = subprocess.run(line, cwd=self.cwd, env=environment, capture_output=True, text=True, timeout=600)
        output = done.stdout + done.stderr
        check((done.returncode != 0) == fails, f"{command} {' '.join(arguments)}: exit status {done.returncode}\n{output}")
        return output

    def works(self, line: str, say: str = "") -> None:
        """A command, its arguments separated by blanks, does its work and prints ``say``."""
        print(f"    {line}", flush=True)
        output = self.call(*line.split())
        check(say in output, f"{line} does not print {say!r}:\n{output}")

    def computes(self, code: str, say: str = "") -> None:
        """Python code runs and prints ``say``."""
        print(f"    python: {code.strip().splitlines()[-1]}", flush=True)
        output = self.call("python", "-c", code)
        check(say in output, f"{code} does not print {say!r}:\n{output}")

    def asks(self, extra: str, *line: str) -> None:
        """A command fails; the last line that it prints says how to install the extra."""
        print(f"    without [{extra}]: {' '.join(line).splitlines()[-1]}", flush=True)
        last = self.call(*line, fails=True).strip().splitlines()[-1]
        check(f'pip install "sb3-nbsp[{extra}]"' in last, f"{line} should ask for the extra {extra}, ends with: {last}")

    def extra(self, name: str) -> None:
        """Install an extra with the words of the errors."""
        step(f'pip install "sb3-nbsp[{name}]"')
        self.pip_install(f"sb3-nbsp[{name}]")
        self.call("pip", "check")


def check(fine: bool, message: str) -> None:
    if not fine:
        sys.exit(f"FAILED: {message}")


def step(text: str) -> None:
    print(f"[{time.perf_counter() - STARTED:.0f} s] {text}", flush=True)


def build(folder: Path) -> Path:
    """
    :param folder: where to
    :return: the wheel
    """
    step("python -m build, twine check --strict")
    tools = Environment(folder)
    tools.pip_install("build", "twine")
    tools.call("python", "-m", "build", "-o", str(folder / "dist"), str(REPO))
    tools.call("twine", "check", "--strict", *map(str, (folder / "dist").iterdir()))
    source = next((folder / "dist").glob("*.tar.gz"))
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = ("tests/conftest.py", "tests/helpers/__init__.py", "examples/1_quick_start.ipynb", "Makefile", "docs/conf.py")
    missing = set(wanted) - names
    check(not missing, f"{source.name} lacks {missing}")
    return next((folder / "dist").glob("*.whl"))


def check_contents(wheel: Path) -> None:
    """The wheel holds the package's code, settings, suites, marker of types and licence, and nothing else."""
    step(f"what is in {wheel.name}, {wheel.stat().st_size / 1000:.0f} kB")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    metadata = {name for name in packed if ".dist-info/" in name}
    wanted = {path.relative_to(REPO) for kind in ("*.py", "*.yml", "py.typed") for path in (REPO / "sb3_nbsp").rglob(kind)}
    wanted |= {Path("sb3_nbsp") / path.relative_to(REPO) for path in (REPO / "hyperparams").glob("*.*")}
    code, files = packed - metadata, {path.as_posix() for path in wanted}
    check(code == files, f"not in the wheel: {files - code}; junk in it: {code - files}")
    check(any(name.endswith("/licenses/LICENSE") for name in metadata), f"no licence in {metadata}")


def without_extras(user: Environment) -> None:
    """The library works; whatever needs more asks for it."""
    user.works("sb3-nbsp --help", "benchmark")
    user.works("sb3-nbsp envs", "sb3_nbsp/PongBreakout-v0")
    user.computes(LEARN, "['east', 'west']")
    user.computes("import sb3_nbsp; print(sb3_nbsp.__file__)", str(user.bin.parent))
    for line in (f"train {RUN}", f"enjoy {RUN}", "demo", "benchmark quick.yml", "probe library", f"push {RUN}", f"pull {RUN}"):
        user.asks("zoo", "sb3-nbsp", *line.split())
    user.asks("plots", "sb3-nbsp", "report", "library")
    for extra, code in (
        ("metaworld", MAKE.format("WindowOpenClose")),
        ("atari", MAKE.format("PongBreakout")),
        ("plots", INTERVAL),
        ("plots", FIGURE),
        ("slurm", "import sb3_nbsp.benchmark.slurm"),
    ):
        user.asks(extra, "python", "-c", code)


def with_extras(user: Environment) -> None:
    """One after the other; those that bring the least come first, as a later one may bring what an earlier one lacks."""
    user.extra("metaworld")
    user.computes(MAKE.format("WindowOpenClose"))
    user.extra("atari")
    user.computes(MAKE.format("PongBreakout"))
    user.extra("plots")
    user.works("sb3-nbsp report library", "Written: library/report/report.md")
    user.extra("notebooks")
    shutil.copy(REPO / "examples" / "1_quick_start.ipynb", user.cwd)
    user.works("jupyter execute 1_quick_start.ipynb")
    check((user.cwd / "runs" / "quick_start" / "sequence.png").is_file(), "the notebook has drawn nothing")
    user.extra("zoo")
    user.works(
        f"sb3-nbsp train {RUN} --env-kwargs steps_per_task:300 -f logs", "Saving to logs/nbspsac/sb3_nbsp-PointGoal-v0_1"
    )
    user.works(f"sb3-nbsp enjoy {RUN} -f logs -n 60", "west")
    user.works("sb3-nbsp probe logs/nbspsac/sb3_nbsp-PointGoal-v0_1 --episodes 1 --no-rescore", "probe.png")
    user.works("sb3-nbsp demo --seeds 0 --steps-per-task 100", "3 trainings")
    user.works("sb3-nbsp benchmark quick.yml --dry-run", "to be trained")
    user.works(f"sb3-nbsp push {RUN} -f logs -orga me -o card", "skill_neurons.json")
    print(f"    sb3-nbsp push {RUN} -f logs -orga me: stops at the network")
    check("OfflineModeIsEnabled" in user.call("sb3-nbsp", "push", *RUN.split(), "-orga", "me", fails=True), "push went on")
    user.extra("slurm")
    user.computes("import sb3_nbsp.benchmark.slurm")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = build(folder / "build")
        check_contents(wheel)
        step("a new environment: torch, then the wheel alone")
        user = Environment(folder / "user")
        user.pip_install("torch")  # alone and first: what comes after must not exchange it
        user.pip_install(str(wheel))
        without_extras(user)
        with_extras(user)
    step("All is well.")


if __name__ == "__main__":
    main()
