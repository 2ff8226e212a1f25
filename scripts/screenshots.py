#!/usr/bin/env python3
"""Takes the screenshots of the live page for the guide: scripts/screenshots.py [DIR]

With DIR it also takes those to be reviewed before a change of the pages is committed: dark and light, narrow and wide, many streams,
long names, nothing to show, faults, a lost server, and the pages of `fermata kpi` and `fermata sweep`. Needs Debian's chromium, and the
program: target/release/fermata, or what FERMATA names. The browser is driven through its DevTools protocol over a pipe.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from base64 import b64decode

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("FERMATA", str(ROOT / "target/release/fermata"))
PATIENCE_S = 120
WIDE, TELEPHONE = (1280, 1230), (390, 844)

CAMERAS = """\
fermata: 1
name: cameras
streams: {STREAMS}
nodes:
  capture: {use: synthetic_faces, each: stream, seed: "${stream.uri}", width: 480, height: 300, faces: 2, fps: FPS}
  detect:  {use: detect_faces, in: capture, model: haar, min_size: 50, every: 3}
  track:   {use: track_faces, each: stream, in: detect}
  crop:    {use: crop_faces, each: stream, in: track, model: models/expression}
  emotion: {use: classify_expression, in: crop, model: models/expression, batch: {max: 8, wait: 20ms}}
  smooth:  {use: smooth_labels, each: stream, in: emotion, ema: 150ms, vote: 3, hysteresis: {margin: 0.1, hold: 2}}
  log:     {use: write_csv, in: smooth, path: "${run.dir}/faces.csv"}
  draw:    {use: draw_overlay, each: stream, in: smooth, queue: {capacity: 1, full: drop_oldest}}
"""

# A missing camera, a node that panics, and a node that is too slow for its input.
TROUBLED = """\
fermata: 1
name: troubled
streams: {yard: "rtsp://me:secret@127.0.0.1:9/a-path-of-some-length/of-a-camera", cellar: "rtsp://127.0.0.1:9/x"}
nodes:
  capture: {use: video_source, each: stream, uri: "${stream.uri}", timeout: 1s, reconnect: {first: 1s, most: 2s}}
  drawn:   {use: synthetic_faces, width: 1280, height: 720, fps: 30}
  detect:  {use: detect_faces, in: [capture, drawn], model: haar, queue: {capacity: 4, full: drop_oldest}}
  breaks:  {use: inject_faults, in: detect, panic_every: 10, fail_every: 7}
  draw:    {use: draw_overlay, in: breaks}
run: {restart: {most: 8, within: 60s}}
"""


class Browser:
    """Chromium with one tab."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory()
        to_it, our_end = os.pipe()
        our_start, from_it = os.pipe()

        def number_pipes():
            os.dup2(to_it, 3)
            os.dup2(from_it, 4)
            # A pipe that already had its number would be closed.
            os.set_inheritable(3, True)

        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}", "about:blank"],
            close_fds=False, preexec_fn=number_pipes, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        self.ask, self.answers = os.fdopen(our_end, "wb", 0), os.fdopen(our_start, "rb")
        self.calls, self.session, self.rest = 0, None, b""
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]

    def call(self, method, **parameters):
        self.calls += 1
        call = {"id": self.calls, "method": method, "params": parameters}
        if self.session:
            call["sessionId"] = self.session
        self.ask.write(json.dumps(call).encode() + b"\0")
        while True:
            message, end, rest = self.rest.partition(b"\0")
            if not end:
                self.rest += self.answers.read1(1 << 20) or sys.exit("chromium has ended")
                continue
            self.rest = rest
            answer = json.loads(message)
            if answer.get("id") == self.calls:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]

    def show(self, size, scheme="light"):
        width, height = size
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def go(self, url):
        self.call("Page.navigate", url=str(url))

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def wait_for(self, expression):
        until = time.monotonic() + PATIENCE_S
        while not self.value(f"(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"):
            if time.monotonic() > until:
                sys.exit(f"waited in vain for {expression}")
            time.sleep(0.1)

    def shoot(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        print(path)

    def close(self):
        self.process.kill()
        self.process.wait()


class Run:
    """A served run of a graph, in the folder of the project."""

    def __init__(self, graph, *more):
        self.folder = tempfile.TemporaryDirectory()
        file = pathlib.Path(self.folder.name) / "graph.yaml"
        file.write_text(graph)
        command = [PROGRAM, "run", file, "--out", self.folder.name + "/out", "--quiet", "--serve", "127.0.0.1:0", *more]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = []
        for line in self.process.stderr:
            said.append(line)
            if found := re.match("live page: (.*)", line):
                self.url = found[1]
                return
        sys.exit("no page: " + "".join(said))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def cameras(names, fps=8):
    streams = ", ".join(f"{name}: {number}" for number, name in enumerate(names, 20))
    return CAMERAS.replace("{STREAMS}", "{" + streams + "}").replace("FPS", str(fps))


def shown(name, least):
    return f"Number(document.querySelector('[aria-label=\"stream {name}\"] canvas').dataset.sequence) > {least}"


def for_the_guide(browser, docs):
    """Takes the pictures in docs/: three cameras, with a tapped edge; the same on a telephone."""
    with Run(cameras(["lobby", "door", "garage"])) as run:
        browser.show(WIDE)
        browser.go(run.url)
        browser.wait_for(shown("garage", 100))
        browser.value("document.querySelectorAll('#graph .edge')[2].dispatchEvent(new MouseEvent('click'));")
        browser.wait_for("document.querySelectorAll('#tapped tr').length > 12")
        browser.wait_for("document.getElementById('bottleneck').textContent !== ''")
        browser.shoot(docs / "live-page.png")
        browser.show(TELEPHONE)
        browser.wait_for(shown("lobby", 150))
        browser.shoot(docs / "live-page-telephone.png")


def to_look_at(browser, folder):
    """Takes pictures of whatever a change of the page can break."""
    names = [f"camera-{number:02}" for number in range(1, 17)]
    with Run(cameras(names, 2)) as run:
        for size, scheme in [((1440, 1000), "light"), ((1440, 1000), "dark"), (TELEPHONE, "dark")]:
            browser.show(size, scheme)
            browser.go(run.url)
            browser.wait_for(shown("camera-01", 8))
            browser.shoot(folder / f"sixteen-{size[0]}-{scheme}.png")
        for part in ["graph", "tables", "log"]:
            browser.value("document.querySelectorAll('details').forEach((part) => { part.open = true; });")
            browser.value(f"document.getElementById('{part}').scrollIntoView();")
            browser.shoot(folder / f"telephone-{part}.png")
    long = ["building-a_second-floor_corridor-between-the-stairs_camera-17", "x", "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"]
    graph = cameras(long).replace("emotion", "expressions_of_everybody_that_was_found").replace("name: cameras", "name: " + "long-" * 12 + "name")
    with Run(graph) as run:
        for size in [(1280, 1000), TELEPHONE]:
            browser.show(size)
            browser.go(run.url)
            browser.wait_for(shown("x", 5))
            browser.shoot(folder / f"long-names-{size[0]}.png")
        browser.value("document.getElementById('graph').scrollIntoView();")
        browser.shoot(folder / "long-names-graph-telephone.png")
    with Run(TROUBLED) as run:
        for size in [(1280, 1400), TELEPHONE]:
            browser.show(size)
            browser.go(run.url)
            browser.wait_for("document.querySelector('[aria-label=\"stream yard\"] .badge').textContent === 'offline'")
            browser.wait_for("document.getElementById('log').textContent.includes('restarted')")
            browser.shoot(folder / f"troubled-{size[0]}.png")
        browser.value("document.getElementById('log').scrollIntoView();")
        browser.shoot(folder / "troubled-log-telephone.png")
    with Run(cameras(["lobby"]).replace("  draw:", "  #draw:")) as run:
        browser.show((1280, 700))
        browser.go(run.url)
        browser.wait_for("document.getElementById('summary').textContent !== ''")
        browser.shoot(folder / "no-video.png")
        browser.value("document.querySelector('[aria-label=\"Remove lobby\"]').click();")
        browser.wait_for("document.getElementById('summary').textContent.startsWith('over')")
        browser.shoot(folder / "over.png")
    with Run(cameras(["lobby", "door"])) as run:
        browser.show((1280, 700))
        browser.go(run.url)
        browser.wait_for(shown("door", 5))
        run.process.kill()
        browser.wait_for("document.getElementById('connection').dataset.state === 'lost'")
        browser.shoot(folder / "lost.png")
    with tempfile.NamedTemporaryFile("w") as token:
        token.write("correct-horse-battery\n")
        token.flush()
        with Run(cameras(["lobby"]), "--serve-token-file", token.name) as run:
            for size, scheme in [((1280, 500), "dark"), (TELEPHONE, "light")]:
                browser.show(size, scheme)
                browser.go(run.url)
                browser.wait_for("!document.getElementById('sign-in').hidden")
                browser.shoot(folder / f"sign-in-{size[0]}.png")


def of_files(browser, folder):
    """Takes pictures of the pages that `fermata kpi` and `fermata sweep` write."""
    work = pathlib.Path(tempfile.mkdtemp(dir=folder))
    short = ["graphs/kpi_demo.yaml", "--set", "run.clock=asap", "--set", "nodes.capture.count=300"]
    fermata = lambda *arguments: subprocess.run([PROGRAM, *map(str, arguments)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    fermata("run", *short, "--quiet", "--out", work / "a")
    fermata("run", *short, "--set", "nodes.smooth.vote=1", "--quiet", "--out", work / "b")
    fermata("kpi", work / "a")
    fermata("kpi", work / "a", work / "b", "--out", work / "both")
    fermata("sweep", *short[:3], "--set", "nodes.capture.count=120", "--vary", "nodes.smooth.ema=100ms,250ms,500ms",
            "--vary", "nodes.smooth.vote=1,5", "--out", work / "grid")
    for name, page in [("kpi", work / "a/kpi.html"), ("kpi-two", work / "both/kpi.html"), ("sweep", work / "grid/sweep.html")]:
        for width, scheme in [(1280, "light"), (1280, "dark"), (390, "light")]:
            browser.show((width, 1000), scheme)
            browser.go(page.as_uri())
            browser.wait_for("document.readyState === 'complete' && document.querySelector('table')")
            height = browser.value("document.documentElement.scrollHeight")
            browser.show((width, min(height, 4000)), scheme)
            browser.shoot(folder / f"{name}-{width}-{scheme}.png")


def main():
    browser = Browser()
    try:
        for_the_guide(browser, ROOT / "docs")
        if len(sys.argv) > 1:
            folder = pathlib.Path(sys.argv[1]).resolve()
            to_look_at(browser, folder)
            of_files(browser, folder)
    finally:
        browser.close()


main()
