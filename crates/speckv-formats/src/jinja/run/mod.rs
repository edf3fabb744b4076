//! A rendering: variables, loops and macros.

mod calls;
mod expressions;
mod frame;
mod loops;
mod statements;

use std::{rc::Rc, sync::Arc};

pub(super) use self::{calls::MacroValue, frame::Frame, loops::Loop};
use super::{
    Failure, Outcome,
    meter::Meter,
    syntax::Body,
    text::Builder,
    value::{Namespace, Value},
};

/// How deep statements, expressions and macros may nest while they run.
const DEEPEST: usize = 1500;

pub(super) struct Run<'i> {
    pub meter: Arc<Meter>,
    pub strftime: &'i (dyn Fn(&str) -> String + Sync),
    frame: Rc<Frame>,
    /// What is written: to the text at first, inside of macros and block sets to strings.
    outputs: Vec<Builder>,
    most_output: usize,
    line: usize,
    depth: usize,
    /// Frames that macros keep, and namespaces: both can contain themselves, and are emptied at
    /// the end so that they are freed.
    frames: Vec<Rc<Frame>>,
    namespaces: Vec<Rc<Namespace>>,
}

/// How a statement ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'i> Run<'i> {
    pub(super) fn new(
        meter: &Arc<Meter>,
        most_output: usize,
        strftime: &'i (dyn Fn(&str) -> String + Sync),
    ) -> Outcome<Self> {
        Ok(Self {
            meter: Arc::clone(meter),
            strftime,
            frame: Frame::new(None, meter)?,
            outputs: vec![Builder::new(meter)?],
            most_output,
            line: 0,
            depth: 0,
            frames: Vec::new(),
            namespaces: Vec::new(),
        })
    }

    pub(super) fn set_global(&mut self, name: &str, value: Value) -> Outcome<()> {
        self.frame.set(&name.into(), value)
    }

    pub(super) fn template(&mut self, body: &Body) -> Outcome<()> {
        self.body(body).map(|_| ())
    }

    /// The line that ran last, from 1.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// What was written.
    pub(super) fn finish(mut self) -> Builder {
        self.outputs.swap_remove(0)
    }

    pub(super) fn keep_namespace(&mut self, namespace: &Rc<Namespace>) {
        self.namespaces.push(Rc::clone(namespace));
    }

    fn output(&mut self) -> Outcome<&mut Builder> {
        // The first stays until the end.
        let last = self.outputs.len() - 1;
        let output = &mut self.outputs[last];
        if output.len() > self.most_output {
            return Err(Failure::Output(self.most_output));
        }
        Ok(output)
    }

    /// Counts one step and one level of nesting while `work` runs.
    fn nested<T>(&mut self, work: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        self.meter.steps(1)?;
        if self.depth >= DEEPEST {
            return Err(Failure::Other(format!("more than {DEEPEST} levels of nesting")));
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }

    /// Runs with variables of its own, whose outer ones are those of `parent`.
    fn in_frame<T>(
        &mut self,
        frame: Rc<Frame>,
        work: impl FnOnce(&mut Self) -> Outcome<T>,
    ) -> Outcome<T> {
        let outer = std::mem::replace(&mut self.frame, frame);
        let done = work(self);
        self.frame = outer;
        done
    }

    fn inner_frame(&self) -> Outcome<Rc<Frame>> {
        Frame::new(Some(Rc::clone(&self.frame)), &self.meter)
    }

    /// What `work` writes, as a string.
    fn captured<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Outcome<T>,
    ) -> Outcome<super::text::Text> {
        self.outputs.push(Builder::new(&self.meter)?);
        let done = work(self);
        let written = self.outputs.pop();
        done?;
        written
            .map(Builder::finish)
            .ok_or_else(|| Failure::Other("the outputs are unbalanced".to_owned()))
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        for frame in &self.frames {
            frame.clear();
        }
        for namespace in &self.namespaces {
            namespace.attributes.take();
        }
    }
}
