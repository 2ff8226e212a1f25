"""Network namespaces of this machine that act as machines, for trials of a site and of a job. Needs root, iproute2 and nftables."""

import ctypes
import os
import shutil
import subprocess

# From <linux/sched.h>.
CLONE_NEWNET = 0x40000000
# Exit code of a trial that could not be run.
SKIPPED = 77


class Unavailable(Exception):
    """Network namespaces are not available here."""


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


class Namespaces:
    """Hosts with addresses and links of their own, on a bridge in another namespace. The server is on the last one. The clocks since
    boot of the host `elsewhen` differ from the others', as if it had been started at another time."""

    def __init__(self, hosts, elsewhen=None):
        missing = [tool for tool in ["ip", "tc", "nft"] if shutil.which(tool) is None]
        if missing:
            raise Unavailable(f"no {', '.join(missing)} here: apt-get install iproute2 nftables")
        self.hosts, self.elsewhen = hosts, elsewhen
        self.prefix = f"fm{os.getpid() % 100000}"
        self.names = [f"{self.prefix}-{name}" for name in ["switch", *hosts]]
        try:
            for name in self.names:
                ip("netns", "add", name)
            switch = self.names[0]
            ip("-n", switch, "link", "add", "br0", "type", "bridge")
            ip("-n", switch, "link", "set", "br0", "up")
            for number, host in enumerate(hosts, 1):
                name = f"{self.prefix}-{host}"
                port = self.port(host)
                ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
                ip("-n", switch, "link", "set", port, "master", "br0", "up")
                ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise Unavailable(getattr(error, "stderr", error)) from error

    @staticmethod
    def port(host):
        return f"to-{host}"

    def command(self, host, command):
        clock = ["unshare", "-T", "--monotonic", "90000", "--boottime", "90000", "--fork", "--kill-child"]
        return ["ip", "netns", "exec", f"{self.prefix}-{host}", *(clock if host == self.elsewhen else []), *command]

    def entering(self, host):
        """Returns a function that moves the calling thread to the network of a host."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter():
            with open(f"/run/netns/{self.prefix}-{host}") as network:
                if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")

        return enter

    def listens(self):
        return f"10.77.0.{len(self.hosts)}", 4222

    def url(self, _):
        return "nats://%s:%d" % self.listens()

    def cut(self, host):
        ip("-n", self.names[0], "link", "set", self.port(host), "down")

    def mend(self, host):
        ip("-n", self.names[0], "link", "set", self.port(host), "up")
        self.nft(host, "add table inet loss\ndelete table inet loss\n")
        subprocess.run(
            ["ip", "netns", "exec", self.names[0], "tc", "qdisc", "del", "dev", self.port(host), "root"],
            capture_output=True,
        )
        subprocess.run(
            ["ip", "netns", "exec", f"{self.prefix}-{host}", "tc", "qdisc", "del", "dev", "eth0", "root"],
            capture_output=True,
        )

    def slow(self, host, kbit):
        shape = ["root", "tbf", "rate", f"{kbit}kbit", "burst", "8kb", "latency", "200ms"]
        for name, device in [(self.names[0], self.port(host)), (f"{self.prefix}-{host}", "eth0")]:
            command = ["ip", "netns", "exec", name, "tc", "qdisc", "replace", "dev", device, *shape]
            subprocess.run(command, check=True, capture_output=True)

    def lose(self, host, percent):
        """Makes both directions lose packets at random."""
        rule = f"numgen random mod 100 < {percent} drop"
        chains = [f"chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}\n" for hook in ["input", "output"]]
        self.nft(host, "add table inet loss\ndelete table inet loss\ntable inet loss { %s }" % " ".join(chains))

    def nft(self, host, rules):
        command = ["ip", "netns", "exec", f"{self.prefix}-{host}", "nft", "-f", "-"]
        subprocess.run(command, check=True, capture_output=True, text=True, input=rules)

    def close(self):
        for name in self.names:
            ip("netns", "del", name, check=False)
