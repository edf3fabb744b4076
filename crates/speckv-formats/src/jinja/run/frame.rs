//! Variables of a scope, with those of the scopes around it.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use crate::jinja::{
    Outcome,
    meter::{Charge, Meter},
    value::Value,
};

/// Bytes of a frame, and of each variable besides its value.
const FRAME: usize = 128;
const VARIABLE: usize = size_of::<Value>() + 64;

pub(in crate::jinja) struct Frame {
    values: RefCell<HashMap<Arc<str>, Value>>,
    charge: RefCell<Charge>,
    parent: Option<Rc<Frame>>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The values may contain the frame.
        f.debug_struct("Frame").finish_non_exhaustive()
    }
}

impl Frame {
    pub(crate) fn new(parent: Option<Rc<Frame>>, meter: &Arc<Meter>) -> Outcome<Rc<Self>> {
        meter.steps(1)?;
        let charge = RefCell::new(meter.hold(FRAME)?);
        Ok(Rc::new(Self { values: RefCell::default(), charge, parent }))
    }

    /// The value of a name, here or in a scope around.
    pub(crate) fn get(&self, name: &str, meter: &Meter) -> Outcome<Option<Value>> {
        let mut frame = Some(self);
        while let Some(current) = frame {
            meter.work(32)?;
            if let Some(value) = current.values.borrow().get(name) {
                return Ok(Some(value.clone()));
            }
            frame = current.parent.as_deref();
        }
        Ok(None)
    }

    pub(crate) fn set(&self, name: &Arc<str>, value: Value) -> Outcome<()> {
        let before = self.values.borrow_mut().insert(Arc::clone(name), value);
        if before.is_none() {
            self.charge.borrow_mut().grow(VARIABLE)?;
        }
        Ok(())
    }

    pub(crate) fn clear(&self) {
        self.values.take();
    }
}
