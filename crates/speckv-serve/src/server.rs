//! Connections: accepted up to a bound, closed where a peer stalls, ended gracefully.

#![expect(clippy::disallowed_methods, reason = "requests have arrival times and deadlines")]

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, response::Response};
use futures_util::future::select_all;
use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Sleep,
};
use tower::ServiceExt;

use crate::{http::Peer, scheduler::Handle};

/// Bounds on connections.
#[derive(Debug, Clone)]
pub struct Connections {
    /// Most connections at a time; others wait to be accepted.
    pub most: usize,
    /// Most time for a request's head to arrive, and for a connection to be idle.
    pub header_timeout: Duration,
    /// Most time that a peer may take nothing of what is sent to it.
    pub write_timeout: Duration,
    /// Time that running answers get to come to their end after a stop.
    pub grace: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Connections {
            most: 512,
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(30),
        }
    }
}

/// How long to wait after a connection that could not be accepted; doubles with each further one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Bytes of a request's head.
const LARGEST_HEAD: usize = 64 << 10;

/// Serves until `stop` is ready, then lets running answers end, and returns. The scheduler is
/// stopped too. Several listeners are one server, as for both families of loopback addresses.
///
/// # Errors
/// A listener's.
pub async fn serve(
    listeners: Vec<TcpListener>,
    router: Router,
    handle: Handle,
    bounds: Connections,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(bounds.most.max(1)));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    let mut pause = SHORTEST_PAUSE;
    loop {
        let accept = async {
            // Never closed, so that there is always a permit to come.
            let permit = Arc::clone(&places).acquire_owned().await.ok();
            accept(&listeners).await.map(|accepted| (accepted, permit))
        };
        let ((stream, peer), permit) = tokio::select! {
            () = &mut stop => break,
            accepted = accept => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for the moment");
                    tokio::select! {
                        () = &mut stop => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (2 * pause).min(LONGEST_PAUSE);
                    continue;
                }
            },
        };
        pause = SHORTEST_PAUSE;
        let connection = graceful.watch(connection(stream, peer, router.clone(), &bounds));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection ended");
            }
            drop(permit);
        });
    }
    drop(listeners);
    tracing::info!(running = handle.running(), waiting = handle.waiting(), "stopping");
    handle.stop(Instant::now() + bounds.grace);
    // The scheduler ends what runs when the grace is over; two seconds more to send the last
    // answers.
    let limit = bounds.grace + Duration::from_secs(2);
    if tokio::time::timeout(limit, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were cut off at the end of the grace");
    }
    Ok(())
}

/// The next connection of any listener.
async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    let next = listeners.iter().map(|listener| Box::pin(listener.accept()));
    select_all(next).await.0
}

/// The router, with the peer of its connection.
struct FromPeer {
    router: Router,
    peer: Peer,
}

impl Service<Request<Incoming>> for FromPeer {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer);
        Box::pin(self.router.clone().oneshot(request))
    }
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    bounds: &Connections,
) -> http1::Connection<TokioIo<Timed<TcpStream>>, FromPeer> {
    // Tokens are small and should leave at once.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(
            TokioIo::new(Timed::new(stream, bounds.write_timeout)),
            FromPeer { router, peer: Peer(peer.ip()) },
        )
}

/// Whether the listener itself is broken. Everything else passes: peers that left (`ECONNABORTED`,
/// `EPROTO`), no descriptors or no memory for the moment (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`),
/// a network that is down (`ENETDOWN`, `EHOSTUNREACH`, ...).
fn is_final(error: &io::Error) -> bool {
    const NO_LISTENER: [i32; 3] = [9, 14, 22]; // EBADF, EFAULT, EINVAL: the same numbers on all Unix systems
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
        || cfg!(unix) && error.raw_os_error().is_some_and(|code| NO_LISTENER.contains(&code))
}

/// A stream whose writes fail when the peer has taken nothing for a while.
struct Timed<S> {
    inner: S,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    fn new(inner: S, limit: Duration) -> Self {
        Timed { inner, limit, waiting: None }
    }

    /// Lets a pending write fail when its time is over.
    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        waiting.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.bounded(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.bounded(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(context);
        self.bounded(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, parts);
        self.bounded(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (near, _far) = tokio::io::duplex(8);
        let mut stream = Timed::new(near, Duration::from_millis(20));
        stream.write_all(b"12345678").await.expect("room");
        let error = stream.write_all(b"9").await.expect_err("the server has closed the connection");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_broken_listener_ends_the_server() {
        let passing = [4, 12, 23, 24, 64, 71, 100, 101, 103, 104, 105, 110, 112, 113]; // errno(3), from EINTR to EHOSTUNREACH
        assert!(passing.into_iter().all(|code| !is_final(&io::Error::from_raw_os_error(code))));
        let broken = [9, 14, 22, 95]; // EBADF, EFAULT, EINVAL, EOPNOTSUPP
        assert!(broken.into_iter().all(|code| is_final(&io::Error::from_raw_os_error(code))));
    }
}
