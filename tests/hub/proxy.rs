//! A proxy, and a hub behind it that is asked by https.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The host that the certificate in `tls/` is of. (Made once by openssl, for a hundred years.)
pub const HOST: &str = "hub.test";

pub fn authority() -> PathBuf {
    file("authority.pem")
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub/tls").join(name)
}

/// What a proxy does with whatever it is asked.
#[derive(Debug, Clone)]
pub enum Way {
    /// Answers with a status, and a page.
    Status(u16),
    /// Leads everything to one address, whatever the name.
    To(String),
}

/// A proxy on loopback. It is there as long as the test.
pub struct Proxy {
    /// `127.0.0.1:PORT`
    pub address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn start(way: Way) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&seen);
        let address = serve(move |stream| {
            let asked = head(&mut &stream)?;
            heads.lock().unwrap().push(asked.clone());
            match &way {
                Way::Status(status) => {
                    let page = "<html>the proxy's page</html>";
                    let length = page.len();
                    (&stream).write_all(
                        format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}")
                            .as_bytes(),
                    )
                }
                Way::To(address) => {
                    let there = TcpStream::connect(address)?;
                    match asked.starts_with("CONNECT ") {
                        true => (&stream).write_all(b"HTTP/1.1 200 connected\r\n\r\n")?,
                        false => (&there).write_all(asked.as_bytes())?,
                    }
                    let (mut from, mut to) = (stream.try_clone()?, there.try_clone()?);
                    std::thread::spawn(move || io::copy(&mut from, &mut to));
                    let _ = io::copy(&mut &there, &mut &stream);
                    stream.shutdown(std::net::Shutdown::Both)
                }
            }
        });
        Self { address, seen }
    }

    /// The heads of the requests so far; forgotten then.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// A door that speaks TLS as [`HOST`] in front of the server at `http://HOST:PORT`; its `127.0.0.1:PORT`.
pub fn door(server: &str) -> String {
    let behind = server.trim_start_matches("http://").to_owned();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_file(file("hub.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("hub.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let config = Arc::new(config);
    serve(move |stream| {
        let tls = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        let mut tls = StreamOwned::new(tls, stream);
        let asked = head(&mut tls)?;
        let mut there = TcpStream::connect(&behind)?;
        there.write_all(asked.as_bytes())?;
        io::copy(&mut there, &mut tls)?;
        tls.conn.send_close_notify();
        tls.flush()
    })
}

/// Listens, and does that with every connection, on a thread each.
pub fn serve(each: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let each = Arc::new(each);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = Arc::clone(&each);
            // Whoever asked may have gone.
            std::thread::spawn(move || each(stream));
        }
    });
    address
}

/// A request to the end of its headers; none here has a body.
fn head(stream: &mut impl Read) -> io::Result<String> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    String::from_utf8(text).map_err(io::Error::other)
}
