"""Several processes make one study: each does its part, all have the Dataset of a single process.

This file is also the program of the processes, which meet on loopback.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import jax
import numpy as np
import pytest
from jax._src import distributed

import pajax as px
from pajax.studies import processes
from pajax.studies.store import Store

#: CPU devices of each process; they may differ.
DEVICES = (1, 2)
#: Ways to make the small study.
WAYS = {
    "memory": lambda folder: {},
    "moments": lambda folder: {"keep": "moments"},
    "store": lambda folder: {"store": folder / "store"},
}


def test_a_single_process_does_not_notice():
    value = object()
    with processes.together() as crew:
        assert (crew.number, crew.size) == (0, 1)
        assert crew.share(value) == [value]
        crew.wait("here")
        crew.look()
    for failure in (OSError("no space"), KeyboardInterrupt()):
        with pytest.raises(type(failure)) as caught, processes.together():
            raise failure
        assert caught.value is failure


def join(task, folder):
    """Start processes that do a task."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    program = [sys.executable, "-W", "error", __file__, task, str(folder), port]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return [subprocess.Popen([*program, str(number)], **pipes) for number in range(len(DEVICES))]


def outcomes(running):
    """What each process returned and said; afterwards none is left."""
    try:
        said = [process.communicate(timeout=120)[0] for process in running]
        return [process.returncode for process in running], "\n".join(said)
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_two_processes_make_the_study_of_one(tmp_path):
    running = join("work", tmp_path)
    import small_studies

    wanted = {keep: small_studies.expected(keep) for keep in ("seeds", "moments")}
    codes, said = outcomes(running)
    assert codes == [0, 0], said
    for way in WAYS:
        expected = wanted["moments" if way == "moments" else "seeds"]
        content = px.save(expected, tmp_path / f"{way}.npz").read_bytes()
        for number in range(len(DEVICES)):
            assert (tmp_path / f"{way}-{number}.npz").read_bytes() == content, (way, number)


@pytest.mark.slow
def test_what_was_finished_outlives_a_process_that_is_killed(tmp_path):
    """JAX ends the others when it misses a process; the same study then goes on in one."""
    import small_studies

    (first, second), said = outcomes(join("die", tmp_path))
    assert first != 0
    assert second == -signal.SIGKILL
    assert "another task died" in said
    finished = small_studies.shards(tmp_path / "store")
    assert len(finished) == small_studies.NUM_SHARDS // 2 + 1
    dataset = small_studies.study(store=tmp_path / "store")
    small_studies.assert_same(dataset, small_studies.expected(), tmp_path)
    assert finished.items() <= small_studies.shards(tmp_path / "store").items()


def main(task: str, folder: Path, port: str, number: int) -> None:
    """What each of the processes does."""
    px.configure(cpu_devices=DEVICES[number])
    patience = 10 if task == "die" else 100
    jax.distributed.initialize(
        f"127.0.0.1:{port}", len(DEVICES), number, heartbeat_timeout_seconds=patience
    )
    assert len(jax.local_devices()) == DEVICES[number]
    {"work": work, "die": die}[task](number, folder)


def work(number, folder):
    processes.LOOK_SECONDS, processes.MESSAGE_BYTES = 0.1, 100
    check_what_is_shared(number)
    check_failures(number)
    check_interrupts(number)
    processes.MESSAGE_BYTES = 2**24
    check_studies(number, folder)


def die(number, folder):
    """Process 1 is killed when it has written one of its shards."""
    import small_studies

    write = Store.write

    def write_and_die(store, *shard):
        write(store, *shard)
        os.kill(os.getpid(), signal.SIGKILL)

    if number == 1:
        Store.write = write_and_die
    small_studies.study(store=folder / "store")


def check_what_is_shared(number):
    with processes.together() as crew:
        assert (crew.number, crew.size) == (number, len(DEVICES))
        for make in (
            lambda i: i,
            lambda i: (None, float("inf"), {"text": "x" * i}, [i]),
            lambda i: b"y" * (1000 * i),  # short here, many messages there
            lambda i: list(range(50 * (2 - i))),
        ):
            assert crew.share(make(number)) == [make(0), make(1)]
        for size in range(70, 130):  # over the edge of a message, byte by byte
            assert crew.share(b"z" * size) == [b"z" * size] * 2
        zero, one = crew.share(np.arange(30.0) + number)
        assert zero.tolist() == [*range(30)]
        assert one.tolist() == [*range(1, 31)]
        crew.wait("here")
        crew.wait("there")
        # of these 67 the coordinator keeps the last and those about it, as one may be ahead
        kept = distributed.global_state.client.key_value_dir_get_bytes(f"{crew._name}/said/")
        assert {int(name.split("/")[-3]) for name, _ in kept} <= {65, 66, 67}
        crew.wait("end")


def expect(kind, message, do):
    """Do something with a crew, in which it must fail."""
    with pytest.raises(kind, match=message), processes.together() as crew:
        do(crew)


def look_until_told(crew):
    while True:
        crew.look()
        time.sleep(0.01)


def fail(failure):
    raise failure


def check_failures(number):
    """What fails in process 1 ends both, whether 0 is working or waiting."""
    told = (RuntimeError, "^process 1 of the study failed: OSError: no space$")
    for act in (look_until_told, lambda crew: crew.share(0), lambda crew: crew.wait("here")):
        if number == 1:
            expect(OSError, "^no space$", lambda crew: fail(OSError("no space")))
        else:
            expect(*told, act)
    expect(RuntimeError, r"'door 0', 'door 1'", lambda crew: crew.wait(f"door {number}"))


def check_interrupts(number):
    """Ctrl-C in one process ends both, even where it waits for the other."""
    for interrupted in (0, 1):
        if number == interrupted:
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            expect(KeyboardInterrupt, "^$", lambda crew: crew.share(0))
        else:
            expect(KeyboardInterrupt, "^$", look_until_told)


def check_studies(number, folder):
    import small_studies  # has a key, so JAX starts

    written, write = [], Store.write

    def write_slowly(store, *shard):
        time.sleep(0.2 * number)  # process 0 is the first to finish, and has to wait
        written.append(shard)
        write(store, *shard)

    Store.write = write_slowly
    for way, options in WAYS.items():
        dataset = small_studies.study(**options(folder))
        px.save(dataset, folder / f"{way}-{number}.npz")
    assert len(written) == small_studies.NUM_SHARDS // len(DEVICES)  # a part, not all
    with pytest.raises(RuntimeError, match="must do the same"):
        small_studies.study(num_seeds=4 * (1 + number))


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # an orderly end would wait for the other process
