//! Models by repository, against a loopback server that speaks the Hub's API and misbehaves.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use speckv_formats::{checkpoint::Checkpoint, tiny::Tiny};
use speckv_local::{
    download::{Event, Options},
    hub::{HubError, HubName, Pulled, pull},
    interrupt::Interrupt,
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    path: String,
    from: Option<usize>,
    token: Option<String>,
}

/// How the server misbehaves.
#[derive(Debug, Clone, Default)]
struct Mischief {
    /// Requests that are answered with 429 first.
    too_many: usize,
    /// Bytes after which the first transfer of a large file ends.
    cut: Option<usize>,
    /// Only this token has access.
    token: Option<&'static str>,
    /// Sends other bytes than promised.
    wrong: bool,
}

struct Hub {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

type Files = Vec<(&'static str, Vec<u8>)>;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Files of 1,000 bytes and more are large ones, which lie elsewhere.
fn is_large(bytes: &[u8]) -> bool {
    bytes.len() >= 1000
}

impl Hub {
    /// A Hub with the one repository `them/model`.
    fn start(files: Files, mischief: Mischief) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, base) = (Arc::clone(&asked), address.clone());
        let state = Arc::new((files, mischief));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, base, state) = (Arc::clone(&seen), base.clone(), Arc::clone(&state));
                thread::spawn(move || {
                    let Some(request) = read_request(&stream) else { return };
                    let number = {
                        let mut seen = seen.lock().expect("no panic holds it");
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    // The client may leave at any time.
                    let _ = answer(stream, &request, number, &base, &state.0, &state.1);
                });
            }
        });
        Hub { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic holds it").clone()
    }

    /// Requests for bytes of large files: paths and where they began.
    fn transfers(&self) -> Vec<Option<usize>> {
        let asked = self.asked().into_iter();
        asked.filter(|it| it.path.starts_with("/elsewhere/")).map(|it| it.from).collect()
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut asked = Asked { path, from: None, token: None };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                asked.from = value.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok()
            }
            "authorization" => asked.token = value.strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    Some(asked)
}

fn answer(
    mut stream: TcpStream,
    asked: &Asked,
    number: usize,
    base: &str,
    files: &Files,
    mischief: &Mischief,
) -> std::io::Result<()> {
    let mut head = |status: u16, more: &str, length: usize| {
        write!(
            stream,
            "HTTP/1.1 {status} Reason\r\nContent-Length: {length}\r\nConnection: \
            close\r\n{more}\r\n"
        )
    };
    if number < mischief.too_many {
        return head(429, "Retry-After: 0\r\n", 0);
    }
    let elsewhere = asked.path.strip_prefix("/elsewhere/");
    if elsewhere.is_none()
        && mischief.token.is_some_and(|token| asked.token.as_deref() != Some(token))
    {
        return head(401, "", 0);
    }
    if asked.path == "/api/models/them/model/revision/main?blobs=true" {
        let sibling = |(name, bytes): &(&str, Vec<u8>)| {
            let mut file =
                json!({"rfilename": name, "size": bytes.len(), "blobId": "9".repeat(40)});
            file["blobId"] = json!(&sha256(name.as_bytes())[..40]);
            if is_large(bytes) {
                file["lfs"] = json!({"sha256": sha256(bytes), "size": bytes.len()});
            }
            file
        };
        let siblings: Vec<Value> = files.iter().map(sibling).collect();
        let body = json!({"sha": COMMIT, "siblings": siblings}).to_string();
        head(200, "", body.len())?;
        return stream.write_all(body.as_bytes());
    }
    let resolved = asked.path.strip_prefix(&format!("/them/model/resolve/{COMMIT}/"));
    let wanted = resolved.or(elsewhere);
    let Some((name, bytes)) = files.iter().find(|(name, _)| Some(*name) == wanted) else {
        return head(404, "", 0);
    };
    if elsewhere.is_none() && is_large(bytes) {
        return head(302, &format!("Location: {base}/elsewhere/{name}\r\n"), 0);
    }
    let from = asked.from.unwrap_or(0).min(bytes.len());
    let more = match from {
        0 => String::new(),
        _ => format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len()),
    };
    head(if from > 0 { 206 } else { 200 }, &more, bytes.len() - from)?;
    let end = match mischief.cut {
        Some(cut) if from == 0 && is_large(bytes) => cut.min(bytes.len()),
        _ => bytes.len(),
    };
    let mut body = bytes[from..end].to_vec();
    if mischief.wrong {
        body.iter_mut().for_each(|byte| *byte ^= 1);
    }
    stream.write_all(&body)
}

/// A cache, and how to ask a Hub.
struct World {
    place: tempfile::TempDir,
    options: Options,
    notes: Vec<String>,
}

impl World {
    fn new(hub: &str) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let options = Options {
            hub: hub.to_owned(),
            hub_cache: Some(place.path().join("hub")),
            retries: 2,
            pause: Duration::from_millis(5),
            ..Options::default()
        };
        World { place, options, notes: Vec::new() }
    }

    fn pull(&mut self, name: &str) -> Result<Pulled, HubError> {
        let name = HubName::parse(name).expect("a name");
        let notes = &mut self.notes;
        pull(&name, &self.options, &Interrupt::new(), &mut |event, _| {
            if let Event::Note(text) = event {
                notes.push(text);
            }
        })
    }

    fn repo(&self) -> PathBuf {
        self.place.path().join("hub/models--them--model")
    }
}

fn tiny() -> Vec<u8> {
    Tiny::default().to_bytes().expect("a model")
}

fn gguf_files() -> Files {
    vec![
        ("README.md", b"words".to_vec()),
        ("model-Q4_K_M.gguf", tiny()),
        ("model-Q8_0.gguf", Tiny { seed: 2, ..Tiny::default() }.to_bytes().expect("a model")),
    ]
}

fn opens(path: &Path) {
    let file = Checkpoint::open(path).expect("a model");
    assert!(file.config().is_ok());
}

#[test]
fn a_model_is_pulled_into_the_hubs_layout_and_found_again_offline() {
    let hub = Hub::start(gguf_files(), Mischief::default());
    let mut world = World::new(&hub.address);
    let first = world.pull("hf:them/model").expect("a model");
    assert_eq!((first.quant.as_deref(), first.fetched), (Some("Q4_K_M"), tiny().len() as u64));
    opens(&first.path);
    // The layout that other programs for the Hub read.
    let name = world.repo().join("snapshots").join(COMMIT).join("model-Q4_K_M.gguf");
    let blob = world.repo().join("blobs").join(sha256(&tiny()));
    assert_eq!(first.path, name);
    let target = fs::read_link(&name).expect("a link");
    assert_eq!(target, Path::new("../../blobs").join(sha256(&tiny())));
    assert_eq!(fs::read(&blob).expect("the content"), tiny());
    assert_eq!(fs::read_to_string(world.repo().join("refs/main")).expect("a commit"), COMMIT);

    let again = world.pull("hf:them/model:Q4_K_M").expect("a model");
    assert_eq!((again.path, again.fetched), (first.path.clone(), 0));
    assert_eq!(hub.transfers().len(), 1);

    world.options.offline = true;
    let asked = hub.asked().len();
    assert_eq!(world.pull("hf:them/model").expect("a model").path, first.path);
    assert_eq!(hub.asked().len(), asked, "offline nothing is asked");
    let error = world.pull("hf:them/other").expect_err("not in the cache");
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    let error = world.pull("hf:them/model:Q8_0").expect_err("not in the cache");
    assert!(matches!(error, HubError::NoQuant { .. }), "{error}");
}

#[test]
fn a_hub_that_cannot_be_reached_leaves_what_is_in_the_cache() {
    let hub = Hub::start(gguf_files(), Mischief::default());
    let mut world = World::new(&hub.address);
    let there = world.pull("hf:them/model").expect("a model");
    world.options.hub = "http://127.0.0.1:1".into();
    assert_eq!(world.pull("hf:them/model").expect("a model").path, there.path);
    assert!(world.notes.iter().any(|note| note.contains("cannot be reached")));
    let error = world.pull("hf:them/other").expect_err("not in the cache");
    assert!(matches!(error, HubError::Unreachable { .. }) && !error.hint().is_empty());
}

#[test]
fn another_quantization_is_taken_aloud_or_by_name_only() {
    let files = vec![("a-Q8_0.gguf", tiny()), ("a-Q5_K_S.gguf", tiny())];
    let hub = Hub::start(files, Mischief::default());
    let mut world = World::new(&hub.address);
    let taken = world.pull("hf:them/model").expect("a model");
    assert_eq!(taken.quant.as_deref(), Some("Q5_K_S"));
    let said = world.notes.join("\n");
    assert!(said.contains("no Q4_K_M: taking Q5_K_S"), "{said}");
    assert_eq!(world.pull("them/model:q8_0").expect("a model").quant.as_deref(), Some("Q8_0"));
    let error = world.pull("them/model:Q2_K").expect_err("there is none");
    assert!(error.to_string().contains("Q5_K_S, Q8_0"), "{error}");
}

#[test]
fn a_connection_that_is_cut_is_continued_where_it_ended() {
    let hub = Hub::start(gguf_files(), Mischief { cut: Some(1500), ..Mischief::default() });
    let mut world = World::new(&hub.address);
    opens(&world.pull("hf:them/model").expect("a model").path);
    assert_eq!(hub.transfers(), [None, Some(1500)]);
    let left = fs::read_dir(world.repo().join("blobs")).expect("contents").count();
    assert_eq!(left, 1, "nothing unfinished is left");
}

#[test]
fn too_many_requests_are_waited_out_and_then_told() {
    let hub = Hub::start(gguf_files(), Mischief { too_many: 2, ..Mischief::default() });
    opens(&World::new(&hub.address).pull("hf:them/model").expect("a model").path);
    let hub = Hub::start(gguf_files(), Mischief { too_many: 100, ..Mischief::default() });
    let error = World::new(&hub.address).pull("hf:them/model").expect_err("it never answers");
    assert!(error.to_string().contains("429"), "{error}");
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_where_it_redirects() {
    let hub = Hub::start(gguf_files(), Mischief { token: Some("secret"), ..Mischief::default() });
    let mut world = World::new(&hub.address);
    let error = world.pull("hf:them/model").expect_err("no access");
    assert!(matches!(error, HubError::Denied { status: 401, has_token: false, .. }), "{error}");
    assert!(error.hint().contains("HF_TOKEN"));
    world.options.token = Some("secret".into());
    opens(&world.pull("hf:them/model").expect("a model").path);
    // The same address under another name is another host.
    let mut elsewhere = World::new(&hub.address.replace("127.0.0.1", "localhost"));
    elsewhere.options.token = Some("secret".into());
    let before = hub.asked().len();
    opens(&elsewhere.pull("hf:them/model").expect("a model").path);
    for asked in &hub.asked()[before..] {
        let redirected = asked.path.starts_with("/elsewhere/");
        assert_eq!(asked.token.is_none(), redirected, "{asked:?}");
    }
}

#[test]
fn bytes_that_are_not_those_promised_are_refused() {
    let hub = Hub::start(gguf_files(), Mischief { wrong: true, ..Mischief::default() });
    let mut world = World::new(&hub.address);
    let error = world.pull("hf:them/model").expect_err("other bytes");
    assert!(error.to_string().contains("sha256"), "{error}");
    assert!(!world.repo().join("blobs").join(sha256(&tiny())).exists());
}

#[test]
fn a_repository_that_does_not_exist_is_named() {
    let hub = Hub::start(gguf_files(), Mischief::default());
    let error = World::new(&hub.address).pull("hf:them/other").expect_err("there is none");
    assert!(matches!(error, HubError::NoRepository { .. }), "{error}");
    assert!(error.to_string().contains("them/other") && !error.hint().is_empty());
}

#[test]
fn a_folder_is_pulled_whole() {
    let place = tempfile::tempdir().expect("a folder");
    let tiny = Tiny { tensor_type: speckv_formats::quant::TensorType::F32, ..Tiny::default() };
    tiny.write_folder(place.path(), 2).expect("a folder");
    let names = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    let read = |name: &'static str| (name, fs::read(place.path().join(name)).expect("a file"));
    let hub = Hub::start(names.map(read).to_vec(), Mischief::default());
    let mut world = World::new(&hub.address);
    let pulled = world.pull("hf:them/model").expect("a model");
    opens(&pulled.path);
    assert!(pulled.path.is_dir() && pulled.quant.is_none());
    world.options.offline = true;
    opens(&world.pull("hf:them/model").expect("a model").path);
}

#[test]
fn two_that_pull_the_same_file_fetch_it_once() {
    let hub = Hub::start(gguf_files(), Mischief::default());
    let world = World::new(&hub.address);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let options = world.options.clone();
            thread::spawn(move || {
                let name = HubName::parse("hf:them/model").expect("a name");
                pull(&name, &options, &Interrupt::new(), &mut |_, _| {}).map(|it| it.path)
            })
        })
        .collect();
    for thread in threads {
        opens(&thread.join().expect("no panic").expect("a model"));
    }
    assert_eq!(hub.transfers().len(), 1);
}
