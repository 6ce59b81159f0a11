//! A forward proxy that only knows CONNECT, as an office's does.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Notes whom it connected to. Its threads end with the test's process.
pub(crate) struct Proxy {
    pub(crate) url: String,
    targets: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the proxy");
        let url = format!("http://{}", listener.local_addr().expect("the proxy's address"));
        let targets = Arc::new(Mutex::new(Vec::new()));
        let noted = targets.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let noted = noted.clone();
                thread::spawn(move || connect(client, &noted));
            }
        });
        Proxy { url, targets }
    }

    /// Whom clients wanted to be connected to, as `HOST:PORT`.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.targets.lock().expect("the targets").clone()
    }
}

fn connect(client: TcpStream, noted: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    while !lines.next().unwrap_or_else(|| Ok(String::new()))?.is_empty() {}
    noted.lock().expect("the targets").push(target.clone());
    let server = TcpStream::connect(target)?;
    (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        io::copy(&mut from_server, &mut to_client)?;
        to_client.shutdown(Shutdown::Write)
    });
    io::copy(&mut &client, &mut &server)?;
    server.shutdown(Shutdown::Write)
}
