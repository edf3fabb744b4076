//! One file over HTTP, continued by byte ranges.

#![expect(
    clippy::disallowed_methods,
    reason = "a transfer without progress is given up after a time"
)]

use std::{
    io::Read,
    sync::mpsc::{self, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use ureq::{config::RedirectAuthHeaders, typestate::WithoutBody};

use super::{
    DownloadError, Event, Options, PartFile,
    error::{SourceError, SourceResult},
};
use crate::interrupt::Interrupt;

const CHUNK: usize = 256 << 10;
const TICK: Duration = Duration::from_millis(100);

/// What the thread that talks to the server says.
enum Message {
    Head(Head),
    Body(Vec<u8>),
    End,
    Broken { reason: String, may_recover: bool },
}

/// The part of a response's head that matters.
struct Head {
    status: u16,
    /// First byte and total size of a partial response, `bytes 5-9/10`.
    range: Option<(u64, Option<u64>)>,
    length: Option<u64>,
}

/// Why one connection did not finish the file.
enum Broken {
    /// Trying again may help.
    Passing(String),
    /// It will not.
    Lasting(SourceError),
}

impl<E: Into<SourceError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Broken::Lasting(error.into())
    }
}

/// Completes `part` from `url`: continues by `Range`, tries again when the connection breaks, and
/// gives up at once when the server cannot be reached or has another file.
pub(super) fn fetch(
    url: &str,
    part: &mut PartFile,
    options: &Options,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event),
) -> SourceResult<()> {
    let mut failures = 0;
    let start = part.len();
    while part.missing() > 0 {
        let before = part.len();
        // A server that has not given a byte yet is left for the next source, one that has is worth
        // waiting for.
        let reason = match connection(url, part, before > start, options, interrupt, on_event) {
            Ok(()) => return Ok(()),
            Err(Broken::Lasting(error)) => return Err(error),
            Err(Broken::Passing(reason)) => reason,
        };
        failures = if part.len() > before { 1 } else { failures + 1 };
        if failures > options.retries {
            return Err(SourceError::Unavailable(format!(
                "gave up after {} tries: {reason}",
                failures
            )));
        }
        on_event(Event::Note(format!("{reason}; trying again")));
        rest(options.pause * 2_u32.saturating_pow(failures - 1), part, interrupt)?;
    }
    Ok(())
}

/// One request and as much of its response as comes.
fn connection(
    url: &str,
    part: &mut PartFile,
    proven: bool,
    options: &Options,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), Broken> {
    // The network is read by a thread of its own, so that neither a slow name server nor a stalled
    // connection delays Ctrl-C. Should the thread be left behind, its next send fails and it ends.
    let (sender, receiver) = mpsc::sync_channel(8);
    let (url, patience, from) = (url.to_owned(), options.clone(), part.len());
    thread::spawn(move || talk(&url, from, proven, &patience, &sender));

    let mut last_sign = Instant::now();
    let mut skip = 0;
    loop {
        if interrupt.is_raised() {
            return Err(DownloadError::Interrupted { held: part.len(), size: part.size() }.into());
        }
        let message = match receiver.recv_timeout(TICK) {
            Ok(message) => message,
            // Twice the patience: the thread has its own time limits, this one is for what they do
            // not cover.
            Err(RecvTimeoutError::Timeout)
                if last_sign.elapsed() < options.connect * 2 + options.stall * 2 =>
            {
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(Broken::Passing("the connection stalled".into()));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Broken::Passing("the connection was lost".into()));
            }
        };
        last_sign = Instant::now();
        match message {
            Message::Head(head) => skip = bytes_to_skip(&head, part)?,
            Message::Body(bytes) => {
                let skipped = skip.min(bytes.len() as u64);
                skip -= skipped;
                let bytes = &bytes[skipped as usize..];
                if bytes.len() as u64 > part.missing() {
                    return Err(unavailable(format!(
                        "the file there is longer than {} bytes",
                        part.size()
                    )));
                }
                part.append(bytes)?;
                on_event(Event::At(part.len()));
            }
            Message::End if part.missing() == 0 => return Ok(()),
            Message::End => return Err(Broken::Passing("the connection ended early".into())),
            Message::Broken { reason, may_recover: true } => return Err(Broken::Passing(reason)),
            Message::Broken { reason, may_recover: false } => return Err(unavailable(reason)),
        }
    }
}

/// How many bytes of the body are already held; an error if the response is not the file.
fn bytes_to_skip(head: &Head, part: &PartFile) -> Result<u64, Broken> {
    let (start, total) = match (head.status, head.range) {
        (206, Some((start, total))) => (start, total),
        (206, None) => {
            return Err(unavailable(
                "the server sent a part of the file without saying which".into(),
            ));
        }
        // The server ignores ranges: the body begins at byte 0.
        (200, _) => (0, head.length),
        (408 | 429 | 500..=599, _) => {
            return Err(Broken::Passing(format!("HTTP status {}", head.status)));
        }
        (401 | 403, _) => {
            return Err(unavailable(format!("HTTP status {}: access denied", head.status)));
        }
        (404, _) => return Err(unavailable("HTTP status 404: no such file".into())),
        (status, _) => return Err(unavailable(format!("HTTP status {status}"))),
    };
    if let Some(total) = total.filter(|&total| total != part.size()) {
        return Err(unavailable(format!(
            "the file there has {total} bytes, expected {}",
            part.size()
        )));
    }
    match part.len().checked_sub(start) {
        Some(skip) => Ok(skip),
        None => Err(unavailable(format!(
            "the server sent byte {start} when asked for byte {}",
            part.len()
        ))),
    }
}

fn unavailable(reason: String) -> Broken {
    Broken::Lasting(SourceError::Unavailable(reason))
}

/// Waits, but not past an interrupt.
fn rest(time: Duration, part: &PartFile, interrupt: &Interrupt) -> SourceResult<()> {
    let end = Instant::now() + time.min(Duration::from_secs(30));
    while Instant::now() < end {
        if interrupt.is_raised() {
            return Err(DownloadError::Interrupted { held: part.len(), size: part.size() }.into());
        }
        thread::sleep(TICK.min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// Sends the request and hands on the response, until its end or until the reader has gone.
fn talk(url: &str, from: u64, proven: bool, options: &Options, sender: &SyncSender<Message>) {
    let mut request = request(url, options);
    if from > 0 {
        request = request.header("Range", format!("bytes={from}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(error) => {
            let may_recover =
                proven && matches!(error, ureq::Error::Io(_) | ureq::Error::Timeout(_));
            let _ = sender.send(Message::Broken { reason: error_text(&error), may_recover });
            return;
        }
    };
    let header = |name: &str| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let head = Head {
        status: response.status().as_u16(),
        range: header("content-range").as_deref().and_then(parse_range),
        length: header("content-length").and_then(|length| length.parse().ok()),
    };
    if sender.send(Message::Head(head)).is_err() {
        return;
    }
    let mut body = response.into_body().into_reader();
    loop {
        let mut buffer = vec![0; CHUNK];
        let message = match body.read(&mut buffer) {
            Ok(0) => Message::End,
            Ok(count) => {
                buffer.truncate(count);
                Message::Body(buffer)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Message::Broken {
                reason: format!("the connection broke: {error}"),
                may_recover: true,
            },
        };
        let last = !matches!(message, Message::Body(_));
        if sender.send(message).is_err() || last {
            return;
        }
    }
}

/// A request with this program's patience, and the user's token if it goes to the Hub.
pub(crate) fn request(url: &str, options: &Options) -> ureq::RequestBuilder<WithoutBody> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("speckv/", env!("CARGO_PKG_VERSION")))
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .timeout_resolve(Some(options.connect))
        .timeout_connect(Some(options.connect))
        .timeout_recv_response(Some(options.stall))
        .timeout_per_read(Some(options.stall))
        .build();
    let request = ureq::Agent::new_with_config(config).get(url);
    match &options.token {
        Some(token) if url.strip_prefix(&options.hub).is_some_and(|rest| rest.starts_with('/')) => {
            request.header("Authorization", format!("Bearer {token}"))
        }
        _ => request,
    }
}

/// Why a request failed, for users.
pub(crate) fn error_text(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => {
            "its host name cannot be found (no network, or no name server)".into()
        }
        ureq::Error::Timeout(which) => format!("no answer in time ({which})"),
        ureq::Error::Io(error) => format!("no connection: {error}"),
        other => other.to_string(),
    }
}

/// First byte and total of `bytes 5-9/10`; the total may be `*`.
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_and_nonsense_is_not() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        for nonsense in ["", "bytes */10", "items 1-2/3", "bytes x-9/10"] {
            assert_eq!(parse_range(nonsense), None, "{nonsense}");
        }
    }
}
