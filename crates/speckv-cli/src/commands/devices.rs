//! `speckv devices`: the GPUs of this machine.

use std::sync::Arc;

use serde_json::json;
use speckv_formats::quant::{TensorType, WeightType};
use speckv_gpu::{
    device::{Adapter, Device},
    read_rate::read_rate,
    self_test::check_format,
};
use speckv_local::{failure::Outcome, report::Reporter, units};

use crate::{args::DevicesArgs, printer::Printer};

/// Formats of the usual files, which `--test` multiplies with.
const FORMATS: [TensorType; 4] =
    [TensorType::Q4K, TensorType::Q6K, TensorType::Q8_0, TensorType::F16];

/// What an adapter says of itself, and what it does.
struct Found {
    adapter: Adapter,
    /// Bytes per second, and each format with what the self-test found, or the device's error.
    tested: Option<Result<(f64, Vec<Tested>), String>>,
}

struct Tested {
    format: String,
    largest_tile: usize,
    accurate: bool,
}

pub(super) fn run(args: &DevicesArgs, printer: &Printer) -> Outcome<()> {
    let found: Vec<Found> = Adapter::all()
        .into_iter()
        .map(|adapter| Found { tested: args.test.then(|| test(&adapter)), adapter })
        .collect();
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

/// Opens the adapter, measures its read rate, and compares products bit for bit.
fn test(adapter: &Adapter) -> Result<(f64, Vec<Tested>), String> {
    let device: Arc<Device> = Device::open(adapter.clone()).map_err(|error| error.to_string())?;
    let rate = read_rate(&device).map_err(|error| error.to_string())?;
    let tested = FORMATS.map(|format| {
        let report =
            check_format(&device, WeightType::File(format)).map_err(|error| error.to_string())?;
        let accurate = report.is_accurate();
        Ok(Tested { format: report.format, largest_tile: report.largest_tile, accurate })
    });
    Ok((rate, tested.into_iter().collect::<Result<_, String>>()?))
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
    match &found.tested {
        None => {}
        Some(Err(error)) => text.push_str(&format!("       cannot be used: {error}\n")),
        Some(Ok((rate, formats))) => {
            text.push_str(&format!("       reads {:.1} GB/s\n", rate / 1e9));
            for Tested { format, largest_tile, accurate } in formats {
                let verdict = match (accurate, largest_tile) {
                    (false, _) => "wrong results: it is not used".to_owned(),
                    (true, 16) => "exact, the same bits in 1 to 16 rows".to_owned(),
                    (true, most) => format!("exact, the same bits in 1 to {most} rows only"),
                };
                text.push_str(&format!("       {format}: {verdict}\n"));
            }
        }
    }
    text
}

fn as_json(number: usize, found: &Found) -> serde_json::Value {
    let adapter = &found.adapter;
    let tested = found.tested.as_ref().map(|tested| match tested {
        Err(error) => json!({ "error": error }),
        Ok((rate, formats)) => {
            let formats: Vec<_> = formats
                .iter()
                .map(|tested| {
                    json!({
                        "format": tested.format,
                        "largest_tile": tested.largest_tile,
                        "accurate": tested.accurate,
                    })
                })
                .collect();
            json!({ "read_bytes_per_second": rate, "formats": formats })
        }
    });
    json!({
        "device": format!("gpu:{number}"),
        "name": adapter.name(),
        "kind": adapter.kind().name(),
        "interface": adapter.interface(),
        "driver": adapter.driver(),
        "memory_bytes": adapter.memory(),
        "binding_limit_bytes": adapter.binding_limit(),
        "test": tested,
    })
}
