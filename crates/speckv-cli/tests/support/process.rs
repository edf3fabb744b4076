//! The real binary, as a user starts it.
#![allow(dead_code, reason = "every test program uses its own part of this")]

use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use speckv_formats::tiny::Tiny;

/// A folder with tiny models, and an environment in which nothing of this machine is seen.
pub(crate) struct Desk {
    pub folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Desk { folder: tempfile::tempdir().expect("a folder") };
        desk.model("target.gguf", &Tiny::default());
        desk.model("draft.gguf", &Tiny { seed: 2, layers: 1, ..Tiny::default() });
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn model(&self, name: &str, tiny: &Tiny) -> PathBuf {
        self.put(name, &tiny.to_bytes().expect("a tiny model"))
    }

    /// A model that knows no end of text, and so talks until it is stopped.
    pub(crate) fn endless_model(&self, name: &str, tiny: &Tiny) {
        let mut bytes = tiny.to_bytes().expect("a tiny model");
        for (old, new) in [
            ("<|endoftext|>", "<|middletext|"),
            ("<|im_end|>", "<|im_mid|>"),
            ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.mid_token_id"),
        ] {
            let at = bytes
                .windows(old.len())
                .position(|window| window == old.as_bytes())
                .expect("it is in there");
            bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
        }
        self.put(name, &bytes);
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_speckv"));
        self.prepare(&mut command);
        command.args(arguments);
        command
    }

    /// Gives a command the desk's folder and environment.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("SPECKV_MODELS", self.path("models"))
            .env("SPECKV_HUB_ENDPOINT", "http://127.0.0.1:9")
            .env("SPECKV_PIP", "/no/such/pip")
            .stdin(Stdio::null());
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::new(arguments, self.command(arguments).output().expect("the binary starts"))
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut child = self.start(arguments);
        // The child may end before it has read everything.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        Ended::new(arguments, child.wait_with_output().expect("an end"))
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts")
    }
}

/// What a process left; `what` is there to be printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub what: String,
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub(crate) fn new(arguments: &[&str], output: Output) -> Self {
        Ended {
            what: arguments.join(" "),
            status: output.status.code(),
            // What a test has read already may have cut a character.
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.status, Some(0), "{self:#?}");
        self
    }

    /// The process ended with this status, an error that has all `words`, and a hint as the last
    /// line.
    pub(crate) fn fails(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        assert!(self.err.contains("error: ") && !self.err.contains("panicked"), "{self:#?}");
        assert!(
            self.err.lines().last().is_some_and(|line| line.starts_with("hint: ")),
            "{self:#?}"
        );
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {self:#?}");
        }
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Ctrl-C.
pub(crate) fn interrupt(child: &Child) {
    let status =
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill starts");
    assert!(status.success());
}
