//! Work on the text of requests: unpacking, reading JSON, templates, tokens. It would hold up other
//! requests on the threads that answer them, so that it runs on threads of its own, behind permits:
//! what has none waits in its handler, which ends when its client leaves.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    App,
    body::{self, Received},
};
use crate::error::ApiError;

/// Small requests that are worked on at a time.
const SHORT: usize = 4;

/// Large requests that are worked on at a time: each may take some 20 bytes per byte of its text.
const LONG: usize = 1;

/// Permits to work on text. Small and large requests have their own, so that a crowd of large ones
/// does not hold up the others.
#[derive(Debug)]
pub(super) struct Permits {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Default for Permits {
    fn default() -> Self {
        Permits { short: Arc::new(Semaphore::new(SHORT)), long: Arc::new(Semaphore::new(LONG)) }
    }
}

impl Permits {
    async fn one(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = if bytes <= body::SMALL { &self.short } else { &self.long };
        // Never closed, so that there is always a permit to come.
        Arc::clone(permits).acquire_owned().await.ok()
    }
}

/// Tells whether a client still waits for a piece of work.
#[derive(Debug, Clone)]
pub(super) struct Wanted(Arc<()>);

impl Wanted {
    /// Continues only if the client is still there.
    ///
    /// # Errors
    /// The client has left; the error is not sent to anyone.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        if Arc::strong_count(&self.0) > 1 {
            return Ok(());
        }
        Err(ApiError::invalid("The client has left."))
    }
}

/// Works on a request's body. The permit, the body and its share of the memory stay with the work
/// until it ends, whether or not the client waits for it.
///
/// # Errors
/// Those of unpacking and of the work; a 500 if it panicked.
pub(super) async fn on_body<T: Send + 'static>(
    app: &Arc<App>,
    body: Received,
    work: impl FnOnce(&App, &Bytes, &Wanted) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let permit = app.permits.one(body.size()).await;
    let waits = Arc::new(());
    let wanted = Wanted(Arc::clone(&waits));
    let shared = Arc::clone(app);
    let worked = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        wanted.check()?;
        let bytes = body.unpacked()?;
        work(&shared, &bytes, &wanted)
    });
    let result = worked.await;
    drop(waits);
    result.unwrap_or_else(|error| {
        if error.is_panic() {
            app.metrics.panicked();
        }
        tracing::error!(%error, "work on a request failed");
        Err(ApiError::internal("The text could not be worked on; please report it."))
    })
}

/// Refuses a text that cannot fit the context, before it is tokenized: the context times the
/// longest piece of the vocabulary.
///
/// # Errors
/// A text longer than that.
pub(super) fn check_length(app: &App, field: &str, bytes: usize) -> Result<(), ApiError> {
    let most = most_bytes(app);
    if bytes <= most {
        return Ok(());
    }
    Err(ApiError::text_length(field, app.info.context, bytes, most))
}

/// Bytes of the longest text that can fit the context.
pub(super) fn most_bytes(app: &App) -> usize {
    app.info.context.saturating_mul(app.language.longest_token())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn large_requests_wait_for_each_other_and_small_ones_do_not_wait_for_them() {
        let permits = Permits::default();
        let _large = permits.one(1 << 20).await;
        let second = tokio::time::timeout(Duration::from_millis(20), permits.one(1 << 20));
        assert!(second.await.is_err());
        assert!(permits.one(100).await.is_some());
    }

    #[test]
    fn work_is_wanted_while_its_handler_waits() {
        let waits = Arc::new(());
        let wanted = Wanted(Arc::clone(&waits));
        assert!(wanted.check().is_ok());
        drop(waits);
        assert!(wanted.check().is_err());
    }
}
