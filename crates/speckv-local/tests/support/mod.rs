//! A loopback web server and a pretended pip, for tests of downloads.
#![allow(dead_code, reason = "every test program uses its own part of this")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub path: String,
    /// First byte of the range asked for.
    pub from: Option<usize>,
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub body: Vec<u8>,
    pub status: u16,
    /// Answers ranges; else it sends the whole body whatever was asked.
    pub ranges: bool,
    /// Closes the connection after so many bytes of what it promised.
    pub cut: Option<usize>,
    /// Keeps the connection open in silence, after `cut` bytes or at the end, for so long.
    pub silence: Duration,
}

impl Reply {
    pub(crate) fn whole(body: &[u8]) -> Self {
        Reply { body: body.to_vec(), status: 200, ranges: true, cut: None, silence: Duration::ZERO }
    }

    pub(crate) fn status(status: u16) -> Self {
        Reply { status, ..Reply::whole(b"") }
    }

    pub(crate) fn cut(self, bytes: usize) -> Self {
        Reply { cut: Some(bytes), ..self }
    }
}

/// A web server on the loopback interface that lives as long as the test process.
pub(crate) struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers the n-th request (from 0) with `reply(n)`.
    pub(crate) fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let reply = Arc::new(reply);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                thread::spawn(move || {
                    let Some(request) = read_request(&stream) else { return };
                    let number = {
                        let mut seen = seen.lock().expect("no panic holds it");
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    // The client may leave at any time.
                    let _ = answer(stream, &request, &reply(number));
                });
            }
        });
        Server { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic holds it").clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut from = None;
    for line in lines {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    Some(Request { path, from })
}

fn answer(mut stream: TcpStream, request: &Request, reply: &Reply) -> std::io::Result<()> {
    let total = reply.body.len();
    let from = request.from.filter(|_| reply.ranges && reply.status == 200).unwrap_or(0).min(total);
    let body = &reply.body[from..];
    let status = if from > 0 { 206 } else { reply.status };
    write!(
        stream,
        "HTTP/1.1 {status} Reason\r\nContent-Length: {}\r\nConnection: close\r\n",
        body.len()
    )?;
    if status == 206 {
        write!(stream, "Content-Range: bytes {from}-{}/{total}\r\n", total - 1)?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(&body[..reply.cut.unwrap_or(body.len()).min(body.len())])?;
    stream.flush()?;
    thread::sleep(reply.silence);
    Ok(())
}

/// The address of a port without a listener.
pub(crate) fn unreachable() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// Bytes that compress badly and repeat nowhere soon.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// A script that behaves like pip as far as downloads go: it copies wheels from a folder and writes
/// down what it was asked for.
pub(crate) struct Pip {
    folder: PathBuf,
}

impl Pip {
    pub(crate) fn new(folder: &Path) -> Self {
        let folder = folder.join("pip");
        std::fs::create_dir_all(&folder).expect("a folder");
        let script = format!(
            r#"#!/bin/sh
if [ "$1" = --version ]; then exit 0; fi
while [ $# -gt 1 ]; do
    if [ "$1" = -d ]; then out=$2; fi
    shift
done
echo "$1" >> '{0}/asked'
if [ ! -f '{0}'/"$1" ]; then
    echo "WARNING: something else" >&2
    echo "ERROR: No matching distribution found for $1" >&2
    exit 1
fi
cp '{0}'/"$1" "$out/$1-1.0-py3-none-any.whl"
"#,
            folder.display()
        );
        let path = folder.join("pip.sh");
        std::fs::write(&path, script).expect("a script");
        Pip { folder }
    }

    pub(crate) fn command(&self) -> Vec<String> {
        vec!["sh".into(), self.folder.join("pip.sh").display().to_string()]
    }

    /// Puts a wheel there with these members.
    pub(crate) fn wheel(&self, package: &str, members: &[(&str, &[u8])]) {
        let file = std::fs::File::create(self.folder.join(package)).expect("a file");
        let mut archive = zip::ZipWriter::new(file);
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated);
        for (name, bytes) in members {
            archive.start_file(*name, options).expect("a member");
            archive.write_all(bytes).expect("its bytes");
        }
        archive.finish().expect("an archive");
    }

    pub(crate) fn raw(&self, package: &str, bytes: &[u8]) {
        std::fs::write(self.folder.join(package), bytes).expect("a file");
    }

    /// Packages asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
