#!/usr/bin/env python3
"""Runs a site of three machines with eight streams while its parts, its NATS server and its links are harmed at random.

    cargo build --features remote && make setup-remote && apt-get install iproute2 nftables
    sudo scripts/trial-site.py --seconds 180 --seed 1 --runs 20
    scripts/trial-site.py --local --seconds 20

Each machine is a network namespace with an address and a link of its own; `--local` needs no privileges, and uses a relay between each part and
the server in place of links. Parts and server are killed and paused, links go down, become slow and lose packets, as the seed decides; processes
that die are restarted with the same command, as a service manager would do. With `--delays` each part reaches the server through a relay on its own
machine, which has a high latency at times. At the end everything is left alone, must make progress, and is drained.

Checks that every packet whose publication was acknowledged on a lossless edge (according to the sending part's log) is in the table, once and in
order; that the table of a dropping edge is in order; that no manual repair is needed; that the book of the site balances; and that no more packets of
a lossless edge died with a part than its queues hold. Exits with 1 if a check fails, and with 77 where network namespaces are not permitted.
"""

import argparse
import csv
import heapq
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from namespaces import SKIPPED, Namespaces, Unavailable
from relays import Relay, Relays

HOSTS = ["gate", "hall", "server"]
CAMERAS = ["gate", "hall"]
# Streams per camera machine; the last of each crosses an edge that may drop.
STREAMS = 4
# Packets of a stream that a camera's part may hold: two queues of 4, 16 in flight, and one in hand at the camera, at the detector and in
# front of the edge.
HELD = 4 + 4 + 16 + 3
FPS = 10


def graph():
    lines = ["fermata: 1", "name: trial", "machines: {gate: {}, hall: {}, server: {}}", "nodes:"]
    for index, host in enumerate(CAMERAS):
        names = [f"{host}{n}" for n in range(STREAMS)]
        for n, name in enumerate(names):
            seed = index * STREAMS + n
            lines.append(f"  {name}: {{use: synthetic_faces, seed: {seed}, width: 64, height: 64, fps: {FPS}, on: {host}}}")
        # The detector runs only once; the edges carry frames.
        look = "model: haar, min_size: 48, every: 1000000"
        lines.append(f"  see_{host}: {{use: detect_faces, in: [{', '.join(names[:-1])}], {look}, on: {host}}}")
        lines.append(f"  glance_{host}: {{use: detect_faces, in: {names[-1]}, {look}, on: {host}}}")
    lines.append("  log: {use: write_csv, in: [see_gate, see_hall], path: \"${run.dir}/log.csv\", on: server}")
    drops = "queue: {capacity: 2, full: drop_oldest}"
    lines.append(f"  seen: {{use: write_csv, in: [glance_gate, glance_hall], {drops}, path: \"${{run.dir}}/seen.csv\", on: server}}")
    lines.append("run: {clock: live}")
    return "\n".join(lines) + "\n"


class Trial:
    def __init__(self, arguments, seed, folder):
        self.arguments, self.folder = arguments, folder
        self.dice = random.Random(seed)
        # The clocks since boot of the hall's machine differ from the others'.
        self.network = Relays(HOSTS, seed) if arguments.local else Namespaces(HOSTS, elsewhen="hall")
        self.relays = {}
        if arguments.delays and not arguments.local:
            for number, host in enumerate(HOSTS):
                enter = self.network.entering(host)
                self.relays[host] = Relay(self.network.listens(), seed + number, enter)
        self.processes = {}
        self.starts = {name: 0 for name in [*HOSTS, "nats"]}
        # By process: the earliest time at which it is restarted.
        self.not_before = {}
        self.harmed, self.problems, self.events = {}, [], []
        self.drained, self.ended = False, set()
        self.began = time.monotonic()
        with open(f"{folder}/site.yaml", "w") as file:
            file.write(graph())
        address, port = self.network.listens()
        with open(f"{folder}/nats.conf", "w") as file:
            file.write(
                f'listen: "{address}:{port}"\nmax_payload: 8MB\nping_interval: "3s"\nping_max: 2\n'
                f'jetstream {{store_dir: "{folder}/store", sync_interval: always}}\n'
            )

    def note(self, what):
        self.events.append((round(time.monotonic() - self.began, 1), what))

    def start(self, name):
        self.starts[name] += 1
        if name == "nats":
            host, command = "server", [self.arguments.nats_server, "--config", f"{self.folder}/nats.conf"]
        else:
            host = name
            command = [self.arguments.fermata, "run", "site.yaml", "--machine", name, "--nats", self.url(name)]
            command += ["--out", name, "--quiet", "--log-format", "json"]
        environment = dict(os.environ, FERMATA_LOG="info,hyper=warn,fermata_remote=trace", RUST_BACKTRACE="1")
        output = open(f"{self.folder}/{name}.{self.starts[name]}.out", "w")
        self.processes[name] = subprocess.Popen(
            self.network.command(host, command),
            cwd=self.folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        output.close()

    def url(self, host):
        if host in self.relays:
            return "nats://127.0.0.1:%d" % self.relays[host].address()[1]
        return self.network.url(host)

    def delay(self, host, ms):
        """Delays each direction by `ms`, and by up to half of it more."""
        if host in self.relays:
            self.relays[host].delay = ms / 1000
        else:
            self.network.delay(host, ms)

    def mend(self, host):
        self.network.mend(host)
        if host in self.relays:
            self.relays[host].delay = 0.0

    def signal(self, name, number):
        process = self.processes.get(name)
        if process and process.poll() is None:
            os.killpg(process.pid, number)

    def said(self, name):
        """Returns the last lines of a process that are not log lines."""
        with open(f"{self.folder}/{name}.{self.starts[name]}.out") as file:
            lines = [line.strip() for line in file if not line.startswith("{")]
        return " ".join(lines[-5:])

    def supervise(self):
        """Restarts processes that have ended."""
        for name in [*HOSTS, "nats"]:
            process = self.processes.get(name)
            code = process.poll() if process else None
            if process and code is None or name in self.ended:
                continue
            if process:
                del self.processes[name]
                self.judge(name, code)
                pause = max(self.not_before.get(name, 0), time.monotonic() + 0.3)
                self.not_before[name] = pause
            elif time.monotonic() >= self.not_before.get(name, 0):
                self.start(name)

    def judge(self, name, code):
        if code in (-signal.SIGKILL, 137):
            return
        said = self.said(name)
        # Refused: the server is down, or still waits for the incarnation that was killed.
        is_refused = code == 2 and any(
            words in said
            for words in [
                "no NATS server", "runs already", "the NATS server failed to", "cannot read from the NATS server", "connection to the NATS server",
            ]
        )
        if self.drained and (code in (0, 130) or code == 2 and "has ended on machine" in said):
            self.ended.add(name)
            return
        self.note(f"{name} ended with {code}: {said[:200]}")
        if not is_refused and name != "nats":
            self.problems.append(f"{name}, start {self.starts[name]}, ended with {code}: {said[:600]}")

    def harm(self, agenda):
        """Does one harm and schedules its end."""
        dice, now = self.dice, time.monotonic()
        kinds = ["kill", "kill", "stop", "cut", "cut", "slow", "lose", "kill nats", "stop nats", "dead host"]
        kind = dice.choice(kinds + ["delay", "delay"] if self.arguments.delays else kinds)
        host = dice.choice(HOSTS)
        lasts = dice.uniform(0.3, 3) if kind in ("slow", "lose") and self.arguments.local else dice.uniform(0.3, 8)
        self.harmed[kind] = self.harmed.get(kind, 0) + 1
        self.note(f"{kind} {'' if 'nats' in kind else host} {lasts:.1f} s")
        until = now + lasts

        def later(what):
            heapq.heappush(agenda, (until, len(self.events), what))

        if kind in ("kill", "dead host"):
            self.signal(host, signal.SIGKILL)
            self.not_before[host] = until
        if kind in ("cut", "dead host"):
            self.network.cut(host)
            later(lambda: self.mend(host))
        if kind == "slow":
            self.network.slow(host, dice.choice([64, 256, 1024]))
            later(lambda: self.mend(host))
        if kind == "lose":
            self.network.lose(host, dice.choice([2, 10, 30]))
            later(lambda: self.mend(host))
        if kind == "delay":
            self.delay(host, dice.choice([20, 100, 500]))
            later(lambda: self.mend(host))
        if kind == "stop":
            self.signal(host, signal.SIGSTOP)
            later(lambda: self.signal(host, signal.SIGCONT))
        if kind == "kill nats":
            self.signal("nats", signal.SIGKILL)
            self.not_before["nats"] = now + min(lasts, 4)
        if kind == "stop nats":
            self.signal("nats", signal.SIGSTOP)
            later(lambda: self.signal("nats", signal.SIGCONT))

    def rows(self, table):
        """Returns the current rows of a table."""
        for path in [f"{self.folder}/server/{table}", f"{self.folder}/server/{table}.part"]:
            if os.path.exists(path):
                with open(path, newline="") as file:
                    return list(csv.DictReader(file))
        return []

    def wait(self, what, seconds, happened):
        end = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > end:
                self.problems.append(f"waited {seconds} s in vain: {what}")
                return False
            for _ in range(5):
                self.supervise()
                time.sleep(0.05)
        return True

    def site(self, *arguments):
        command = [self.arguments.fermata, "site", *arguments, "--nats", self.url("server"), "--site", "trial"]
        command = self.network.command("server", command)
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder)

    def run(self):
        self.start("nats")
        for host in HOSTS:
            self.start(host)
        patience = self.arguments.patience
        if not self.wait("rows of all streams", patience, lambda: self.progress([]) is not None):
            return
        agenda = []
        over = time.monotonic() + self.arguments.seconds
        next_harm = time.monotonic()
        while time.monotonic() < over:
            if time.monotonic() >= next_harm:
                self.harm(agenda)
                least, most = self.arguments.every
                next_harm = time.monotonic() + self.dice.uniform(least, most)
            while agenda and agenda[0][0] <= time.monotonic():
                heapq.heappop(agenda)[2]()
            self.supervise()
            time.sleep(0.02)
        self.note("left alone")
        for _, _, end in sorted(agenda, key=lambda entry: entry[:2]):
            end()
        for name in self.processes:
            self.signal(name, signal.SIGCONT)
        for host in HOSTS:
            self.mend(host)
        before = self.rows("log.csv") + self.rows("seen.csv")
        self.wait("all streams go on", patience, lambda: self.progress(before) is not None)
        asked = None

        def is_told():
            nonlocal asked
            asked = self.site("drain")
            return asked.returncode == 0

        if not self.wait("the site is drained", patience, is_told):
            self.problems.append(asked.stderr)
        self.drained = True
        self.note("drained")
        self.wait("all parts end", patience, lambda: all(host in self.ended for host in HOSTS))
        self.note("ended")

    def progress(self, before):
        """Returns how many new rows each stream has, or None if any has fewer than 3."""
        count = {}
        for row in self.rows("log.csv") + self.rows("seen.csv"):
            count[row["stream"]] = int(row["sequence"])
        last = {}
        for row in before:
            last[row["stream"]] = int(row["sequence"])
        names = [f"{host}{n}" for host in CAMERAS for n in range(STREAMS)]
        ahead = {name: count.get(name, -1) - last.get(name, -1) for name in names}
        return ahead if all(ahead[name] >= 3 for name in names) else None

    def logged(self, host, message):
        with open(f"{self.folder}/{host}/run.log") as file:
            for line in file:
                if f'"{message}"' in line:
                    try:
                        yield json.loads(line)
                    except ValueError:
                        # The part was killed while writing.
                        continue

    def check(self):
        stored = {}
        for host in CAMERAS:
            for line in self.logged(host, "stored"):
                stored[(line["stream"], line["incarnation"], line["number"])] = line["sequence"]
        taken = {}
        for line in self.logged("server", "taken"):
            taken[(line["stream"], line["incarnation"], line["number"])] = line["sequence"]
        counts = {"acknowledged": 0, "rows": 0}
        written, sets = {}, {}
        for table in ["log.csv", "seen.csv"]:
            for row in self.rows(table):
                sequence = int(row["sequence"])
                of_stream = written.setdefault(row["stream"], [])
                if of_stream and sequence <= of_stream[-1]:
                    self.problems.append(f"{table}: {row['stream']}: {sequence} after {of_stream[-1]}")
                of_stream.append(sequence)
                counts["rows"] += 1
        lossy = {f"{host}{STREAMS - 1}" for host in CAMERAS}
        lost = []
        for packet in stored:
            if packet[0] in lossy:
                continue
            counts["acknowledged"] += 1
            if packet[0] not in sets:
                sets[packet[0]] = set(written.get(packet[0], []))
            if taken.get(packet) not in sets[packet[0]]:
                lost.append((*packet, taken.get(packet)))
        if lost:
            self.problems.append(f"{len(lost)} acknowledged packets are not in the table, such as {lost[:5]}")
        by_row = {}
        for packet, sequence in taken.items():
            row = (packet[0], sequence)
            if packet[0] not in lossy and by_row.setdefault(row, packet) != packet:
                self.problems.append(f"row {row} may be {packet} or {by_row[row]}")
        merge = subprocess.run(
            [self.arguments.fermata, "report", "merge", *HOSTS, "--json"], capture_output=True, text=True, cwd=self.folder
        )
        if merge.returncode != 0:
            self.problems.append(f"the book: {merge.returncode}: {merge.stdout[-1500:]} {merge.stderr[-500:]}")
        else:
            for stream, sinks in json.loads(merge.stdout)["sinks"].items():
                for sink, book in sinks.items():
                    told = book["delivered"] + book["settled_before"] + sum(book["losses"].values())
                    if told != book["captured"]:
                        self.problems.append(f"the book of {stream} at {sink}: {book}")
                    rows = len(written.get(stream, []))
                    told = book["delivered"] + book["settled_before"]
                    # Packets of a dropping edge that a killed incarnation had settled may have been dropped downstream.
                    if rows > told or rows < told and stream not in lossy:
                        self.problems.append(f"{stream}: {rows} rows, but the book says {book}")
                    for cause, lost in book["losses"].items():
                        cause, _, host = cause.partition(" on ")
                        # For dropping edges, packets dropped by a killed incarnation cannot be told from crashed ones.
                        if cause == "crashed" and stream not in lossy and lost > HELD * (self.starts[host] - 1):
                            lives = self.starts[host] - 1
                            self.problems.append(f"{stream}: {lost} packets died with {lives} lives of {host}, which held {HELD} each at most")
                        counts[cause] = counts.get(cause, 0) + lost
        return counts

    def close(self):
        for name, process in self.processes.items():
            self.signal(name, signal.SIGCONT)
            self.signal(name, signal.SIGKILL)
            process.wait()
        for relay in self.relays.values():
            relay.close()
        self.network.close()


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next ones follow")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--every", type=float, nargs=2, default=[1.0, 6.0], help="seconds from one harm to the next, least and most")
    parser.add_argument("--patience", type=float, default=120, help="seconds for everything to go on, and to end")
    parser.add_argument("--local", action="store_true", help="relays in the place of network namespaces")
    parser.add_argument("--delays", action="store_true", help="a relay on each machine, which delays what goes to and from the server at times")
    parser.add_argument("--keep", help="a folder for what runs leave; else only that of a run that fails stays")
    parser.add_argument("--fermata", default=f"{here}/target/debug/fermata")
    parser.add_argument("--nats-server", default=f"{here}/.native/nats-server/nats-server")
    arguments = parser.parse_args()
    if not os.path.exists(arguments.nats_server):
        arguments.nats_server = "nats-server"
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        folder = tempfile.mkdtemp(prefix=f"trial-{seed}-", dir=arguments.keep)
        try:
            trial = Trial(arguments, seed, folder)
        except Unavailable as error:
            print(f"skipped (1): no network namespaces: {error}", file=sys.stderr)
            return SKIPPED
        counts = {}
        try:
            trial.run()
            counts = trial.check()
        finally:
            trial.close()
        harmed = sum(trial.harmed.values())
        lives = {host: trial.starts[host] for host in HOSTS}
        print(f"seed {seed}: {harmed} harms {trial.harmed}, starts {lives}, {counts}")
        for problem in trial.problems:
            print(f"  FAILED: {problem}")
        if trial.problems:
            failed += 1
            for at, what in trial.events:
                print(f"    {at:7.1f} {what}")
            print(f"  what it left: {folder}")
        elif not arguments.keep:
            shutil.rmtree(folder)
        sys.stdout.flush()
    print(f"{arguments.runs - failed} of {arguments.runs} runs held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
