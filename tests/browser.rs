//! A real browser (Debian's Chromium, headless), driven through its DevTools protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use base64::Engine;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{Message, WebSocket, connect};

use crate::support::PATIENCE;

/// A browser with one tab.
pub(crate) struct Browser {
    process: Child,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    session: String,
    calls: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens a browser that accepts only publicly trusted certificates.
    pub(crate) fn open() -> Self {
        Self::with(&[])
    }

    /// Opens a browser that accepts any certificate, like a user who has compared its fingerprint.
    pub(crate) fn trusting_anybody() -> Self {
        Self::with(&["--ignore-certificate-errors"])
    }

    /// Opens a browser whose pages loaded from files may read the pixels of other files.
    pub(crate) fn of_files() -> Self {
        Self::with(&["--allow-file-access-from-files"])
    }

    fn with(more: &[&str]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let started = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-port=0",
                "--window-size=1280,900",
                "about:blank",
            ])
            .args(more)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = started.expect("chromium: run `make setup-test`");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            line.strip_prefix("DevTools listening on ")
                .map(str::to_owned)
        });
        // Everything else it prints is drained, so that it never blocks on a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let (socket, _) = connect(address.expect("DevTools of Chromium")).unwrap();
        let mut browser = Self {
            process,
            socket,
            session: String::new(),
            calls: 0,
            _profile: profile,
        };
        let tab = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": tab["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": parameters});
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// Navigates to a page.
    pub(crate) fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// Sets the window size; a narrow one emulates a phone.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let mobile = width < 600;
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Returns the value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", ask);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].take()
    }

    /// Waits until an expression in the page is true.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let asked = Instant::now();
        // A page that is being left answers with an error; the expression is evaluated again.
        let quiet = format!(
            "(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"
        );
        while self.value(&quiet) != Value::Bool(true) {
            if asked.elapsed() > PATIENCE {
                let text = self.value("document.body.innerText");
                panic!(
                    "waited in vain for {expression} in:\n{}",
                    text.as_str().unwrap_or("")
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Returns the bytes of the page's live objects, after garbage collection.
    pub(crate) fn heap(&mut self) -> u64 {
        self.call("HeapProfiler.collectGarbage", json!({}));
        let usage = self.call("Runtime.getHeapUsage", json!({}));
        usage["usedSize"].as_f64().unwrap_or(0.0) as u64
    }

    /// Returns the private memory of all the browser's processes, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let processes = processes.filter_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // After the name, which may contain any characters, come the state and the parent.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse();
            Some((process, parent.ok()?))
        });
        let parents: Vec<(u32, u32)> = processes.collect();
        let mut own = vec![self.process.id()];
        let mut next = 0;
        while let Some(&parent) = own.get(next) {
            let children = parents.iter().filter(|(_, of)| *of == parent);
            own.extend(children.map(|(process, _)| *process));
            next += 1;
        }
        own.into_iter()
            .map(|process| memory(process, "RssAnon:"))
            .sum()
    }

    /// Takes a picture of the page as it is shown.
    pub(crate) fn screenshot(&mut self, path: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let data = shot["data"].as_str().unwrap();
        let png = base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap();
        std::fs::write(path, png).unwrap();
    }
}

/// Returns the value of a line of the system's memory report for a process, in bytes; 0 if the process is gone.
pub(crate) fn memory(process: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|known| known.strip_prefix(line));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes.map_or(0, |kilobytes| kilobytes.parse::<u64>().unwrap() * 1024)
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
