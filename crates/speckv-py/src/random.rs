//! Sampling: distributions, random numbers, and the rule of acceptance.

use std::sync::Mutex;

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use speckv::{
    sampling::{self, Chain, SamplingSettings},
    token::Token,
    verify::Verified,
};

use crate::{
    error::{Fault, Outcome},
    lock,
    signals::{not_contiguous, wrong_array},
    tokens,
};

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Randomness(Mutex<sampling::Randomness>);

#[pymethods]
impl Randomness {
    #[new]
    fn new(seed: u64) -> Self {
        Randomness(Mutex::new(sampling::Randomness::new(seed)))
    }

    fn uniform(&self) -> f64 {
        lock(&self.0).uniform()
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Distribution(sampling::Distribution);

fn uniform(name: &str, u: f64) -> Outcome<f64> {
    if (0.0..1.0).contains(&u) {
        return Ok(u);
    }
    Err(Fault::argument(
        format!("{name}: expected a number in [0, 1), got {u}"),
        "speckv.Randomness gives such numbers",
    ))
}

#[pymethods]
impl Distribution {
    #[staticmethod]
    fn certain(token: Token) -> Self {
        let mut made = sampling::Distribution::new();
        made.set_certain(token);
        Distribution(made)
    }

    fn probability(&self, token: Token) -> f32 {
        self.0.probability(token)
    }

    fn draw(&self, py: Python<'_>, u: f64) -> PyResult<Token> {
        let u = uniform("u", u)?;
        Ok(py.detach(|| self.0.draw(u)))
    }

    fn items(&self) -> Vec<(Token, f32)> {
        self.0.iter().collect()
    }

    fn __repr__(&self) -> String {
        format!("Distribution(tokens={})", self.0.len())
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Sampler(Mutex<Chain>);

#[pymethods]
impl Sampler {
    #[new]
    #[pyo3(signature = (temperature = 0.0, *, top_k = 0, top_p = 1.0, min_p = 0.0, repetition_penalty = 1.0, repetition_window = 64))]
    fn new(
        temperature: f32,
        top_k: usize,
        top_p: f32,
        min_p: f32,
        repetition_penalty: f32,
        repetition_window: usize,
    ) -> PyResult<Self> {
        let seed = 0; // unused: random numbers come in as arguments
        let settings = SamplingSettings {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            repetition_window,
            seed,
            ..SamplingSettings::default()
        };
        let chain = Chain::new(settings)
            .map_err(|error| Fault::argument(error, "temperature 0 is greedy"))?;
        Ok(Sampler(Mutex::new(chain)))
    }

    #[getter]
    fn is_greedy(&self) -> bool {
        lock(&self.0).is_greedy()
    }

    #[getter]
    fn temperature(&self) -> f32 {
        lock(&self.0).settings().temperature
    }

    #[getter]
    fn has_penalty(&self) -> bool {
        lock(&self.0).changes_logits()
    }

    fn distribution(
        &self,
        py: Python<'_>,
        logits: &Bound<'_, PyAny>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<Distribution> {
        let array = logits
            .cast::<PyArray1<f32>>()
            .map_err(|_| wrong_array(logits, "one dimension"))?
            .readonly();
        let values = array.as_slice().map_err(|_| not_contiguous())?.to_vec();
        let context = if self.has_penalty() { tokens::read(context)? } else { Vec::new() };
        Ok(py.detach(|| {
            let mut made = sampling::Distribution::new();
            let filled = lock(&self.0).fill(&values, &context, &mut made);
            filled.map_err(crate::signals::broken)?;
            Ok::<_, Fault>(Distribution(made))
        })?)
    }
}

/// See `_native.pyi`.
#[pyfunction]
pub(crate) fn verify(
    py: Python<'_>,
    drafted: Token,
    p: &Distribution,
    q: &Distribution,
    u_accept: f64,
    u_draw: f64,
) -> PyResult<(bool, Token)> {
    let (u_accept, u_draw) = (uniform("u_accept", u_accept)?, uniform("u_draw", u_draw)?);
    let mut rest = sampling::Distribution::new();
    Ok(py.detach(|| {
        match speckv::verify::verify(drafted, &p.0, &q.0, u_accept, u_draw, &mut rest) {
            Verified::Accepted => (true, drafted),
            Verified::Recovered { token, .. } => (false, token),
        }
    }))
}
