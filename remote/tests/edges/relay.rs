//! A relay between a part and its server, whose connections a test cuts and restores.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::server::Server;

/// A relay; see the module.
pub(crate) struct Relay {
    port: u16,
    way: Arc<Mutex<Way>>,
}

#[derive(Default)]
struct Way {
    is_cut: bool,
    /// Both ends of each connection.
    open: Vec<TcpStream>,
}

impl Relay {
    /// Starts a relay that lets everything through.
    pub(crate) fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let to = server.url().replace("nats://", "");
        let way = Arc::new(Mutex::new(Way::default()));
        let known = Arc::clone(&way);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut way = known.lock().expect("the way");
                let server = TcpStream::connect(&to).ok().filter(|_| !way.is_cut);
                let Some(server) = server else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (clone(from), clone(to));
                    way.open.push(clone(&from));
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { port, way }
    }

    /// Returns the address to connect to.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Breaks open connections, and accepts no new ones.
    pub(crate) fn cut(&self) {
        let mut way = self.way.lock().expect("the way");
        way.is_cut = true;
        for stream in way.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Accepts connections again.
    pub(crate) fn mend(&self) {
        self.way.lock().expect("the way").is_cut = false;
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("its other half")
}
