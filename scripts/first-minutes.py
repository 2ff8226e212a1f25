#!/usr/bin/env python3
"""Writes docs/results/first-minutes.md: what a new user types, and every line of output.

    FERMATA_DATA=… scripts/first-minutes.py [--without-cameras]

Needs the program (target/release/fermata, or what FERMATA names), ffmpeg, and for the RTSP camera the packages of actors/tests/video/rtsp_server.py.
Nothing outside this machine is contacted. Times and rates differ from run to run; review the difference before committing it.
"""

import os
import pathlib
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("FERMATA", str(ROOT / "target/release/fermata"))
DATA = pathlib.Path(os.environ.get("FERMATA_DATA", ROOT / "shared/data"))
CASES = ROOT / "actors/tests/cases"
PAGE = ROOT / "docs/results/first-minutes.md"
PATIENCE_S = 120
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z\s+")
HTTP_PORT = 18085

# The commands in `play` fences are run; `&N` after one means Ctrl-C after N seconds.
TEXT = """\
# The first minutes

What a new user types and sees, with right and wrong input; `scripts/first-minutes.py` writes this page. `phone/` holds what telephones leave: a photo, one that was taken
upright, a motion photo, a damaged one, an HDR video, one that was turned, one of three people, a text and a sound file with a cover. Log lines have their time in front,
which is left out here.

## A detector

Without one there is the Haar cascade, which finds fewer faces and hides fewer.

```play
fermata analyse -q "phone/IMG 2.jpg" --out first
fermata analyse -q "phone/IMG 2.jpg" --blur pixelate --out first
fermata analyse -q "phone/IMG 2.jpg" --blur pixelate --detector haar --out first
fermata models pull yunet --from detect
```

## Photos and videos

```play
fermata analyse -q phone --out seen
```

`seen` (without `--out`, `runs/analyse-TIME`) then holds `IMG 2.jpg`, `IMG_10.jpg`, `PXL_motion.MP.jpg`, `IMG_0042.mp4`, `portrait.mp4` and `visit.mp4` with what was found drawn
on them, upright, `faces.csv`, `summary.json`, and the run's own `graph.yaml`, `report.json` and `run.log`. With `--json` the summary is all that is printed.

## Something that is not there, or is no video

```play
fermata analyse nowhere.mp4 empty
fermata analyse -q phone/notes.txt
fermata analyse -q phone/song.mp3
fermata analyse 7
fermata analyse rtsp:// foo://door/1
fermata analyse phone/visit.mp4 --model none
fermata analyse phone/visit.mp4 --model empty
fermata analyse phone/visit.mp4 --detector yunet
fermata analyse phone/visit.mp4 --detector phone/notes.txt
fermata analyse phone/visit.mp4 --out phone
```

## A photo, a video or a folder in the place of a command or a graph

```play
fermata phone
fermata run phone/visit.mp4
```

## Streams, settings, devices, detectors

```play
fermata run graphs/live.yaml --stream cam=0
fermata run graphs/live.yaml --stream door.mp4
fermata run graphs/live.yaml --stream door=door.mp4 --set emotion.batch.max=2
fermata run graphs/live.yaml --stream door=door.mp4 --set nodes.emotion.precision=bf16
fermata run -q graphs/live.yaml --stream door=door.mp4 --set nodes.emotion.device=openvino
fermata check graphs/live.yaml --stream door=door.mp4 --param detector=models/yunet/model.onnx
fermata check graphs/live.yaml --stream door=door.mp4 --set nodes.draw.blur=solid
fermata check graphs/live.yaml --stream door=nowhere.mp4 --param model=none --param detector=yunet
```

What `fermata check` says of a stream that was typed points at what was typed; the model that two nodes lack is told once.
"""

CAMERAS = """
## Cameras

An RTSP server and one of MJPEG over HTTP stand in for cameras; Ctrl-C after some seconds.

```play
fermata analyse rtsp://127.0.0.1:RTSP/live http://127.0.0.1:HTTP/hall --out cams &12
```

On a terminal there is a table instead, here 60 columns wide, with a recording, a camera that is not there, a recording that has ended, and a camera:

```
⠲ 0:04  54.9 frames/s  3 streams, 1 reconnecting, 1 ended
  stream                     frames   /s lost missed latency
  door                          108 24.0    0      0   29 ms
  buildi…era-17 reconnecting      0  0.0    0      0
  yard                          100 24.7    6      0  7.7 ms
  clip          ended
```

Where there is room, the name is whole and the line of the second one goes on: `for 6 s: libav: Connection refused`.

## Cameras that are not there, say nothing, or are something else

Nobody listens; a name that nobody has; a server that takes the connection and says nothing; a password that is asked for; an address that is gone; a web page.

```play
fermata analyse -q rtsp://127.0.0.1:9/x --out c1 &4
fermata analyse -q rtsp://camera.invalid/live --out c2 &4
fermata analyse -q http://127.0.0.1:HTTP/mute --out c3 &9
fermata analyse -q http://127.0.0.1:HTTP/locked --out c4 &4
fermata analyse -q http://127.0.0.1:HTTP/gone --out c5 &4
fermata analyse -q http://127.0.0.1:HTTP/page --out c6
```
"""

END = """
## Not tried

A webcam of V4L2: there is none on the machine.
"""


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)], check=True)


def still(clip, path, *filters):
    ffmpeg("-i", clip, *filters, "-frames:v", 1, "-q:v", 3, "-update", 1, path)


def upright(path):
    """Sets a JPEG's EXIF orientation to a rotation of 90 degrees to the right."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\0\0" + tiff
    jpeg = path.read_bytes()
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:])


def folder_of_a_phone(phone):
    videos = DATA / "videos"
    (phone / "../empty").resolve().mkdir()
    phone.mkdir()
    still(videos / "pyfeat_single_face.mp4", phone / "IMG 2.jpg")
    still(videos / "intel_asl_again.mkv", phone / "IMG_10.JPG", "-vf", "transpose=2")
    upright(phone / "IMG_10.JPG")
    shutil.copy(CASES / "a_motion.jpg", phone / "PXL_motion.MP.jpg")
    (phone / "broken.jpg").write_bytes((phone / "IMG 2.jpg").read_bytes()[:9000])
    shutil.copy(CASES / "drawn_hlg.mov", phone / "IMG_0042.MOV")
    turned = phone / "turned.mp4"
    ffmpeg("-i", videos / "pyfeat_single_face.mp4", "-vf", "transpose=1", "-an", turned)
    ffmpeg("-i", turned, "-c", "copy", "-metadata:s:v", "rotate=270", phone / "portrait.mp4")
    turned.unlink()
    shutil.copy(videos / "intel_face-demographics-walking-and-pause.mp4", phone / "visit.mp4")
    (phone / "notes.txt").write_text("buy milk\n")
    shutil.copy(CASES / "song.mp3", phone / "song.mp3")


def answering(pictures):
    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            try:
                self.answer(self.path.strip("/"))
            except OSError:
                pass

        def answer(self, path):
            if path == "mute":
                time.sleep(PATIENCE_S)
            elif path == "hall":
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
                self.end_headers()
                for number in range(10 * PATIENCE_S):
                    picture = pictures[number % len(pictures)]
                    head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    time.sleep(0.1)
            else:
                code = {"locked": 401, "gone": 404}.get(path, 200)
                page = b"<!doctype html><title>Camera</title><p>Sign in</p>"
                self.send_response(code)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

    return Answer


def pictures_of(clip, folder):
    folder.mkdir()
    ffmpeg("-i", clip, "-vf", "fps=10", "-q:v", 4, folder / "%03d.jpg")
    pictures = [path.read_bytes() for path in sorted(folder.iterdir())]
    # Forwards and backwards, so that there is no cut between scenes.
    return pictures + pictures[::-1]


def said(command, seconds, at):
    """Runs a command, with Ctrl-C after `seconds` if given; returns its output and how it ended."""
    process = subprocess.Popen(shlex.split(command), executable=PROGRAM, cwd=at, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    reading = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    reading.start()
    if seconds:
        time.sleep(seconds)
        lines.append("^C\n")
        process.send_signal(signal.SIGINT)
    try:
        code = process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        sys.exit(f"{command}: it has not ended")
    reading.join()
    shown = [STAMP.sub("", line.rstrip("\n")).replace(str(at) + "/", "") for line in lines]
    return "\n".join([f"$ {command}", *shown, f"[exit {code}]"])


def played(text, at):
    def fence(match):
        shown = []
        for line in match[1].strip().splitlines():
            command, _, seconds = line.partition(" &")
            print(command, flush=True)
            shown.append(said(command, int(seconds or 0), at))
        return "```\n" + "\n\n".join(shown) + "\n```"

    return re.sub(r"```play\n(.*?)```", fence, text, flags=re.DOTALL)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        at = pathlib.Path(temporary)
        folder_of_a_phone(at / "phone")
        (at / "models").mkdir()
        for source, name in [(ROOT / "graphs", "graphs"), (ROOT / "models/expression", "models/expression"), (DATA / "detect", "detect")]:
            (at / name).symlink_to(source)
        shutil.copy(at / "phone/visit.mp4", at / "door.mp4")
        page = played(TEXT, at)
        if "--without-cameras" not in sys.argv:
            pictures = pictures_of(at / "door.mp4", at / "pictures")
            server = ThreadingHTTPServer(("127.0.0.1", HTTP_PORT), answering(pictures))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            camera = subprocess.Popen(
                ["/usr/bin/python3", ROOT / "actors/tests/video/rtsp_server.py", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            port = camera.stdout.readline().strip() or sys.exit("there is no RTSP server")
            page += played(CAMERAS.replace("RTSP/", port + "/").replace("HTTP/", f"{HTTP_PORT}/"), at).replace(f":{port}/", ":18556/")
            camera.stdin.close()
            camera.wait()
        PAGE.write_text(page + END)


if __name__ == "__main__":
    main()
