"""What goes wrong with envs in worker processes: interrupts, errors, ends."""

import os
import signal
import time
from functools import partial
from multiprocessing import active_children, get_context
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from helpers import NBSP_SETTINGS, VECTOR, ToyEnv, same
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_nbsp import NBSPSAC
from sb3_nbsp.population import MemberEnvs, Population, member_envs
from sb3_nbsp.population.env_worker import SharedArrays
from sb3_nbsp.population.worker_process import end

ACTION = np.zeros((1, 2), np.float32)


@pytest.fixture(autouse=True)
def ctrl_c_interrupts():
    """Also where the tests run in the background of a shell, which has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Moody(ToyEnv):
    """
    Counts its steps in what it observes, and goes wrong where it is told to.

    :param slow_at: step that takes long
    :param fails_at: step that raises
    :param fails_to_close: whether closing raises
    :param tells: is in each info
    :param mark: file that closing makes
    :param seconds: what the slow step takes
    :param interrupts: whether Ctrl-C comes in the first slow step
    """

    def __init__(self, slow_at=0, fails_at=0, fails_to_close=False, tells=None, mark=None, seconds=0.3, interrupts=False):
        super().__init__(spaces.Box(-100.0, 100.0, (3,)), constant=True)
        self.slow_at, self.fails_at, self.fails_to_close, self.tells = slow_at, fails_at, fails_to_close, tells
        self.mark, self.seconds, self.interrupts = mark, seconds, interrupts

    def tell_what_cannot_be_sent(self):
        self.tells = lambda: None

    def end_process(self):
        os._exit(3)

    def _observe(self):
        return np.full(3, self.steps, np.float32)

    def step(self, action):
        observation, reward, *ends, info = super().step(action)
        if self.steps == self.slow_at:
            if self.interrupts:
                self.interrupts = False
                time.sleep(0.1)  # the other process waits by now
                os.kill(os.getppid(), signal.SIGINT)
            time.sleep(self.seconds)
        if self.steps == self.fails_at:
            raise ZeroDivisionError(f"at step {self.steps}")
        return observation, reward, *ends, {**info, "tells": self.tells}

    def close(self):
        if self.mark is not None:
            Path(self.mark).touch()
        if self.fails_to_close:
            raise OSError("cannot close")


def blocks(envs):
    return [env._arrays.memory.name for env in envs]


def are_gone(names):
    for name in names:
        with pytest.raises(FileNotFoundError):
            SharedMemory(name)
    return True


# Answers that nobody waits for


def test_after_an_interrupted_step_answers_are_those_to_their_questions(made_envs):
    env, other = made_envs([partial(Moody, slow_at=2, interrupts=True), Moody], workers=1)
    env.reset(), other.reset(), env.step(ACTION)
    with pytest.raises(KeyboardInterrupt):
        other.step_async(ACTION), env.step_async(ACTION), env.step_wait()
    for one in (env, other):
        assert same(one.reset(), np.zeros((1, 3), np.float32)) and one.reset_infos == [{}]
        assert one.get_attr("steps") == [0]
        for step in (1, 2, 3):
            observations, _, dones, infos = one.step(ACTION)
            assert observations[0, 0] == step and not dones[0] and infos[0]["tells"] is None


def test_a_population_learns_after_an_interrupt_and_after_a_members_failure(made_envs):
    envs = made_envs([partial(Moody, slow_at=5, interrupts=True), partial(Moody, fails_at=9)], workers=1)
    with pytest.raises(KeyboardInterrupt):
        Population(models(envs)).learn(8)
    with pytest.raises(ZeroDivisionError, match="at step 9"):
        Population(models(envs[::-1])).learn(30)  # a step of the other one is under way
    Population(models(envs)).learn(8)
    assert [env.get_attr("steps") for env in envs] == [[8]] * 2


def models(envs):
    return [NBSPSAC("MlpPolicy", env, **{**NBSP_SETTINGS, "seed": seed}) for seed, env in enumerate(envs)]


def test_a_begun_reset_is_of_use_only_where_it_is_the_one_that_is_asked_for(made_envs):
    envs, own = made_envs([partial(ToyEnv, VECTOR)], workers=1), DummyVecEnv([partial(ToyEnv, VECTOR)])
    envs[0].begin_reset()
    envs[0].seed(3), own.seed(3)
    assert same(envs[0].reset(), own.reset())
    envs[0].begin_reset()
    first = envs[0].step(ACTION)[0]
    assert not same(envs[0].reset(), first)
    with pytest.raises(RuntimeError, match="no step is under way"):
        envs[0].step_wait()


def test_an_answer_that_was_read_in_part_is_skipped(made_envs):
    """An interrupt may come between the two reads of an answer's length and of the answer."""
    env, other = made_envs([Moody, Moody], workers=1)
    env.reset(), other.reset(), other.step_async(ACTION), env.step_async(ACTION)
    line = env._worker._line
    read, n_reads = line._recv, []

    def interrupted(*args):
        n_reads.append(1)
        if len(n_reads) == 2:
            raise KeyboardInterrupt
        return read(*args)

    line._recv = interrupted
    with pytest.raises(KeyboardInterrupt):
        other.step_wait()
    del line._recv
    with pytest.raises(RuntimeError, match="interrupted"):
        env.step_wait()
    for one in (env, other):
        assert same(one.reset(), np.zeros((1, 3), np.float32)) and one.step(ACTION)[0][0, 0] == 1


# Full pipes


def images(weight):
    return ToyEnv(spaces.Box(0, 255, (84, 84, 4), np.uint8))


def test_large_questions_and_answers_do_not_wait_for_each_other(made_envs):
    assert len(made_envs([partial(images, bytes(50_000))] * 10, workers=1)) == 10
    envs = made_envs([partial(Moody, tells=bytes(1_000))] * 300, workers=1)
    for env in envs:
        env.begin_reset()
    assert all(same(env.reset(), np.zeros((1, 3), np.float32)) for env in envs)
    for env in envs:
        env.step_async(np.zeros((1, 2), np.float32))
    assert all(env.step_wait()[0][0, 0] == 1 for env in envs)


# Closing


def test_what_fails_while_it_is_closed_leaves_nothing_open(made_envs, tmp_path):
    makers = [partial(Moody, fails_at=1, fails_to_close=n == 0, mark=tmp_path / str(n)) for n in range(4)]
    envs = made_envs(makers, workers=2)
    names, processes = blocks(envs), [envs[n]._worker._process for n in (0, 1)]
    for env in envs:
        env.reset(), env.step_async(ACTION)
    with pytest.raises(ZeroDivisionError):
        envs[0].step_wait()
    with pytest.raises(OSError, match="cannot close"):
        envs.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]
    assert are_gone(names) and not any(process.is_alive() for process in processes)
    envs.close()


def test_an_env_that_fails_to_close_is_closed(made_envs):
    envs = made_envs([partial(Moody, fails_to_close=True), Moody], workers=1)
    names, process = blocks(envs), envs[0]._worker._process
    with pytest.raises(OSError, match="cannot close") as caught:
        envs[0].close()
    assert "in a worker process" in str(caught.value.__cause__)
    assert are_gone(names[:1]) and same(envs[1].reset(), np.zeros((1, 3), np.float32))
    envs[1].close()
    assert are_gone(names[1:]) and process.exitcode == 0


def test_no_shared_memory_is_left(made_envs, monkeypatch):
    names = []

    class Noted(SharedArrays):
        def __init__(self, *args):
            super().__init__(*args)
            names.append(self.memory.name)

    monkeypatch.setattr(member_envs, "SharedArrays", Noted)
    with pytest.raises(ZeroDivisionError):
        made_envs([Moody, Moody, lambda: 1 / 0], workers=2)
    envs = made_envs([Moody] * 2, workers=1)
    envs[0].beside([Moody])
    envs.close()
    assert len(names) == 5 and are_gone(names)


# Uses that cannot be


def test_what_is_closed_says_so(made_envs):
    envs = made_envs([Moody] * 3, workers=2)
    envs[0].close()
    with pytest.raises(RuntimeError, match="closed"):
        envs[0].reset()
    envs[2].close()
    with pytest.raises(RuntimeError, match="closed"):
        envs[2].beside([Moody])
    assert envs.add([Moody]).get_attr("steps") == [0]  # where a worker has ended, another one begins
    envs.close()
    with pytest.raises(RuntimeError, match="closed"):
        envs.add([Moody])


def test_no_more_workers_than_members_until_there_are_more(made_envs):
    envs = made_envs([Moody], workers=3)
    assert len(active_children()) == 1
    processes = {env._worker._process.pid for env in (envs[0], *(envs.add([Moody]) for _ in range(4)))}
    assert len(processes) == len(active_children()) == 3
    made_envs(workers=2)
    assert len(active_children()) == 5  # members are added to it


def test_what_cannot_be_sent_is_told(made_envs):
    (env,) = made_envs([Moody], workers=1)
    env.reset(), env.env_method("tell_what_cannot_be_sent")
    with pytest.raises(TypeError, match="cannot be sent to the process that trains"):
        env.step(ACTION)
    with pytest.raises(TypeError, match="cannot be sent"):
        env.get_attr("tells")
    with pytest.raises(ZeroDivisionError):
        env.set_attr("tells", UnreadAtArrival())
    assert same(env.reset(), np.zeros((1, 3), np.float32))


class UnreadAtArrival:
    def __reduce__(self):
        return eval, ("1 / 0",)


def test_memory_is_suspected_only_where_a_worker_was_killed(made_envs):
    envs = made_envs([Moody, Moody], workers=2)
    envs[0].reset()
    os.kill(envs[0]._worker._process.pid, signal.SIGKILL)
    with pytest.raises(EOFError, match=r"exit status -9.*Memory may have run out"):
        envs[0].reset()
    with pytest.raises(EOFError, match=r"exit status 3\)\.$"):
        envs[1].env_method("end_process")


# Signals and ends


def test_signals_to_the_whole_group_are_the_trainers(made_envs):
    envs = made_envs([Moody], workers=1)
    process = envs[0]._worker._process
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(process.pid, number)
    assert same(envs[0].reset(), np.zeros((1, 3), np.float32))


def test_a_worker_that_does_not_end_is_killed(made_envs, monkeypatch):
    monkeypatch.setattr("sb3_nbsp.population.worker_process.SECONDS_TO_END", 0.2)
    envs = made_envs([partial(Moody, slow_at=1, seconds=20)] * 2, workers=2)
    processes = [env._worker._process for env in envs]
    for env in envs:
        env.reset(), env.step_async(ACTION)
    end(env._worker for env in envs)
    assert [process.exitcode for process in processes] == [-signal.SIGKILL] * 2


def leave_open(told, how):
    envs = MemberEnvs([Moody] * 3, workers=3, start_method="fork")
    told.send(([env._worker._process.pid for env in envs], blocks(envs)))
    if how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    leave_open.envs = envs


@pytest.mark.parametrize("how", ["is killed", "ends"])
def test_workers_end_with_the_process_that_trains(how, made_envs):
    context = get_context("fork")
    mine, others = context.Pipe()
    envs = made_envs([Moody], workers=1)  # are not the other process's to end
    process = context.Process(target=leave_open, args=(others, how))
    process.start()
    pids, names = mine.recv()
    process.join(5)
    assert process.exitcode == (-signal.SIGKILL if how == "is killed" else 0)
    end_of_waiting = time.monotonic() + 5
    while any(status(pid) != "Z" for pid in pids):
        assert time.monotonic() < end_of_waiting, "workers live on"
        time.sleep(0.02)
    assert how == "is killed" or are_gone(names)
    assert same(envs[0].reset(), np.zeros((1, 3), np.float32))


def status(pid):
    """``Z``: it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
