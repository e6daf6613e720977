"""The supervisor with real processes: what it ends, when, and what it says of it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from addresses import needs_ipv6
from ports import free_port

from ser_core.api.stage import StageResult
from ser_jobs.supervisor.ends import End, cause
from ser_jobs.supervisor.errors import stage_hung
from ser_jobs.supervisor.rendezvous import Meeting, meet
from ser_jobs.supervisor.silence import Silence
from ser_jobs.telemetry.control_group import kernel_kills, peak_bytes

LAST_WORDS_SECONDS = 1
IMPATIENT = f"import sys; from ser_jobs.supervisor import supervisor as s; s.LAST_WORDS_SECONDS = {LAST_WORDS_SECONDS}; sys.exit(s.main())"
PRELUDE = """
import os, signal, time
from ser_jobs.telemetry.heartbeat import from_environment
from ser_jobs.telemetry.stacks import dump_on_signal
beat = from_environment(os.environ)
rank = os.environ.get("RANK", "0")
dump_on_signal(os.environ)
def write(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)
say = lambda text: write(os.environ["SER_TERMINATION_MESSAGE"], text)
show = lambda name, text="": write(os.environ["PLACE"] + "/" + name, text)
def steps(): [beat.step() for _ in range(3)]
"""


@pytest.fixture
def supervise(tmp_path):
    """Starts a supervisor of ranks that run some code; `ended` waits for its exit code and its termination message."""
    started = []

    class Supervised:
        def __init__(self, code, processes=1, supervisor=IMPATIENT, **settings):
            self.message, self.log = tmp_path / "message", tmp_path / "log"
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(sys.path),  # the code that this test imports
                "SER_TERMINATION_MESSAGE": str(self.message),
                "SER_WORKDIR": str(tmp_path),
                "SER_PROCESSES": str(processes),
                "PLACE": str(tmp_path),
                **{name: str(value) for name, value in settings.items()},
            }
            command = [sys.executable, "-c", supervisor, "-c", PRELUDE + code]
            with self.log.open("w") as log:
                self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            started.append(self)

        def ended(self):
            code = self.process.wait(120)
            return code, self.message.read_text() if self.message.exists() else ""

        def wait_for(self, name):
            deadline = time.monotonic() + 120
            while not (tmp_path / name).exists():
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)
            return (tmp_path / name).read_text()

    yield Supervised
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            one.process.kill()
        one.process.wait()


def alive(pid):
    """Whether a process exists and is no zombie that only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid):
    deadline = time.monotonic() + 120
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_one_process_has_no_gang_and_its_message_is_the_containers(supervise):
    one = supervise("say('RANK' in os.environ and 'gang' or 'alone')")

    assert one.ended() == (0, "alone")


def test_a_process_that_the_kernel_kills_for_its_memory_is_told_of_with_what_was_planned(supervise):
    plan = "StagePlan('retrain', 8, 1, False, amounts({}), amounts({'libraries': 16 << 30, 'moments': 56 << 30}), 64 << 30)"
    code = f"""
from ser_core.memory.amounts import amounts
from ser_core.memory.plan import StagePlan
from ser_jobs.telemetry import memory_plan
memory_plan.from_environment(os.environ).tell({plan})
os.kill(os.getpid(), signal.SIGKILL)
"""
    counting = IMPATIENT.replace("sys.exit", "s.kernel_kills = iter([0, 1]).__next__; sys.exit")

    code, message = supervise(code, supervisor=counting, SER_STAGE='{"stage": "retrain"}').ended()

    assert code == 21
    told = "planned was stage retrain: 72 of 64 GiB of main memory a pod: moments 56, libraries 16"
    assert json.loads(message)["message"].endswith(f"the kernel killed rank 0; {told}")


def test_every_process_knows_its_place(supervise, tmp_path):
    code = "names = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR'); show('rank' + rank, ' '.join(os.environ[n] for n in names))"
    assert supervise(code, 2).ended()[0] == 0

    assert [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)] == ["0 0 2 127.0.0.1", "1 1 2 127.0.0.1"]


def test_whoever_commits_reports(supervise):
    assert supervise("say('committed') if rank == '1' else None", 2).ended() == (0, "committed")


def test_only_what_rank_0_says_counts_when_all_succeed(supervise):
    assert supervise("say('rank ' + rank)", 3).ended() == (0, "rank 0")


def test_a_failure_ends_the_gang_with_its_own_code_and_message(supervise):
    one = supervise("time.sleep(60) if rank == '0' else (say('no data'), os._exit(11))", 2)

    assert one.ended() == (11, "no data")


def test_a_killed_rank_ends_the_gang_and_leaves_the_reason_to_kubernetes(supervise):
    one = supervise("(time.sleep(0.5), os._exit(1)) if rank == '0' else os.kill(os.getpid(), 9)", 2)

    assert one.ended() == (137, "")


def test_a_silent_rank_is_a_hang_that_shows_where_it_stood(supervise):
    one = supervise("steps(); time.sleep(60)", SER_HANG_SECONDS=1)

    code, message = one.ended()

    result = StageResult.model_validate_json(message)
    assert code == 22
    assert result.reason == "StageHung"
    assert 'File "<string>", line' in one.log.read_text()
    assert "rank 0 showed no sign of life" in result.message


def test_a_stopped_rank_is_told_from_those_that_wait_for_it():
    long, short = Silence(61, 60, "between two steps"), Silence(59, 60, "between two steps")

    assert "rank 1 (stopped by SIGSTOP)" in stage_hung({0: long, 1: short}, [1], None).message
    assert "rank 0 waited too" in stage_hung({0: long, 1: short}, [1], None).message
    assert "rank 2 showed no sign of life for 61 s" in stage_hung({1: short, 2: long}, [], "s3://b/x").message
    assert "stacks in s3://b/x" in stage_hung({2: long}, [], "s3://b/x").message


def test_a_stopped_rank_is_found(supervise):
    code = "steps(); os.kill(os.getpid(), 19) if rank == '1' else time.sleep(60)"

    exit_code, message = supervise(code, 2, SER_HANG_SECONDS=1).ended()

    assert exit_code == 22
    assert "rank 1 (stopped by SIGSTOP) showed no sign of life" in json.loads(message)["message"]


def test_work_that_is_known_to_be_silent_is_no_hang(supervise):
    one = supervise("steps(); beat.silent('saving'); time.sleep(3); say('done')", SER_HANG_SECONDS=1)

    assert one.ended() == (0, "done")


def test_sigterm_is_passed_on_and_the_checkpoint_is_waited_for(supervise):
    code = "signal.signal(15, lambda *_: (time.sleep(0.5), say('saved ' + rank), os._exit(143)));"
    one = supervise(code + "show('ready' + rank); time.sleep(60)", 2)
    one.wait_for("ready0"), one.wait_for("ready1")

    one.process.send_signal(signal.SIGTERM)

    assert one.ended() == (143, "saved 0")


def test_a_process_that_stops_on_request_lets_the_others_save_their_checkpoint(supervise):
    save = f"(time.sleep({LAST_WORDS_SECONDS + 1}), say('saved by rank 0'), os._exit(143))"  # longer than they had after a failure
    wait = f"signal.signal(15, lambda *_: {save}); show('ready'); time.sleep(60)"
    stop = "while not os.path.exists(os.environ['PLACE'] + '/ready'): time.sleep(0.02)\n    say('stopped'); os._exit(143)"

    one = supervise(f"if rank == '0':\n    {wait}\nelse:\n    {stop}", 2)

    assert one.ended() == (143, "saved by rank 0")


def test_a_spent_budget_ends_all_although_nobody_sends_sigterm(supervise):
    code = "signal.signal(signal.SIGTERM, lambda *_: (say('saved'), os._exit(143)))\nwhile True: time.sleep(0.1)"

    assert supervise(code, 2, SER_BUDGET_SECONDS=2).ended() == (143, "saved")


def test_what_does_not_stop_is_killed_before_the_grace_ends(supervise):
    code = "signal.signal(15, signal.SIG_IGN); show('ready', str(os.getpid())); time.sleep(60)"
    one = supervise(code, SER_GRACE_SECONDS=2)
    pid = one.wait_for("ready")

    one.process.send_signal(signal.SIGTERM)

    code, message = one.ended()
    assert (code, json.loads(message)["outcome"]) == (143, "interrupted")
    assert gone(int(pid))


def test_ranks_die_with_their_supervisor(supervise):
    one = supervise("show('pid', str(os.getpid())); time.sleep(60)")
    pid = one.wait_for("pid")

    one.process.kill()

    assert gone(int(pid))


def test_a_pod_alone_gives_up_waiting_for_the_gang(supervise):
    settings = {"SER_PODS": 2, "JOB_COMPLETION_INDEX": 0, "SER_RENDEZVOUS_SECONDS": 1, "POD_IP": "127.0.0.1", "MASTER_ADDR": "127.0.0.1"}
    code, message = supervise("raise SystemExit(1)", MASTER_PORT=free_port(following=1), **settings).ended()

    assert code == 23
    assert "waited 1 s for pod 1" in json.loads(message)["message"]


def test_the_supervisor_imports_neither_torch_nor_pydantic():
    code = "import sys, ser_jobs.supervisor.supervisor; print([name for name in ('torch', 'pydantic', 'boto3') if name in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_the_pods_of_a_gang_meet(address):
    port = free_port()
    meetings = [Meeting("run/0/retrain/1", index, 3, address, port, 60) for index in range(3)]
    stranger = Meeting("another/0/retrain/1", 1, 3, address, port, 1)
    missing = {}
    threads = [
        threading.Thread(target=lambda one=one, name=name: missing.update({name: meet(one, address, lambda: False)}))
        for name, one in [("stranger", stranger), *enumerate(meetings)]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert missing == {0: [], 1: [], 2: [], "stranger": [0]}


def test_a_pod_whose_line_was_cut_may_say_it_again():
    port, missing = free_port(), []
    leader = threading.Thread(target=lambda: missing.extend(meet(Meeting("g", 0, 2, "127.0.0.1", port, 60), "127.0.0.1", lambda: False)))
    leader.start()
    answers = [said(port, line) for line in (b"g", b"g 1\n")]
    leader.join()
    assert (answers, missing) == ([b"", b"go\n"], [])


def said(port, line):
    """What the leader answers; it may not listen yet."""
    for _ in range(600):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=60) as pod:
            pod.sendall(line)
            return pod.recv(8)
        time.sleep(0.1)
    raise TimeoutError


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([0, 0], None),
        ([1, 137], 137),  # the first lost its peer
        ([143, 22], 22),
        ([20, 21], 20),
        ([1, 143], 1),
    ],
)
def test_the_end_that_explains_the_others_is_found(codes, expected):
    end = cause([End(rank, code) for rank, code in enumerate(codes)])

    assert (end.code if end else None) == expected


def test_kills_by_the_kernel_are_counted_where_there_are_control_groups(tmp_path):
    assert (kernel_kills(tmp_path), peak_bytes(tmp_path)) == (0, None)

    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\n")
    (tmp_path / "memory.peak").write_text("1024\n")

    assert (kernel_kills(tmp_path), peak_bytes(tmp_path)) == (2, 1024)
