//! Registering metrics.

use prometheus_client::registry::{Metric, Registry};

/// Registers a metric under the prefix and gives it back.
pub(super) fn add<T: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &'static str,
    metric: T,
) -> T {
    registry.register(format!("speckv:{name}"), help, metric.clone());
    metric
}
