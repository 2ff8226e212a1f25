//! Servers for tests: an RTSP camera that sends given pictures at given times, HTTP with and without ranges, MJPEG, and
//! a growing playlist. Each ends with the test's process; errors that clients cause are ignored.

use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A server on a port of its own.
pub(crate) struct Server {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
}

impl Server {
    /// Starts a server that answers each connection on a thread of its own.
    fn start(answer: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        Self::counting(Arc::default(), answer)
    }

    /// Starts a server that counts the pictures it has sent.
    fn counting(
        sent: Arc<AtomicUsize>,
        answer: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let connections = Arc::<AtomicUsize>::default();
        let (counted, answer) = (Arc::clone(&connections), Arc::new(answer));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = Arc::clone(&answer);
                thread::spawn(move || answer(connection));
            }
        });
        Self {
            port,
            connections,
            sent,
        }
    }

    /// Returns the number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns how many pictures it has sent, as a camera.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

/// When a camera sends its pictures, and their time stamps.
#[derive(Clone, Copy)]
pub(crate) struct Sending {
    /// Pictures per second.
    pub(crate) fps: f64,
    /// Pictures that were already waiting when the connection was made.
    pub(crate) waiting: usize,
    /// Number of pictures per connection.
    pub(crate) most: usize,
    /// Seconds that are added to a picture's time stamp.
    pub(crate) off_s: fn(usize) -> i64,
    /// Rate of the time stamps.
    pub(crate) stamped_fps: f64,
    /// Length that a recording states, in seconds; `None` for a camera.
    pub(crate) lasts_s: Option<f64>,
    /// What happens after the last picture.
    pub(crate) farewell: Farewell,
    /// Delay of an RTSP camera before each answer.
    pub(crate) thinks_for: Duration,
}

/// How a server ends after it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// It does nothing: the connection stays open.
    Silence,
    /// It closes the connection.
    Close,
    /// It sends an RTCP BYE (RFC 3550, 6.6).
    Bye,
}

impl Sending {
    pub(crate) fn at(fps: f64) -> Self {
        Self {
            fps,
            waiting: 0,
            most: 100_000,
            off_s: |_| 0,
            stamped_fps: fps,
            lasts_s: None,
            farewell: Farewell::Silence,
            thinks_for: Duration::ZERO,
        }
    }

    /// Waits until a picture is due.
    fn wait_for(&self, number: usize, started: Instant) {
        let since = number.saturating_sub(self.waiting) as f64 / self.fps;
        let due = started + Duration::from_secs_f64(since);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Starts an RTSP camera at `rtsp://127.0.0.1:PORT/` that repeats these H.264 pictures inside the connection.
pub(crate) fn rtsp(h264: &[u8], sending: Sending) -> Server {
    rtsp_of(access_units(h264), sending)
}

/// Like [`rtsp`], for pictures that are already split into units.
pub(crate) fn rtsp_of(pictures: Vec<Vec<Vec<u8>>>, sending: Sending) -> Server {
    let sent = Arc::<AtomicUsize>::default();
    Server::counting(Arc::clone(&sent), move |mut connection| {
        let mut requests = BufReader::new(connection.try_clone()?);
        while let Some((method, sequence)) = rtsp_request(&mut requests)? {
            thread::sleep(sending.thinks_for);
            let (headers, body) = match method.as_str() {
                "OPTIONS" => (
                    "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
                    String::new(),
                ),
                "DESCRIBE" => (
                    "Content-Type: application/sdp\r\n",
                    description(sending.lasts_s),
                ),
                "SETUP" => (
                    "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
                    String::new(),
                ),
                "PLAY" => ("Session: 1\r\nRange: npt=0-\r\n", String::new()),
                _ => ("", String::new()),
            };
            let length = body.len();
            write!(
                connection,
                "RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
            )?;
            if method == "PLAY" {
                return play(connection, &pictures, &sending, &sent);
            }
        }
        Ok(())
    })
}

fn description(lasts_s: Option<f64>) -> String {
    let range = lasts_s.map_or_else(String::new, |s| format!("a=range:npt=0-{s}\r\n"));
    format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n{range}m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
    )
}

fn rtsp_request(requests: &mut impl BufRead) -> std::io::Result<Option<(String, String)>> {
    let (mut method, mut sequence) = (None, String::from("0"));
    let mut line = String::new();
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match (line.trim_end(), &method) {
            ("", Some(method)) => return Ok(Some((String::clone(method), sequence))),
            ("", None) => {}
            (first, None) => method = first.split(' ').next().map(str::to_owned),
            (header, Some(_)) => {
                if let Some((name, value)) = header.split_once(':')
                    && name.eq_ignore_ascii_case("CSeq")
                {
                    sequence = value.trim().to_owned();
                }
            }
        }
    }
}

/// Sends pictures as RTP (RFC 6184) inside the RTSP connection (RFC 2326, 10.12).
fn play(
    mut connection: TcpStream,
    pictures: &[Vec<Vec<u8>>],
    sending: &Sending,
    sent: &AtomicUsize,
) -> std::io::Result<()> {
    const PAYLOAD: usize = 1200;
    let (started, mut sequence) = (Instant::now(), 0_u16);
    for number in 0..sending.most {
        sending.wait_for(number, started);
        let ticks = (number as f64 * 90_000.0 / sending.stamped_fps) as i64;
        let stamp = (1_000 + ticks + (sending.off_s)(number) * 90_000) as u32;
        let units = &pictures[number % pictures.len()];
        let mut send = |payload: &[u8], is_last: bool| {
            let mut packet = vec![b'$', 0];
            packet.extend(((12 + payload.len()) as u16).to_be_bytes());
            packet.extend([0x80, if is_last { 0x80 | 96 } else { 96 }]);
            packet.extend(sequence.to_be_bytes());
            packet.extend(stamp.to_be_bytes());
            packet.extend(7_u32.to_be_bytes());
            packet.extend(payload);
            sequence = sequence.wrapping_add(1);
            connection.write_all(&packet)
        };
        for (index, unit) in units.iter().enumerate() {
            let ends_picture = index + 1 == units.len();
            if unit.len() <= PAYLOAD {
                send(unit, ends_picture)?;
                continue;
            }
            let parts: Vec<&[u8]> = unit[1..].chunks(PAYLOAD).collect();
            for (part, bytes) in parts.iter().enumerate() {
                let (first, last) = (part == 0, part + 1 == parts.len());
                let mut payload = vec![unit[0] & 0xE0 | 28];
                let marks = u8::from(first) << 7 | u8::from(last) << 6;
                payload.push(marks | unit[0] & 0x1F);
                payload.extend(*bytes);
                send(&payload, ends_picture && last)?;
            }
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
    match sending.farewell {
        Farewell::Close => return Ok(()),
        Farewell::Bye => connection.write_all(&[b'$', 1, 0, 8, 0x81, 203, 0, 1, 0, 0, 0, 7])?,
        Farewell::Silence => {}
    }
    // Keep the connection until the client closes it.
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).map(drop)
}

/// Splits an H.264 byte stream into pictures, each as its units without start codes.
pub(crate) fn access_units(h264: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut starts = Vec::new();
    for at in 0..h264.len().saturating_sub(3) {
        if h264[at..].starts_with(&[0, 0, 1]) {
            starts.push(at);
        }
    }
    let (mut pictures, mut picture) = (Vec::new(), Vec::new());
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(h264.len());
        let unit = &h264[start + 3..end];
        let used = unit.iter().rposition(|&byte| byte != 0);
        let unit = unit[..used.map_or(0, |last| last + 1)].to_vec();
        let kind = unit.first().map_or(0, |first| first & 0x1F);
        if kind == 9 {
            continue;
        }
        picture.push(unit);
        if matches!(kind, 1 | 5) {
            pictures.push(std::mem::take(&mut picture));
        }
    }
    pictures
}

/// Returns ten plain JPEG pictures, each of a different shade.
pub(crate) fn shades() -> Vec<Vec<u8>> {
    let picture = |shade: u8| {
        let pixels = image::RgbImage::from_pixel(64, 48, image::Rgb([shade, 90, 200]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        let written = pixels.write_to(&mut bytes, image::ImageFormat::Jpeg);
        written.expect("an encoder");
        bytes.into_inner()
    };
    (0..10).map(|number| picture(number * 20)).collect()
}

/// Starts an MJPEG camera over HTTP.
pub(crate) fn mjpeg(pictures: Vec<Vec<u8>>, sending: Sending) -> Server {
    mjpeg_of("Content-Type: image/jpeg\r\n", pictures, sending)
}

/// Like [`mjpeg`], with this header line as the type of each part.
pub(crate) fn mjpeg_of(
    type_line: &'static str,
    pictures: Vec<Vec<u8>>,
    sending: Sending,
) -> Server {
    let sent = Arc::<AtomicUsize>::default();
    Server::counting(Arc::clone(&sent), move |mut connection| {
        http_request(&connection)?;
        write!(
            connection,
            "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n"
        )?;
        let started = Instant::now();
        for number in 0..sending.most {
            sending.wait_for(number, started);
            let picture = &pictures[number % pictures.len()];
            let length = picture.len();
            write!(
                connection,
                "\r\n--frame\r\n{type_line}Content-Length: {length}\r\n\r\n"
            )?;
            connection.write_all(picture)?;
            sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// How a file is served over HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    /// With support for ranges.
    Ranges,
    /// Whole only, with its length.
    Whole,
    /// Whole only, with a length of 5 GB, although less is sent.
    Exaggerated,
    /// Whole only, over HTTP 1.0, where the end of the connection is the end of the file.
    Unstated,
}

/// Serves one file at every address.
pub(crate) fn http(file: Vec<u8>, http: Http) -> Server {
    Server::start(move |mut connection| {
        let (_, range) = http_request(&connection)?;
        let length = file.len();
        match range.filter(|_| http == Http::Ranges) {
            Some(from) if from < length => {
                let (last, rest) = (length - 1, length - from);
                write!(
                    connection,
                    "HTTP/1.1 206 Partial Content\r\nAccept-Ranges: bytes\r\nContent-Range: bytes {from}-{last}/{length}\r\nContent-Length: {rest}\r\nConnection: close\r\n\r\n"
                )?;
                connection.write_all(&file[from..])
            }
            _ => {
                let head = match http {
                    Http::Unstated => "HTTP/1.0 200 OK\r\n\r\n".to_owned(),
                    Http::Exaggerated => {
                        "HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n".to_owned()
                    }
                    _ => format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                    ),
                };
                connection.write_all(head.as_bytes())?;
                connection.write_all(&file)
            }
        }
    })
}

/// Starts a server of a playlist that grows by one of these segments each `segment`, at
/// `http://127.0.0.1:PORT/live.m3u8`.
pub(crate) fn playlist(segments: Vec<Vec<u8>>, segment: Duration) -> Server {
    let started = Instant::now();
    Server::start(move |mut connection| {
        let (path, _) = http_request(&connection)?;
        let number = path.trim_start_matches('/').trim_end_matches(".ts");
        let (kind, body) = match number.parse::<usize>() {
            Ok(number) => ("video/mp2t", segments[number % segments.len()].clone()),
            Err(_) => {
                let seconds = segment.as_secs_f64();
                let newest = 2 + (started.elapsed().as_secs_f64() / seconds) as usize;
                let oldest = newest.saturating_sub(3);
                let target = seconds.ceil() as u64;
                let mut text = format!(
                    "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{oldest}\n"
                );
                for number in oldest..=newest.min(segments.len() - 1) {
                    text += &format!("#EXTINF:{seconds},\n{number}.ts\n");
                }
                ("application/vnd.apple.mpegurl", text.into_bytes())
            }
        };
        let length = body.len();
        write!(
            connection,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        connection.write_all(&body)
    })
}

/// Returns the path of a request, and the start of its range.
fn http_request(connection: &TcpStream) -> std::io::Result<(String, Option<usize>)> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut range = None;
    while let Some(line) = lines.next().transpose()?.filter(|line| !line.is_empty()) {
        let lower = line.to_ascii_lowercase();
        if let Some(from) = lower.strip_prefix("range: bytes=") {
            range = from.split('-').next().and_then(|from| from.parse().ok());
        }
    }
    Ok((path, range))
}
