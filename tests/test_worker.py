"""A network in a child process: what happens there harms nothing here, and lies there are not believed."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import fluoroscope as fs
from fluoroscope.errors import (
    BudgetExceeded,
    DamagedFile,
    LayerNotFound,
    NetworkError,
    UnsupportedLayer,
    UsageError,
    WorkerFailed,
)
from fluoroscope.network.budget import Budget
from fluoroscope.network.protocol import InputSpec, Layer, Network, Provenance
from fluoroscope.network.worker import isolated, landlock
from fluoroscope.network.worker import line as line_module
from fluoroscope.network.worker.records import Malformed, decode, encode
from fluoroscope.network.worker.shared import Pool, Segment, placed
from fluoroscope.network.worker.table import Table
from onnx_models import after, chain, floats

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc")
linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux guarantees")

BATCH = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
SMALL = Budget(memory=2**20, seconds=20)


def start(opener, *, budget=SMALL, **options):
    return isolated(f"worker_openers:{opener}", {"file": b"abc"}, options, path="abc.h5", budget=budget)


def misbehave(what):
    """A batch that tells the child what to do."""
    batch = BATCH.copy()
    batch.flat[0] = what
    return batch


def alive(pid):
    """Whether a process runs: one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid, seconds=5.0):
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


@pytest.fixture(scope="module")
def naughty():
    """One network for all that it survives: each failure is followed by a call that works."""
    with start("naughty") as network:
        yield network


@contextmanager
def in_seconds(network, seconds):
    """A shorter time for a run; not for opening it again, which a busy machine may need."""
    line = network._line
    line.budget = Budget(memory=SMALL.memory, seconds=seconds)
    try:
        yield
    finally:
        line.budget = SMALL


def test_a_network_like_any_other():
    with start("honest", answer=42) as network:
        assert isinstance(network, Network)
        assert [layer.name for layer in network.layers] == ["x", "double", "odd"]
        found = network.run(BATCH, ["double", "x"])
        assert list(found) == ["double", "x"]
        np.testing.assert_array_equal(found["double"], 2 * BATCH)
        np.testing.assert_array_equal(found["x"], BATCH)
        # Of the file the parent says what it is.
        assert network.provenance.path == "abc.h5"
        assert network.provenance.size == 3
        assert network.provenance.sha256.startswith("ba7816bf")
        assert repr(network).startswith("<IsolatedNetwork 'toy': 3 layers, from onnx, in process ")
        assert "Lambda" in network.summary()
        assert network._repr_html_().startswith("<div>")
        assert network.memory(["double", "x"]) == 48
        pid = network.pid
    assert gone(pid)
    np.testing.assert_array_equal(found["double"], 2 * BATCH)
    with pytest.raises(WorkerFailed, match="is not possible: the network was closed") as caught:
        network.run(BATCH, ["x"])
    assert caught.value.reason == "closed"
    network.close()


@pytest.mark.parametrize(
    ("batch", "names", "error", "message"),
    [
        (BATCH, ["dubble"], LayerNotFound, "No layer is called 'dubble'. Did you mean 'double'"),
        (BATCH, ["double:pre"], LayerNotFound, "'double' has no fused activation"),
        (BATCH, ["odd"], UnsupportedLayer, "'odd' cannot be run: unknown"),
        (BATCH[..., :2], ["x"], UsageError, r"Input 'x' takes \(n, 2, 3\)"),
        (BATCH.astype("U"), ["x"], UsageError, "takes numbers"),
        ({"y": BATCH}, ["x"], LayerNotFound, "No input is called 'y'"),
        (BATCH, [], None, ""),
    ],
)
def test_what_cannot_be_asked_is_not_sent(naughty, monkeypatch, batch, names, error, message):
    monkeypatch.setattr(line_module.Line, "_ask", lambda *_: pytest.fail("it was sent"))
    if error is None:
        assert naughty.run(batch, names) == {}
        return
    with pytest.raises(error, match=message):
        naughty.run(batch, names)


# Crashes, hangs, memory.


@pytest.mark.parametrize(
    ("what", "reason", "message"),
    [
        (1, "crash", r"Running 'abc.h5' failed: its process ended by itself \(exit code 3\)"),
        (2, "crash", r"signal SIGSEGV; it said: .*Segmentation fault"),
        (3, "timeout", r"took longer than 1 s, and was stopped.*--timeout 2, or budget=Budget\(seconds=2\)"),
        (4, "timeout", "took longer than 1 s"),
        (5, "memory", r"took more than 515 MiB of memory, and was stopped.*--memory 4G"),
        pytest.param(6, "memory", "took more than 515 MiB of memory", marks=linux),
        (7, "timeout", "took longer than 1 s"),
    ],
    ids=["exit", "segfault", "hang", "hang with the lock", "memory", "shared memory", "stubborn"],
)
def test_it_is_stopped_and_the_next_call_works(naughty, what, reason, message):
    naughty.run(BATCH, ["x"])
    pid = naughty.pid
    seconds = 1 if reason == "timeout" else SMALL.seconds
    with in_seconds(naughty, seconds), pytest.raises(WorkerFailed, match=message) as caught:
        naughty.run(misbehave(what), ["double"])
    assert caught.value.reason == reason
    assert caught.value.exit_code == 7
    assert gone(pid)
    assert naughty.pid is None
    np.testing.assert_array_equal(naughty.run(BATCH, ["double"])["double"], 2 * BATCH)
    assert naughty.pid != pid


def test_what_a_stubborn_one_started_ends_with_it(naughty):
    naughty.run(BATCH, ["x"])
    pid = naughty.pid
    with in_seconds(naughty, 1), pytest.raises(WorkerFailed):
        naughty.run(misbehave(7), ["double"])
    group = [member for member, _, process_group in processes() if process_group == str(pid)]
    # Killed all at once, each takes a moment to be gone.
    assert all(map(gone, group))


def test_an_error_there_is_no_end(naughty):
    naughty.run(BATCH, ["x"])
    pid = naughty.pid
    with pytest.raises(
        WorkerFailed, match="Unexpected, in the network's process: ZeroDivisionError: in a run"
    ):
        naughty.run(misbehave(8), ["double"])
    assert naughty.pid == pid
    naughty.run(BATCH, ["x"])


@pytest.mark.parametrize(
    ("opener", "error", "message"),
    [
        ("damaged", DamagedFile, "^3 bytes are too few$"),
        ("surprised", WorkerFailed, "ZeroDivisionError: on the child's side"),
        ("dies_on_opening", WorkerFailed, r"Opening 'abc.h5' failed.*exit code 7"),
        ("not_there", WorkerFailed, "AttributeError"),
    ],
)
def test_errors_of_opening(opener, error, message):
    before = children()
    with pytest.raises(error, match=message):
        start(opener)
    assert children() == before


def test_opening_has_a_limit_of_time():
    with pytest.raises(WorkerFailed, match=r"Opening 'abc\.h5' took longer than 0\.5 s") as caught:
        start("slow_to_open", budget=Budget(seconds=0.5))
    assert caught.value.reason == "timeout"


def test_no_process_at_all(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerFailed, match="No process could be started") as caught:
        start("honest")
    assert caught.value.reason == "start"
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(WorkerFailed, match="cannot be started again"):
        start("honest")


def test_cancelled_from_another_thread(naughty):
    naughty.run(BATCH, ["x"])
    naughty.cancel()  # nothing runs: nothing happens
    naughty.run(BATCH, ["x"])
    pid = naughty.pid
    timer = threading.Timer(0.3, naughty.cancel)
    timer.start()
    before = time.monotonic()
    with pytest.raises(WorkerFailed, match=r"Running 'abc\.h5' was cancelled") as caught:
        naughty.run(misbehave(3), ["x"])
    assert caught.value.reason == "cancelled"
    assert time.monotonic() - before < 10
    assert gone(pid)
    timer.join()
    naughty.run(BATCH, ["x"])


def test_interrupted_by_ctrl_c(naughty):
    naughty.run(BATCH, ["x"])
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        naughty.run(misbehave(3), ["x"])
    timer.join()
    np.testing.assert_array_equal(naughty.run(BATCH, ["double"])["double"], 2 * BATCH)


def test_closed_while_it_works():
    network = start("naughty")
    timer = threading.Timer(0.3, network.close)
    timer.start()
    with pytest.raises(WorkerFailed, match="was ended: the network was closed"):
        network.run(misbehave(3), ["x"])
    timer.join()
    assert network.pid is None


# Liars.


@pytest.mark.parametrize(
    "opener",
    [
        "garbage", "endless", "no_json", "deep", "a_list", "half", "no_table", "wrong_type", "missing",
        "extra", "twice", "negative", "enormous", "unknown_family", "no_inputs", "unknown_error",
        "mute_error",
    ],
)  # fmt: skip
def test_a_lie_about_the_network_is_not_believed(opener):
    before = children()
    seconds = 1 if opener == "half" else 20
    with pytest.raises(WorkerFailed) as caught:
        start(opener, budget=Budget(memory=2**20, seconds=seconds))
    assert caught.value.reason == ("timeout" if opener == "half" else "protocol")
    assert children() == before


@pytest.mark.parametrize(
    "opener",
    [
        "giant", "minus", "no_size", "other_shape", "more_shape", "float_shape", "outside", "before",
        "crooked", "other_name", "fewer", "nothing", "numbers", "not_filled",
    ],
)  # fmt: skip
def test_a_lie_about_activations_is_not_believed(opener):
    with start(opener) as network:
        with pytest.raises(WorkerFailed, match="said what cannot be") as caught:
            network.run(BATCH, ["double"])
        assert caught.value.reason == "protocol"
        assert network.pid is None


# What it cannot do.


@linux
def test_what_it_must_not_do_it_cannot(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("42")
    os.environ["FLUOROSCOPE_TEST_TOKEN"] = "secret"
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            network = start("curious", secret=str(secret), address=server.getsockname())
    finally:
        del os.environ["FLUOROSCOPE_TEST_TOKEN"]
    network.close()
    found = dict(layer.name.split(": ", 1) for layer in network.layers)
    assert found.pop("privileges").split() == ["NoNewPrivs:", "1"]
    assert "FLUOROSCOPE_TEST_TOKEN" not in json.loads(found.pop("environment"))
    # The lifeline, what it says, its line.
    kinds = [path.partition(":")[0] for path in json.loads(found.pop("handles"))]
    assert kinds == ["pipe", "/dev/null", "pipe", "socket"]
    assert found.pop("resident") == "True"
    assert found.pop("import") == "done: wave"
    assert found.pop("own memory file") == "EFBIG"
    known = landlock.version()
    if known < 6:
        assert found.pop("signal").startswith("done") or known
    if known < 4:
        found.pop("connect")
    if known:
        refused = {name: result for name, result in found.items() if result in ("EACCES", "EPERM", "EFBIG")}
        assert refused == found
    assert secret.read_text() == "42"
    assert sorted(os.listdir(tmp_path)) == ["secret.txt"]


def test_its_descriptors_are_its_own(tmp_path):
    """Files that are open here are not open there."""
    with (tmp_path / "open.txt").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        with start("honest", answer=42) as network:
            held = [os.readlink(entry) for entry in Path(f"/proc/{network.pid}/fd").iterdir()]
    assert not [path for path in held if "open.txt" in path]


@linux
def test_it_ends_with_its_parent():
    """Also while native code holds the interpreter's lock, and when the parent was killed."""
    code = (
        "import sys, threading, numpy as np\n"
        "from test_worker import start, BATCH\n"
        "network = start('busy_with_the_lock')\n"
        "threading.Thread(target=network.run, args=(BATCH, ['x']), daemon=True).start()\n"
        "print(network.pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parent)
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


def test_it_ends_when_the_program_does():
    code = "from test_worker import start\nprint(start('honest', answer=42).pid)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert gone(int(done.stdout))


def test_it_outlives_the_thread_that_started_it():
    made = []
    thread = threading.Thread(target=lambda: made.append(start("honest", answer=42)))
    thread.start()
    thread.join()
    (network,) = made
    with network:
        pid = network.pid
        time.sleep(0.1)
        network.run(BATCH, ["x"])
        assert network.pid == pid


@linux
def test_a_fork_of_this_process_gets_one_of_its_own():
    network = start("honest", answer=42)
    pid = network.pid
    read, write = os.pipe()
    fork = os.fork()
    if fork == 0:
        try:
            values = network.run(BATCH, ["double"])["double"]
            os.write(write, json.dumps([network.pid, values.tolist()]).encode())
            network.close()
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as answer:
        other, values = json.loads(answer.read())
    os.waitpid(fork, 0)
    assert other != pid
    assert values == (2 * BATCH).tolist()
    assert network.pid == pid
    network.run(BATCH, ["x"])
    network.close()
    assert gone(pid)
    assert gone(other)


# Nothing is left behind.


def processes():
    """Process id, its parent's and its group's, of every process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                _, parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue  # it has just ended
            found.append((entry.name, parent, group))
    return found


def children():
    return sorted(member for member, parent, _ in processes() if parent == str(os.getpid()))


def open_files():
    return len(os.listdir("/proc/self/fd"))


def segments():
    return sum("memfd:fluoroscope" in line for line in Path("/proc/self/maps").read_text().splitlines())


@linux
def test_nothing_is_left_after_many_calls():
    data = chain(
        [after("Relu"), after("Resize", "", "s", mode="nearest")], {"s": np.array([1, 1, 32, 32], "f")}
    )
    gc.collect()
    before = (children(), open_files(), segments(), sorted(os.listdir("/dev/shm")))
    network = fs.open_network(data, isolate=True)
    batch = floats(1, 16, 12, 2)
    kept = []
    for number in range(50):
        values = network.run(batch, ["t0", "t1"])  # 1.5 MB: shared
        kept = [*kept[-3:], values["t1"]]
        if number == 9:
            settled = (open_files(), segments())
    assert (open_files(), segments()) == settled
    assert settled[1] <= 10
    # `Resize` by whole steps, of what is above zero.
    expected = np.maximum(batch, 0).repeat(32, axis=1).repeat(32, axis=2)
    for array in kept:
        np.testing.assert_array_equal(array, expected)
    pid = network.pid
    del network, kept, values, array
    gc.collect()
    assert gone(pid)
    assert (children(), open_files(), segments(), sorted(os.listdir("/dev/shm"))) == before


def test_results_outlive_the_process_and_each_other():
    data = chain([after("Resize", "", "s", mode="nearest")], {"s": np.array([1, 1, 32, 32], np.float32)})
    batches = [floats(1, 16, 12, 2) + number for number in range(4)]
    with fs.open_network(data, isolate=True) as network:
        found = [network.run(batch, ["t0"])["t0"] for batch in batches]
    plain = fs.open_network(data)
    for batch, values in zip(batches, found, strict=True):
        np.testing.assert_array_equal(values, plain.run(batch, ["t0"])["t0"])
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            values.flags.writeable = True


def test_memory_is_used_again():
    data = chain([after("Resize", "", "s", mode="nearest")], {"s": np.array([1, 1, 32, 32], np.float32)})
    with fs.open_network(data, isolate=True) as network:
        places = set()
        for _ in range(6):
            values = network.run(floats(1, 16, 12, 2), ["t0"])["t0"]
            places.add(values.__array_interface__["data"][0])
            del values
    assert len(places) <= 2


def test_threads_may_share_it(naughty):
    wrong = []

    def work(number):
        batch = BATCH + number * 1000
        for _ in range(20):
            if not np.array_equal(naughty.run(batch, ["double"])["double"], 2 * batch):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Files.


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(chain([after("Relu")]))
    return path


def test_a_file_is_opened_again_after_a_crash(file):
    network = fs.open_network(file, isolate=True)
    batch = floats(1, 16, 12, 2)
    os.kill(network.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match=r"net.onnx' failed.*signal SIGKILL"):
        network.run(batch, ["t0"])
    np.testing.assert_array_equal(network.run(batch, ["t0"])["t0"], np.maximum(batch, 0))
    os.kill(network.pid, signal.SIGKILL)
    file.write_bytes(chain([after("Sigmoid")]))
    with pytest.raises(WorkerFailed):
        network.run(batch, ["t0"])
    with pytest.raises(NetworkError, match="is another file than the one that was opened"):
        network.run(batch, ["t0"])
    assert network.pid is None
    network.close()


def test_errors_have_the_file_s_name(tmp_path):
    path = tmp_path / "bad.keras"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(NetworkError, match=r"bad\.keras") as inside:
        fs.open_network(path)
    with pytest.raises(type(inside.value)) as outside:
        fs.open_network(path, isolate=True)
    assert str(outside.value) == str(inside.value)
    with pytest.raises(NetworkError, match="There is no file"):
        fs.open_network(tmp_path / "none.h5", isolate=True)
    with pytest.raises(BudgetExceeded, match="files up to that size"):
        fs.open_network(path, isolate=True, budget=Budget(memory=50))


def test_budgets_are_held_there_too():
    data = chain([after("Resize", "", "s", mode="nearest")], {"s": np.array([1, 1, 32, 32], np.float32)})
    with fs.open_network(data, isolate=True, budget=Budget(memory=2**21)) as network:
        message = (
            r"activations of 1 layer for 2 pictures would take 3 MiB|\[2, 2, 512, 384\], would take 3 MiB"
        )
        with pytest.raises(BudgetExceeded, match=message):
            network.run(floats(2, 16, 12, 2), ["t0"])
        assert network.pid is not None


# The parts.


def test_records_come_back_as_they_were():
    table = Table(
        name="n",
        inputs=(InputSpec(name="x", shape=(None, 3)),),
        outputs=("a",),
        layers=fs.open_network(fs.demo.network_path()).layers,
        provenance=Provenance(
            path=None, format="f", writer="w", backend=None, sha256="", size=1, notes=("a",)
        ),
    )
    assert decode(Table, json.loads(json.dumps(encode(table))), "it") == table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, r"it.name is NoneType, not str"),
        ({"shape": [1, "2"]}, r"it.shape\[1\] is str, not int"),
        ({"shape": 3}, "it.shape is int, not a list"),
        ({"parameters": True}, "it.parameters is bool, not int"),
        ({"has_pre": 1}, "it.has_pre is int, not bool"),
        ({"activation": 5}, "it.activation is int, not str"),
        ({"receptive_field": {"size": []}}, "it.receptive_field has the entries"),
        ({"parameters": 2**63}, "out of all range"),
        ({"more": 1}, "it has the entries"),
    ],
)
def test_records_of_other_types(change, message):
    record = encode(Layer(name="a", kind="b", family="conv", shape=(1, 2)))
    with pytest.raises(Malformed, match=message):
        decode(Layer, json.loads(json.dumps({**record, **change})), "it")


@linux
def test_the_size_of_a_segment_is_fixed():
    segment = Segment(1, 1000)
    for size in (0, 10, 2**30):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.handle, size)
    segment.bytes[:] = 1


def test_a_pool_keeps_little():
    pool = Pool(spare=2**20)
    many = [pool.take(2**18) for _ in range(6)]
    for segment in many:
        pool.give_back(segment)
    assert pool.dropped() == [1, 2, 3]
    assert pool.take(2**18).number in (4, 5, 6)
    large = pool.take(2**21)
    pool.give_back(large)
    assert large.number in pool.dropped()
    # What is much too large for it is not taken.
    assert pool.take(2**10).number > large.number


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [2**39, 2**39], "offset": 0},
        {"shape": [-1], "offset": 0},
        {"shape": [True], "offset": 0},
        {"shape": "ab", "offset": 0},
        {"shape": [1], "offset": 2**16},
        {"shape": [1], "offset": None},
        {"shape": [1]},
        {},
    ],
)
def test_places_that_cannot_be(entry):
    with pytest.raises(Malformed):
        placed(np.zeros(2**16, np.uint8), entry, np.dtype(np.float32))
