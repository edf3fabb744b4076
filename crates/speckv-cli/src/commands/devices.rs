//! `speckv devices`: the GPUs of this machine.

use std::sync::Arc;

use serde_json::json;
use speckv_formats::quant::{TensorType, WeightType};
use speckv_gpu::{
    device::{Adapter, Device},
    read_rate::read_rate,
    report::FormatReport,
    self_test::check_format,
};
use speckv_local::{backend::tested_formats, failure::Outcome, report::Reporter, units};

use crate::{args::DevicesArgs, printer::Printer};

/// Formats of the usual files, which `--test` multiplies with.
const FORMATS: [TensorType; 4] =
    [TensorType::Q4K, TensorType::Q6K, TensorType::Q8_0, TensorType::F16];

/// What an adapter says of itself, and what it does.
struct Found {
    adapter: Adapter,
    /// What the self-test found, now or in an earlier run with the same driver and program.
    reports: Vec<FormatReport>,
    /// Bytes per second, or the device's error; measured with `--test`.
    read_rate: Option<Result<f64, String>>,
}

pub(super) fn run(args: &DevicesArgs, printer: &Printer) -> Outcome<()> {
    let found: Vec<Found> =
        Adapter::all().into_iter().map(|adapter| Found::new(adapter, args.test)).collect();
    if args.json {
        let devices: Vec<_> =
            found.iter().enumerate().map(|(i, found)| as_json(i, found)).collect();
        return printer.json(&json!({ "devices": devices }));
    }
    if found.is_empty() {
        printer.note("no GPU: no driver for Vulkan, Metal or DX12 lists one");
    }
    let mut text = String::from("cpu    this machine's processor\n");
    for (number, found) in found.iter().enumerate() {
        text.push_str(&as_text(number, found));
    }
    printer.data(&text)
}

impl Found {
    fn new(adapter: Adapter, test: bool) -> Self {
        let identity = adapter.identity();
        let mut reports = tested_formats::read(&identity);
        if !test {
            return Found { adapter, reports, read_rate: None };
        }
        let read_rate = match run_test(&adapter) {
            Ok((rate, new)) => {
                reports.retain(|old| new.iter().all(|report| report.format != old.format));
                reports.extend(new);
                tested_formats::write(&identity, reports.clone());
                Ok(rate)
            }
            Err(error) => Err(error),
        };
        Found { adapter, reports, read_rate: Some(read_rate) }
    }
}

/// Opens the adapter, measures its read rate, and compares products bit for bit.
fn run_test(adapter: &Adapter) -> Result<(f64, Vec<FormatReport>), String> {
    let device: Arc<Device> = Device::open(adapter.clone()).map_err(|error| error.to_string())?;
    let rate = read_rate(&device).map_err(|error| error.to_string())?;
    let reports = FORMATS.map(|format| {
        check_format(&device, WeightType::File(format)).map_err(|error| error.to_string())
    });
    Ok((rate, reports.into_iter().collect::<Result<_, String>>()?))
}

fn as_text(number: usize, found: &Found) -> String {
    let adapter = &found.adapter;
    let memory = adapter.memory().map_or_else(|| "memory unknown".to_owned(), units::bytes);
    let mut text = format!(
        "gpu:{number}  {} ({}, {}), {memory}, {}\n",
        adapter.name(),
        adapter.kind().name(),
        adapter.interface(),
        adapter.driver()
    );
    match &found.read_rate {
        None => {}
        Some(Err(error)) => text.push_str(&format!("       cannot be used: {error}\n")),
        Some(Ok(rate)) => text.push_str(&format!("       reads {:.1} GB/s\n", rate / 1e9)),
    }
    for report in &found.reports {
        let verdict = match (report.is_accurate(), report.largest_tile) {
            (false, _) => "wrong results: it is not used".to_owned(),
            (true, 16) => "exact, the same bits in 1 to 16 rows".to_owned(),
            (true, most) => format!("exact, the same bits in 1 to {most} rows only"),
        };
        text.push_str(&format!("       {}: {verdict}\n", report.format));
    }
    if found.reports.is_empty() && found.read_rate.is_none() {
        text.push_str("       not tested yet: a model is tested when it is loaded, or --test\n");
    }
    text
}

fn as_json(number: usize, found: &Found) -> serde_json::Value {
    let adapter = &found.adapter;
    let reports: Vec<_> = found
        .reports
        .iter()
        .map(|report| {
            json!({
                "format": report.format,
                "largest_tile": report.largest_tile,
                "accurate": report.is_accurate(),
            })
        })
        .collect();
    let (rate, error) = match &found.read_rate {
        Some(Ok(rate)) => (Some(rate), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    json!({
        "device": format!("gpu:{number}"),
        "name": adapter.name(),
        "kind": adapter.kind().name(),
        "interface": adapter.interface(),
        "driver": adapter.driver(),
        "memory_bytes": adapter.memory(),
        "binding_limit_bytes": adapter.binding_limit(),
        "self_test": reports,
        "read_bytes_per_second": rate,
        "error": error,
    })
}
