"""TCP relays between machines and a server, for trials: their traffic can be held back, delayed or cut off."""

import queue
import random
import socket
import threading
import time

# The most pieces in flight in one direction of a connection; reading stops at this number.
MOST_PIECES = 256
PIECE = 65536
# Seconds within which the server must be reached.
CONNECT_WITHIN = 5


class Relay:
    """Listens on loopback and passes each connection on to the target. `enter` is called first in each thread that opens sockets; it may move
    the thread to another network namespace."""

    def __init__(self, target, seed=0, enter=lambda: None):
        self.target, self.enter = target, enter
        self.passes = threading.Event()
        self.passes.set()
        # Delay of each piece in seconds; up to half of it is added at random.
        self.delay = 0.0
        self.dice = random.Random(seed)
        self.pairs = set()
        self.door, self.problem = None, None
        ready = threading.Event()
        threading.Thread(target=self.listen, args=[ready], daemon=True).start()
        ready.wait()
        if self.problem:
            raise self.problem

    def listen(self, ready):
        try:
            self.enter()
            self.door = socket.create_server(("127.0.0.1", 0))
        except OSError as error:
            self.problem = error
        ready.set()
        while self.door:
            try:
                inner, _ = self.door.accept()
            except OSError:
                return
            threading.Thread(target=self.connect, args=[inner], daemon=True).start()

    def address(self):
        return self.door.getsockname()

    def connect(self, inner):
        try:
            self.enter()
            outer = socket.create_connection(self.target, CONNECT_WITHIN)
        except OSError:
            inner.close()
            return
        outer.settimeout(None)
        pair = (inner, outer)
        self.pairs.add(pair)
        for end in pair:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for one, other in [(inner, outer), (outer, inner)]:
            pieces = queue.Queue(MOST_PIECES)
            threading.Thread(target=self.take, args=[one, pieces], daemon=True).start()
            threading.Thread(target=self.give, args=[other, pieces, pair], daemon=True).start()

    def take(self, one, pieces):
        try:
            while data := one.recv(PIECE):
                pieces.put((time.monotonic() + self.delay * self.dice.uniform(1, 1.5), data))
        except OSError:
            pass
        pieces.put(None)

    def give(self, other, pieces, pair):
        is_open = True
        # Drains the queue to its end, so that `take` is not blocked. Pieces in flight when their sender closed still arrive, as in a network.
        while piece := pieces.get():
            due, data = piece
            while is_open and (waits := due - time.monotonic()) > 0:
                time.sleep(waits)
            self.passes.wait()
            try:
                if is_open:
                    other.sendall(data)
            except OSError:
                is_open = False
                self.shut(pair)
        self.shut(pair)

    def shut(self, pair):
        self.pairs.discard(pair)
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def disconnect(self):
        """Closes all connections; data in flight is lost."""
        for pair in list(self.pairs):
            self.shut(pair)

    def close(self):
        # Wakes the thread that accepts.
        self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()


class Relays:
    """All hosts on one machine, with a relay for each in place of its link."""

    def __init__(self, hosts, seed=0):
        free = socket.create_server(("127.0.0.1", 0))
        self.server = free.getsockname()
        free.close()
        self.of = {host: Relay(self.server, seed + number) for number, host in enumerate(hosts)}

    def command(self, _, command):
        return command

    def listens(self):
        return self.server

    def url(self, host):
        return "nats://127.0.0.1:%d" % self.of[host].address()[1]

    def cut(self, host):
        self.of[host].passes.clear()

    def mend(self, host):
        self.of[host].delay = 0.0
        self.of[host].passes.set()

    def slow(self, host, _):
        self.of[host].disconnect()

    lose = slow

    def delay(self, host, ms):
        self.of[host].delay = ms / 1000

    def close(self):
        for relay in self.of.values():
            relay.close()
