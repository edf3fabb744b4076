//! `speckv profile`: records a pair on a workload, as a trace of every position or as the paper's
//! grid.

mod grid;
mod trace;

pub(super) use self::{grid::failure as grid_failure, trace::folder_failure};
use speckv_lab::workload::{Prompt, Workload, WorkloadError};
use speckv_local::failure::{Failure, Outcome, chain};

use crate::{args::ProfileArgs, printer::Printer};

pub(super) fn run(args: &ProfileArgs, printer: &Printer) -> Outcome<()> {
    match (&args.trace, &args.grid) {
        (Some(folder), None) => trace::run(args, folder, printer),
        (None, Some(folder)) => grid::run(args, folder, printer),
        _ => Err(Failure::usage(
            "expected one of --trace DIR and --grid DIR",
            "run the command once for each",
        )),
    }
}

/// The prompts that the options name, in the workload's order.
fn choose(args: &ProfileArgs) -> Outcome<Vec<Prompt>> {
    let workload = match &args.workload {
        Some(folder) => Workload::from_dir(folder),
        None => Workload::builtin(),
    };
    let workload = workload.map_err(|error: WorkloadError| {
        Failure::new(
            chain(&error),
            "a workload is a folder of *.jsonl files; see crates/speckv-lab/workloads/README.md \
             in the repository",
        )
    })?;
    if let Some(unknown) = args.tasks.iter().find(|task| !workload.tasks().contains(&task.as_str()))
    {
        return Err(Failure::usage(
            format!("the workload has no task {unknown:?}"),
            format!("its tasks are {}", workload.tasks().join(", ")),
        ));
    }
    let mut chosen = Vec::new();
    for task in workload.tasks() {
        if args.tasks.is_empty() || args.tasks.iter().any(|wanted| wanted == task) {
            let of_task = workload
                .prompts()
                .iter()
                .filter(|prompt| prompt.task == task && args.split.takes(prompt.split));
            chosen.extend(of_task.take(args.prompts_per_task.unwrap_or(usize::MAX)).cloned());
        }
    }
    if chosen.is_empty() {
        return Err(Failure::usage(
            "no prompt of the workload is chosen",
            "give other --tasks or another --split",
        ));
    }
    Ok(chosen)
}
