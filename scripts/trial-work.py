#!/usr/bin/env python3
"""Runs an export of softlabels by four workers in network namespaces of their own while workers and the NATS server are killed at random.

    make setup-learn setup-remote && cargo build --features remote && apt-get install iproute2 nftables
    sudo scripts/trial-work.py --seed 1

Twenty workers are killed (SIGKILL), one is paused for longer than its lease and continues, the server is killed and restarted twice, and links are cut
briefly. An export may be over before all of that has happened: then the next one continues with the rest. A worker that ended is restarted.

Checks that the files are those of one machine to the last byte, and that the late result of the paused worker was discarded and counted. Exits with 1
if a check fails, and with 77 where network namespaces are not permitted.
"""

import argparse
import filecmp
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from namespaces import SKIPPED, Namespaces, Unavailable

WORKERS = ["one", "two", "three", "four"]
HOSTS = [*WORKERS, "desk"]
FILES = [
    "softlabels.npz",
    "softlabels_index.jsonl",
    "failed.jsonl",
    "classorder.json",
    "alignmentreport.json",
    "ensemble_metrics.json",
    "hash_manifest.json",
]
TRAINING = "{architecture: small_resnet18_w8_s2_c1, epochs: 1, batch: 32, seed: %d, learning_rate: {base: 0.01}, threads: 1}\n"
LEASE_S = 1.0
MOST_EXPORTS = 10
# Rows per unit, and views per picture.
UNIT, VIEWS = 8, 4


class Trial:
    def __init__(self, arguments, folder, network):
        self.arguments, self.folder, self.network = arguments, folder, network
        self.dice = random.Random(arguments.seed)
        self.kills, self.pauses, self.restarts, self.cuts = 20, 1, 2, 4
        self.born, self.workers, self.paused, self.cut = 0, {}, None, {}
        address, port = network.listens()
        with open(f"{folder}/nats.conf", "w") as file:
            file.write(
                f'listen: "{address}:{port}"\nping_interval: "3s"\nping_max: 2\n'
                f'jetstream {{store_dir: "{folder}/store", sync_interval: always}}\n'
            )
        self.nats = self.serve()

    def start(self, host, name, command):
        with open(f"{self.folder}/{name}.out", "a") as output:
            return subprocess.Popen(
                self.network.command(host, command), cwd=self.folder, stdout=output, stderr=output, start_new_session=True
            )

    def serve(self):
        return self.start("desk", "nats", [self.arguments.nats_server, "--config", f"{self.folder}/nats.conf"])

    def says(self, *arguments):
        subprocess.run([self.arguments.fermata, *arguments], cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def prepare(self):
        """Draws faces, trains two teachers briefly, and makes the export of one machine."""
        self.says("manifest", "synth", "--seeds", f"0..{self.arguments.scenes}", "--size", "32", "--out", "data")
        for seed in [1, 2]:
            with open(f"{self.folder}/{seed}.yaml", "w") as file:
                file.write(TRAINING % seed)
            self.says("train", "--config", f"{seed}.yaml", "--manifest", "data/manifest.csv", "--card", self.arguments.card, "--out", f"t{seed}")
        self.says(*self.export("alone"))

    def export(self, out, *more):
        teachers = ["--teacher", "a=t1/model", "--teacher", "b=t2/model"]
        views = ["--views", str(VIEWS), "--unit", str(UNIT), "--readers", "1", "--quiet"]
        return ["softlabels", "--manifest", "data/manifest.csv", *teachers, *views, "--allow-seen", "--out", out, *more]

    def server_of(self, host):
        return ["--nats", self.network.url(host), "--job", "trial"]

    def work(self, host):
        self.born += 1
        name = f"worker-{self.born}"
        command = [self.arguments.fermata, "work", *self.server_of(host), "--readers", "1", "--quiet", "--out", name]
        self.workers[host] = self.start(host, name, command)

    def commits(self, out):
        try:
            with open(f"{self.folder}/{out}/ledger.jsonl") as file:
                return sum('"commit"' in line for line in file)
        except OSError:
            return 0

    def is_done(self):
        return self.kills + self.pauses + self.restarts == 0

    def harm(self):
        host = self.dice.choice(WORKERS)
        process = self.workers.get(host)
        if not process or process.poll() is not None or self.paused and self.paused[0] == host:
            return
        if self.pauses and self.paused is None:
            os.killpg(process.pid, signal.SIGSTOP)
            self.paused = (host, time.monotonic() + 1.6 * LEASE_S)
            self.pauses -= 1
        elif self.kills:
            os.killpg(process.pid, signal.SIGKILL)
            self.kills -= 1
        if self.restarts and self.dice.random() < 0.3:
            os.killpg(self.nats.pid, signal.SIGKILL)
            self.nats.wait()
            self.nats = self.serve()
            self.restarts -= 1
        if self.cuts and self.dice.random() < 0.3:
            other = self.dice.choice(WORKERS)
            self.network.cut(other)
            self.cut[other] = time.monotonic() + self.dice.uniform(0.1, 2 * LEASE_S)
            self.cuts -= 1

    def once(self, out):
        """Runs one export with harms, and resumes it if a unit was given up."""
        command = [self.arguments.fermata, *self.export(out, "--lease", f"{LEASE_S:.0f}s", *self.server_of("desk"))]
        desk = self.start("desk", out, command)
        units = -(-self.rows() // UNIT)
        every = max(1, units // (self.kills + self.pauses + 1))
        due = self.dice.randrange(4)
        while desk.poll() is None:
            for host in WORKERS:
                process = self.workers.get(host)
                if process is None or process.poll() is not None:
                    self.work(host)
            if self.paused and time.monotonic() > self.paused[1]:
                os.killpg(self.workers[self.paused[0]].pid, signal.SIGCONT)
                self.paused = None
            for host in [host for host, until in self.cut.items() if time.monotonic() > until]:
                self.network.mend(host)
                del self.cut[host]
            if self.commits(out) >= due and not self.is_done():
                time.sleep(self.dice.uniform(0, 0.1))
                self.harm()
                due += 1 + self.dice.randrange(2 * every)
            time.sleep(0.002)
        if desk.returncode == 0:
            return
        with open(f"{self.folder}/{out}.out") as file:
            words = file.read()
        # Three workers died over one unit: that is reported, and another worker may try it.
        if "was given up" not in words:
            raise SystemExit(f"FAILED: {out} ended with {desk.returncode}: {words[-2000:]}")
        resume = [self.arguments.fermata, "resume", out, "--nats", self.network.url("desk"), "--quiet"]
        again = self.start("desk", out, resume)
        while again.poll() is None:
            for host in WORKERS:
                if self.workers[host].poll() is not None:
                    self.work(host)
            time.sleep(0.05)
        if again.returncode:
            raise SystemExit(f"FAILED: {out} was not resumed: {again.returncode}")

    def rows(self):
        with open(f"{self.folder}/data/manifest.csv") as file:
            return sum(1 for _ in file) - 1

    def told(self, out):
        with open(f"{self.folder}/{out}/job.json") as file:
            workers = json.load(file)["workers"].values()
        return {what: sum(worker.get(what, 0) for worker in workers) for what in ["units", "rows", "late"]}

    def run(self):
        self.prepare()
        number, late = 0, 0
        while not self.is_done() and number < MOST_EXPORTS:
            out = f"shared-{number}"
            number += 1
            self.once(out)
            for file in FILES:
                ours, theirs = f"{self.folder}/{out}/{file}", f"{self.folder}/alone/{file}"
                if not filecmp.cmp(ours, theirs, shallow=False):
                    raise SystemExit(f"FAILED: {ours} is not {theirs}")
            told = self.told(out)
            late += told["late"]
            # The worker may have been paused with nothing in hand.
            self.pauses += late == 0 and self.pauses == 0
            print(f"{out}: the bytes of one machine; {told}; left {self.kills} kills, {self.pauses} pauses, {self.restarts} restarts", flush=True)
        print(f"held: {self.rows()} rows, {number} exports, {self.born} workers in {len(WORKERS)} namespaces, {late} late results discarded")
        if late == 0 or not self.is_done():
            raise SystemExit("FAILED: nothing came too late, so nothing was shown of that")

    def close(self):
        for process in [*self.workers.values(), self.nats]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.network.close()


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=40, help="drawn scenes; each gives about 17 rows")
    parser.add_argument("--card", default=f"{here}/docs/results/pipeline/card_gray48.yaml")
    parser.add_argument("--fermata", default=f"{here}/target/debug/fermata")
    parser.add_argument("--nats-server", default=f"{here}/.native/nats-server/nats-server")
    arguments = parser.parse_args()
    try:
        network = Namespaces(HOSTS)
    except Unavailable as error:
        print(f"skipped (1): no network namespaces: {error}", file=sys.stderr)
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="trial-work-") as folder:
        trial = Trial(arguments, folder, network)
        try:
            trial.run()
        finally:
            trial.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
